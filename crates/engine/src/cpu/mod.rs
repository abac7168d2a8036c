//! The CPU device: its threads, its instruction set and its memory.

pub(crate) mod conv;
pub(crate) mod dots;
pub(crate) mod gemm;
pub(crate) mod int8;
pub(crate) mod math;
mod memory;
pub(crate) mod tile;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
};

use half::{bf16, f16};
use pulp::{Simd, WithSimd};
use rayon::{ThreadPool, ThreadPoolBuilder, Yield, prelude::*};

use crate::{Error, Result};

pub use memory::FreeMemory;
pub(crate) use memory::{Buffer, Lines, Pool};

/// A pool of compute threads and the memory of the tensors that they make. Clones are handles to the same device.
#[derive(Clone)]
pub struct Cpu(Arc<Inner>);

struct Inner {
    threads: ThreadPool,
    free_memory: FreeMemory,
    /// Threads wait for work instead of sleeping.
    awake: AtomicBool,
    arch: pulp::Arch,
    f32s: Arc<Pool<f32>>,
    f16s: Arc<Pool<f16>>,
    bf16s: Arc<Pool<bf16>>,
    u8s: Arc<Pool<u8>>,
    i32s: Arc<Pool<i32>>,
    u32s: Arc<Pool<u32>>,
}

impl Cpu {
    /// Starts `threads` compute threads; without a number, one for every core that the process may use.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system refuses a thread.
    pub fn new(threads: Option<NonZeroUsize>) -> Result<Self> {
        Self::with_memory(threads, || None)
    }

