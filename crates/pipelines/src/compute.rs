use scope_engine::cuda::{Arithmetic, Ceilings, CudaOptions};
use scope_engine::{Cpu, Cuda, Device, Error, FreeMemory};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

/// More threads than this wait for each other longer than they compute.
const MAX_THREADS: usize = 8;

/// What models compute on.
#[derive(Clone, Debug, Default)]
pub struct Compute {
    /// Compute threads of a model on the CPU; without a number, as many as leave room for the pictures.
    pub threads: Option<NonZeroUsize>,
    /// Tells how much memory there is, so that a model which finds none ends by itself and the system need not end the program.
    pub free_memory: Option<FreeMemory>,
    /// What large networks run on.
    pub accelerator: Accelerator,
}

/// What large networks run on. The built-in model and plain filters stay on the CPU, which they were made for.
#[derive(Clone, Debug, Default)]
pub enum Accelerator {
    /// The CPU.
    #[default]
    None,
    /// A GPU if there is one that works, else the CPU.
    IfThere(Gpu),
    /// A GPU; without one nothing loads.
    Needed(Gpu),
}

/// A GPU of this machine.
#[derive(Clone, Debug, Default)]
pub struct Gpu {
    /// Which one, counted from 0.
    pub ordinal: usize,
    /// Folders where NVIDIA's libraries are looked for first.
    pub library_folders: Vec<PathBuf>,
    /// Where compiled kernels are kept.
    pub kernel_cache: Option<PathBuf>,
}

impl Gpu {
    fn open(&self, arithmetic: Arithmetic) -> Result<Cuda, Error> {
        Cuda::new(&self.options(arithmetic))
    }

    fn options(&self, arithmetic: Arithmetic) -> CudaOptions {
        CudaOptions {
            ordinal: self.ordinal,
            arithmetic,
            library_folders: self.library_folders.clone(),
            kernel_cache: self.kernel_cache.clone(),
            kernels_of: None,
        }
    }
}

/// What networks run on, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A GPU of this name.
    Gpu(String),
    /// The CPU, as was asked for, or because no GPU can be used.
    Cpu {
        /// Why no GPU is used, if one was wanted.
        reason: Option<String>,
    },
}

/// Gives memory that waits for its next use back to the system when it is dropped: the last field of whatever ends as a whole.
pub(crate) struct GiveBack(pub(crate) Device);

impl Drop for GiveBack {
    fn drop(&mut self) {
        self.0.trim();
    }
}

impl Compute {
    /// How many compute threads a model gets. One core stays with the threads that decode, encode and send pictures, and
    /// with the browser on the same machine; `docs/performance.md` has the numbers.
    #[must_use]
    pub fn threads(&self) -> NonZeroUsize {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        let spare = NonZeroUsize::new(cores.saturating_sub(1).min(MAX_THREADS));
        self.threads.or(spare).unwrap_or(NonZeroUsize::MIN)
    }

    /// What large networks will run on.
    #[must_use]
    pub fn find(&self) -> Found {
        let (Accelerator::IfThere(gpu) | Accelerator::Needed(gpu)) = &self.accelerator else {
            return Found::Cpu { reason: None };
        };
        match gpu.open(Arithmetic::default()) {
            Ok(cuda) => Found::Gpu(cuda.properties().name.clone()),
            Err(error) => Found::Cpu { reason: Some(error.to_string()) },
        }
    }

    /// Measures what the GPU does at most; `None` where large networks run on the CPU. Nothing of the GPU is held afterwards.
    ///
    /// # Errors
    /// Those of [`Cuda::ceilings`], and [`Error::NoGpu`] when one is needed and can't be used.
    pub fn ceilings(&self) -> Result<Option<Ceilings>, Error> {
        let Device::Cuda(cuda) = self.accelerated(Arithmetic::default())? else { return Ok(None) };
        let ceilings = cuda.ceilings();
        cuda.trim();
        ceilings.map(Some)
    }

    /// What a large network runs on: a GPU with this arithmetic, or the CPU.
    ///
    /// # Errors
    /// [`Error::NoGpu`] when one is needed and can't be used, [`Error::Threads`] when the system refuses a thread.
    pub(crate) fn accelerated(&self, arithmetic: Arithmetic) -> Result<Device, Error> {
        match &self.accelerator {
            Accelerator::None => self.device(),
            Accelerator::Needed(gpu) => Ok(gpu.open(arithmetic)?.into()),
            Accelerator::IfThere(gpu) => match gpu.open(arithmetic) {
                Ok(cuda) => Ok(cuda.into()),
                Err(_) => self.device(),
            },
        }
    }

    /// Memory that a large network could get, in bytes, if it runs on a GPU.
    pub(crate) fn free_on_gpu(&self) -> Option<u64> {
        match &self.accelerator {
            Accelerator::None => None,
            Accelerator::IfThere(gpu) | Accelerator::Needed(gpu) => {
                Cuda::free_memory(&gpu.options(Arithmetic::default())).ok()
            }
        }
    }

    /// The CPU with these threads.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system refuses a thread.
    pub fn device(&self) -> Result<Device, Error> {
        Cpu::with_memory(Some(self.threads()), self.free_memory.unwrap_or(|| None)).map(Device::from)
    }
}
