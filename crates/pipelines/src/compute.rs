use scope_engine::{Cpu, Device, Error, FreeMemory};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

/// More threads than this wait for each other longer than they compute.
const MAX_THREADS: usize = 8;

/// What models compute on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compute {
    /// Compute threads of a model on the CPU; without a number, as many as leave room for the pictures.
    pub threads: Option<NonZeroUsize>,
    /// Tells how much memory there is, so that a model which finds none ends by itself and the system need not end the program.
    pub free_memory: Option<FreeMemory>,
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

    /// A device with these threads.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system refuses a thread.
    pub fn device(&self) -> Result<Device, Error> {
        Cpu::with_memory(Some(self.threads()), self.free_memory.unwrap_or(|| None)).map(Device::from)
    }
}