    /// The same, on a system whose memory ends: tensors for which there is none are refused.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system refuses a thread.
    pub fn with_memory(threads: Option<NonZeroUsize>, free_memory: FreeMemory) -> Result<Self> {
        let count = threads.or_else(|| available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let threads = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("engine-{index}"))
            .build()
            .map_err(|error| Error::Threads(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            threads,
            free_memory,
            awake: AtomicBool::new(false),
            arch: pulp::Arch::new(),
            f32s: Pool::new(free_memory),
            f16s: Pool::new(free_memory),
            bf16s: Pool::new(free_memory),
            u8s: Pool::new(free_memory),
            i32s: Pool::new(free_memory),
            u32s: Pool::new(free_memory),
        })))
    }

    /// Number of compute threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.threads.current_num_threads()
    }

    /// The instruction set in use: `V4` is AVX-512, `V3` AVX2 with FMA.
    #[must_use]
    pub fn instruction_set(&self) -> String {
        format!("{:?}", self.0.arch).split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    /// Runs `work` on a compute thread, and keeps the others awake until it is done: operators come every few
    /// microseconds, and to wake a sleeping thread takes longer than many of them.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.threads.install(|| {
            let others = self.threads() - 1;
            if others == 0 || self.0.awake.swap(true, Ordering::AcqRel) {
                return work();
            }
            let rest = Rest(&self.0.awake);
            rayon::scope(|scope| {
                // These wait at the far end of this thread's queue, from which others steal first: a share of an operator is
                // only ever stolen after them, so this thread never finds one while it waits for a share.
                for _ in 0..others {
                    scope.spawn(|_| {
                        let mut idle = 0u32;
                        while self.0.awake.load(Ordering::Acquire) {
                            // Takes a share of an operator's work if there is one; else the core is offered to threads
                            // with something to do, media threads above all.
                            if rayon::yield_now() == Some(Yield::Executed) {
                                idle = 0;
                            } else if idle < PATIENCE {
                                idle += 1;
                                std::hint::spin_loop();
                            } else {
                                std::thread::yield_now();
                            }
                        }
                    });
                }
                let result = work();
                drop(rest);
                result
            })
        })
    }

    /// Runs `work` on a compute thread.
    pub(crate) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.threads.install(work)
    }

    /// Gives the memory of dropped tensors back to the system.
    pub fn trim(&self) {
        self.0.f32s.trim();
        self.0.f16s.trim();
        self.0.bf16s.trim();
        self.0.u8s.trim();
        self.0.i32s.trim();
        self.0.u32s.trim();
    }

    /// Zeros that begin at a cache line, for as long as a layer lives.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn lines<T: bytemuck::Pod>(&self, len: usize) -> Result<Lines<T>> {
        Lines::zeros(len, self.0.free_memory).or_else(|_| {
            self.trim();
            Lines::zeros(len, self.0.free_memory)
        })
    }

    /// Two handles to the same device?
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn arch(&self) -> pulp::Arch {
        self.0.arch
    }

    pub(crate) fn f32s(&self) -> &Arc<Pool<f32>> {
        &self.0.f32s
    }

    pub(crate) fn f16s(&self) -> &Arc<Pool<f16>> {
        &self.0.f16s
    }

    pub(crate) fn bf16s(&self) -> &Arc<Pool<bf16>> {
        &self.0.bf16s
    }

    pub(crate) fn u8s(&self) -> &Arc<Pool<u8>> {
        &self.0.u8s
    }

    pub(crate) fn i32s(&self) -> &Arc<Pool<i32>> {
        &self.0.i32s
    }

    pub(crate) fn u32s(&self) -> &Arc<Pool<u32>> {
        &self.0.u32s
    }

    /// Runs `kernel` over blocks of whole rows of `out`, on all threads, compiled for this machine's instruction set.
    /// `work_per_row` is about the floating-point operations of a row: small jobs stay on the calling thread.
    pub(crate) fn for_rows<T: Send>(
        &self,
        out: &mut [T],
        row_len: usize,
        work_per_row: usize,
        kernel: &impl RowKernel<T>,
    ) {
        if out.is_empty() || row_len == 0 {
            return;
        }
        let rows = out.len() / row_len;
        let arch = self.0.arch;
        let block = self.block_rows(rows, work_per_row);
        if block >= rows {
            arch.dispatch(Block { kernel, first: 0, rows: out });
            return;
        }
        self.enter(|| {
            out.par_chunks_mut(block * row_len).enumerate().for_each(|(index, rows)| {
                arch.dispatch(Block { kernel, first: index * block, rows });
            });
        });
    }

    /// Rows of a block when `rows` rows are shared out: an equal number of blocks for every thread, each long enough
    /// to be worth a hand-over and short enough that a late thread costs little.
    pub(crate) fn block_rows(&self, rows: usize, work_per_row: usize) -> usize {
        /// About 20 µs on one core.
        const LEAST_WORK: usize = 200_000;
        /// About 1 ms on one core.
        const MOST_WORK: usize = 50_000_000;
        let threads = self.threads();
        let work = rows.saturating_mul(work_per_row);
        if threads == 1 || work < 2 * LEAST_WORK {
            return rows.max(1);
        }
        let rounds = (work / threads).div_ceil(MOST_WORK).max(1);
        let blocks = (rounds * threads).min(work / LEAST_WORK).max(1);
        rows.div_ceil(blocks).max(1)
    }

    /// Rows of a block of a matrix product whose kernel goes through them like this: about as many for every thread, and
    /// if there are enough no fewer than make it worth while to read all weights.
    pub(crate) fn block_of_tiles(&self, rows: usize, work_per_row: usize, tiling: Tiling) -> usize {
        /// With fewer, weights are read from memory more slowly than they are used.
        const WORTH_WHILE: usize = 168;
        let block = self.block_rows(rows, work_per_row);
        if block >= rows {
            return block;
        }
        let share = rows.div_ceil(self.threads()).max(block);
        let rounds = (share / block.max(WORTH_WHILE)).max(1);
        tiling.round_up(share.div_ceil(rounds))
    }
}

/// How a kernel of matrix products goes through its rows.
#[derive(Clone, Copy)]
pub(crate) struct Tiling {
    /// Those that it makes at a time.
    pub(crate) rows: usize,
    /// As many left over take little longer than their share of a tile.
    pub(crate) rest: usize,
}

impl Tiling {
    /// At least `rows`: whole tiles, and what may be left over.
    pub(crate) fn round_up(self, rows: usize) -> usize {
        if rows % self.rows <= self.rest { rows } else { rows.next_multiple_of(self.rows) }
    }
}

/// How often an idle thread looks for work before it offers its core to others: a few microseconds.
const PATIENCE: u32 = 200;

/// Lets threads sleep again, also when the work panics.
struct Rest<'a>(&'a AtomicBool);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Work on a run of whole rows. Implementations are `#[inline(always)]`, like all that they call: only then are they
/// compiled for the instruction set of the machine.
pub(crate) trait RowKernel<T>: Sync {
    /// Fills `rows`, the first of which has the index `first`.
    fn run(&self, first: usize, rows: &mut [T]);
}

struct Block<'a, K, T> {
    kernel: &'a K,
    first: usize,
    rows: &'a mut [T],
}

impl<T, K: RowKernel<T>> WithSimd for Block<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.kernel.run(self.first, self.rows);
    }
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cpu({} threads, {})", self.threads(), self.instruction_set())
    }
}
