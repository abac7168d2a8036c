//! The CUDA device: one NVIDIA GPU, through libraries that are found at run time.
//!
//! Everything that an operator does is put on one stream, in order, and returns at once; only what hands numbers to the
//! host waits. The kernels are sources in `kernels/`, compiled for the card that is there and kept on disk
//! ([`kernels`]); matrix products are cuBLASLt's.
//!
//! Activations are of one type on a device, its [`Arithmetic`]: an operator converts what comes in another. Operators on
//! single elements alone keep the type of their first operand, so that latents stay `f32` from step to step.
// The calls into the driver and its libraries are all here.
#![allow(unsafe_code)]

mod cost;
mod gemm;
mod inspect;
pub mod kernels;
mod launch;
pub mod libraries;
mod memory;
mod ops;
mod profile;
mod tensor;
mod tensor_map;
mod transfer;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use cudarc::driver::{CudaContext, CudaStream, DriverError, sys};
use parking_lot::Mutex;

use crate::{DType, Error, Result};

pub use self::{
    cost::{Ceilings, Cost},
    inspect::{Inspection, inspect},
    memory::{MemoryUse, memory_use},
    profile::{Profile, Spent, Work, profile},
};
use self::{gemm::Gemm, kernels::Kernels, memory::Memory};
pub(crate) use self::{
    ops::{
        Addition, ConvJob, CudaConv, CudaLinear, CudaLinearFp8, DeviceTable, Fp8Kind, JoinedJob, KernelTap,
        Norm, NormRopeJob, Parts, RopeParts, Target,
    },
    tensor::CudaBuffer,
    transfer::Download,
};

/// The numbers that operators of a GPU compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// Activations and weights in bf16, sums in `f32`: what the card is fastest at.
    #[default]
    Bf16,
    /// Everything in `f32`: for comparisons with the CPU.
    F32,
}

impl Arithmetic {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::Bf16 => DType::Bf16,
            Self::F32 => DType::F32,
        }
    }
}

/// What to open a GPU with.
#[derive(Clone, Debug, Default)]
pub struct CudaOptions {
    /// Which of the system's GPUs, counted from 0.
    pub ordinal: usize,
    /// What it computes with.
    pub arithmetic: Arithmetic,
    /// Folders where NVIDIA's libraries are looked for first; see [`libraries`].
    pub library_folders: Vec<PathBuf>,
    /// Where compiled kernels are kept; without a folder they are compiled at every start.
    pub kernel_cache: Option<PathBuf>,
    /// Chooses kernels as on a card of this compute capability, which is no higher than the card's own: so what runs on other
    /// cards is compared on this one, too.
    pub kernels_of: Option<[u32; 2]>,
}

/// A GPU, and the stream and memory of one user of it. Clones are handles to the same; another [`Cuda::new`] has a
/// stream and an account of memory of its own.
#[derive(Clone)]
pub struct Cuda(Arc<Inner>);

struct Inner {
    arithmetic: Arithmetic,
    properties: Properties,
    /// What kernels are chosen for.
    capability: [u32; 2],
    kernels: Arc<Kernels>,
    gemm: Mutex<Gemm>,
    /// Where blocks of attention leave parts for each other.
    parts: Mutex<Option<Parts>>,
    /// How cuBLASLt multiplies 8-bit numbers, as far as it was tried.
    fp8: Mutex<HashMap<Fp8Kind, bool>>,
    // The last: what is above holds memory of it.
    memory: Arc<Memory>,
}

/// What a card is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// As its maker calls it.
    pub name: String,
    /// Compute capability: `[9, 0]` is Hopper.
    pub capability: [u32; 2],
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Memory, in bytes.
    pub memory: u64,
}

impl Cuda {
    /// Opens a GPU.
    ///
    /// # Errors
    /// [`Error::NoGpu`] when the driver, a library or the card is missing or refuses.
    pub fn new(options: &CudaOptions) -> Result<Self> {
        let refused = |error: DriverError| Error::NoGpu(describe(error));
        let context = context(options)?;
        let stream = context.new_stream().map_err(refused)?;
        let properties = Properties::of(&context).map_err(refused)?;
        let [major, minor] = properties.capability;
        if major < 8 {
            return Err(Error::NoGpu(format!(
                "{} has compute capability {major}.{minor}; 8.0 is the least that bf16 needs",
                properties.name
            )));
        }
        let kernels = Kernels::shared(options, &properties);
        let memory = Memory::new(context, stream)?;
        let capability =
            options.kernels_of.map_or(properties.capability, |wanted| wanted.min(properties.capability));
        Self::with(options.arithmetic, properties, capability, kernels, memory)
    }

