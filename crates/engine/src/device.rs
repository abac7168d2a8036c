//! Where tensors live and operators run.

use crate::{Cpu, Cuda, Error, Result};

/// A compute device. Cloning gives another handle to the same one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Device {
    /// The cores of this machine.
    Cpu(Cpu),
    /// An NVIDIA GPU.
    Cuda(Cuda),
}

impl Device {
    /// Two handles to the same device?
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cpu(a), Self::Cpu(b)) => a.same(b),
            (Self::Cuda(a), Self::Cuda(b)) => a.same(b),
            _ => false,
        }
    }

    /// The CPU, for an operator whose first operand lies there.
    pub(crate) fn cpu(self, op: &'static str) -> Result<Cpu> {
        match self {
            Self::Cpu(cpu) => Ok(cpu),
            Self::Cuda(_) => Err(Error::Elsewhere { op }),
        }
    }

    /// The same device with an order of work of its own: its operators and those of this one don't wait for each other, and
    /// where both have work, its goes first. [`Tensor::to_device`](crate::Tensor::to_device) takes tensors across. A device
    /// whose operators return when they are done is its own neighbour.
    ///
    /// # Errors
    /// [`Error::NoGpu`] when the driver refuses.
    pub fn beside(&self) -> Result<Self> {
        match self {
            Self::Cpu(cpu) => Ok(Self::Cpu(cpu.clone())),
            Self::Cuda(cuda) => Ok(Self::Cuda(cuda.beside()?)),
        }
    }

    /// Gives the memory of dropped tensors back to the system.
    pub fn trim(&self) {
        match self {
            Self::Cpu(cpu) => cpu.trim(),
            Self::Cuda(cuda) => cuda.trim(),
        }
    }

    /// Do operators return before their result is complete? Then work for the next result can be under way while somebody
    /// looks at this one.
    #[must_use]
    pub fn returns_early(&self) -> bool {
        matches!(self, Self::Cuda(_))
    }

    /// While a [profile](crate::cuda::profile) is made, waits until everything that was begun is done, so that the time of
    /// parts can be told.
    pub fn settle(&self) {
        if let Self::Cuda(cuda) = self {
            cuda.settle();
        }
    }

    /// Runs `work` where operators of this device start with the least delay. Wrap a whole generate call in it.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Cpu(cpu) => cpu.install(work),
            // Its operators return at once, from any thread.
            Self::Cuda(_) => work(),
        }
    }
}

impl From<Cuda> for Device {
    fn from(cuda: Cuda) -> Self {
        Self::Cuda(cuda)
    }
}

impl From<Cpu> for Device {
    fn from(cpu: Cpu) -> Self {
        Self::Cpu(cpu)
    }
}
