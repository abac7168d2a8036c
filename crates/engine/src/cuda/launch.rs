//! Launching kernels.

use std::ffi::c_void;

use cudarc::driver::{result, sys};

use super::{Cost, Cuda, failed, kernels::KernelSource, profile::timed};
use crate::Result;

/// How many blocks of how many threads, and the shared memory of a block beyond what the kernel declares.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) blocks: [u32; 3],
    pub(super) threads: u32,
    pub(super) shared_bytes: u32,
}

impl Grid {
    /// Threads of a block that does something to single elements.
    const THREADS: u32 = 256;

    /// A thread for each of `count` things.
    pub(super) fn over(count: usize) -> Self {
        Self::blocks(count.div_ceil(Self::THREADS as usize), Self::THREADS)
    }

    /// `count` blocks.
    pub(super) fn blocks(count: usize, threads: u32) -> Self {
        // A tensor has fewer than 2^31 rows; were there more, the driver would refuse the launch.
        let blocks = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        Self { blocks: [blocks, 1, 1], threads, shared_bytes: 0 }
    }
}

/// What kernels take: plain numbers, and structures of them laid out as in C.
pub(super) trait Argument: Copy {}

impl Argument for u64 {}
impl Argument for i64 {}
impl Argument for i32 {}
impl Argument for f32 {}

/// The address of an argument, as the driver takes it.
pub(super) fn argument<T: Argument>(value: &T) -> *mut c_void {
    std::ptr::from_ref(value).cast_mut().cast()
}

/// Launches a kernel with arguments in the order of its parameters, and what it costs at least where that is known.
macro_rules! launch {
    ($device:expr, $source:expr, $name:expr, $grid:expr, [$($argument:expr),+ $(,)?] $(,)?) => {
        $crate::cuda::launch::launch!(
            $device, $source, $name, $grid, [$($argument),+], $crate::cuda::Cost::NOTHING
        )
    };
    ($device:expr, $source:expr, $name:expr, $grid:expr, [$($argument:expr),+ $(,)?], $cost:expr $(,)?) => {
        $device.launch(&$source, $name, $grid, &mut [$($crate::cuda::launch::argument(&$argument)),+], $cost)
    };
}
pub(super) use launch;

/// Launches a kernel of one of its source's variants.
macro_rules! launch_variant {
    ($device:expr, $source:expr, $variant:expr, $name:expr, $grid:expr, [$($argument:expr),+ $(,)?] $(,)?) => {
        $crate::cuda::launch::launch_variant!(
            $device, $source, $variant, $name, $grid, [$($argument),+], $crate::cuda::Cost::NOTHING
        )
    };
    (
        $device:expr, $source:expr, $variant:expr, $name:expr, $grid:expr, [$($argument:expr),+ $(,)?],
        $cost:expr $(,)?
    ) => {
        $device.launch_variant(
            &$source,
            $variant,
            $name,
            $grid,
            &mut [$($crate::cuda::launch::argument(&$argument)),+],
            $cost,
        )
    };
}
pub(super) use launch_variant;

/// Shared memory that a block has without asking.
const UNASKED_SHARED_BYTES: u32 = 32 << 10;

impl Cuda {
    /// Puts a kernel on the stream; use [`launch!`].
    pub(super) fn launch(
        &self,
        source: &'static KernelSource,
        name: &'static str,
        grid: Grid,
        arguments: &mut [*mut c_void],
        cost: Cost,
    ) -> Result<()> {
        self.launch_variant(source, self.0.kernels.arithmetic_variant(source), name, grid, arguments, cost)
    }

    /// The same for a source of more variants than one for each arithmetic; use [`launch_variant!`].
    pub(super) fn launch_variant(
        &self,
        source: &'static KernelSource,
        variant: usize,
        name: &'static str,
        grid: Grid,
        arguments: &mut [*mut c_void],
        cost: Cost,
    ) -> Result<()> {
        self.memory().bind()?;
        let function = self.0.kernels.get(source, variant, name)?;
        let [x, y, z] = grid.blocks;
        // SAFETY: the kernel's module stays loaded. Arguments point to values that live until the call returns, which copies
        // them; each call site lists the parameters of the kernel that it names, with addresses inside live allocations of
        // this stream. The comparisons with the CPU run every one of them.
        unsafe {
            if grid.shared_bytes > UNASKED_SHARED_BYTES {
                result::function::set_function_attribute(
                    function.0,
                    sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                    i32::try_from(grid.shared_bytes).unwrap_or(i32::MAX),
                )
                .map_err(failed("shared memory of a kernel"))?;
            }
            timed(
                self.stream(),
                source.work,
                || name,
                cost,
                || {
                    result::launch_kernel(
                        function.0,
                        (x, y, z),
                        (grid.threads, 1, 1),
                        grid.shared_bytes,
                        self.stream().cu_stream(),
                        arguments,
                    )
                },
            )
            .map_err(failed(name))
        }
    }
}