    fn with(
        arithmetic: Arithmetic,
        properties: Properties,
        capability: [u32; 2],
        kernels: Arc<Kernels>,
        memory: Arc<Memory>,
    ) -> Result<Self> {
        let gemm = Mutex::new(Gemm::new(&memory)?);
        let parts = Mutex::new(None);
        let fp8 = Mutex::default();
        Ok(Self(Arc::new(Inner { arithmetic, properties, capability, kernels, gemm, parts, fp8, memory })))
    }

    /// The same GPU with another stream, whose work goes first where both have some.
    ///
    /// # Errors
    /// [`Error::NoGpu`] when the driver refuses.
    pub fn beside(&self) -> Result<Self> {
        let Inner { arithmetic, properties, capability, kernels, memory, .. } = &*self.0;
        Self::with(*arithmetic, properties.clone(), *capability, Arc::clone(kernels), memory.beside()?)
    }

    /// Memory that this process could still get on a GPU, in bytes, without opening it for more than the question.
    ///
    /// # Errors
    /// [`Error::NoGpu`] when the driver, a library or the card is missing or refuses.
    pub fn free_memory(options: &CudaOptions) -> Result<u64> {
        let refused = |error: DriverError| Error::NoGpu(describe(error));
        memory::available(&*context(options)?).map_err(refused)
    }

    /// What the card is.
    #[must_use]
    pub fn properties(&self) -> &Properties {
        &self.0.properties
    }

    /// The compute capability that kernels are chosen for.
    fn capability(&self) -> [u32; 2] {
        self.0.capability
    }

    /// What it computes with.
    #[must_use]
    pub fn arithmetic(&self) -> Arithmetic {
        self.0.arithmetic
    }

    /// Memory of this handle's tensors and layers.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        self.0.memory.usage()
    }

    /// Begins a new record of the most memory that was in use at a time.
    pub fn reset_peak(&self) {
        self.0.memory.reset_peak();
    }

    /// Gives the memory of dropped tensors back to the system.
    pub fn trim(&self) {
        self.0.memory.trim();
    }

    /// Waits until everything that was begun is done.
    ///
    /// # Errors
    /// [`Error::Gpu`] when something of it failed.
    pub fn synchronize(&self) -> Result<()> {
        self.0.memory.synchronize()
    }

    /// Waits if a profile is made; a failure shows at the next operator.
    pub(crate) fn settle(&self) {
        if profile::is_enabled() {
            let _ = self.synchronize();
        }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.0.memory
    }

    /// The type of activations.
    pub(crate) fn dtype(&self) -> DType {
        self.0.arithmetic.dtype()
    }

    fn stream(&self) -> &Arc<CudaStream> {
        self.0.memory.stream()
    }
}

fn context(options: &CudaOptions) -> Result<Arc<CudaContext>> {
    let found = libraries::find(&options.library_folders);
    found.load().map_err(|error| Error::NoGpu(error.to_string()))?;
    CudaContext::new(options.ordinal).map_err(|error| Error::NoGpu(describe(error)))
}

impl Properties {
    fn of(context: &CudaContext) -> std::result::Result<Self, DriverError> {
        use sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let (major, minor) = context.compute_capability()?;
        Ok(Self {
            name: context.name()?,
            capability: [major, minor].map(i32::unsigned_abs),
            multiprocessors: context.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.unsigned_abs(),
            memory: context.total_mem()? as u64,
        })
    }
}

impl std::fmt::Debug for Cuda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cuda({}, {:?})", self.0.properties.name, self.0.arithmetic)
    }
}

/// A driver's error in words.
fn describe(error: DriverError) -> String {
    let words = error.error_string().ok().map(|words| words.to_string_lossy().into_owned());
    words.unwrap_or_else(|| format!("{:?}", error.0))
}

/// The error of a call to the driver.
fn failed(what: &'static str) -> impl FnOnce(DriverError) -> Error {
    move |error| Error::Gpu { what: what.to_owned(), detail: describe(error) }
}
