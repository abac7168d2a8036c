//! Where tensors live and operators run.

use crate::Cpu;

/// A compute device. Cloning gives another handle to the same one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Device {
    /// The cores of this machine.
    Cpu(Cpu),
}

impl Device {
    /// Two handles to the same device?
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cpu(a), Self::Cpu(b)) => a.same(b),
        }
    }

    /// Gives the memory of dropped tensors back to the system.
    pub fn trim(&self) {
        match self {
            Self::Cpu(cpu) => cpu.trim(),
        }
    }

    /// Runs `work` where operators of this device start with the least delay. Wrap a whole generate call in it.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Cpu(cpu) => cpu.install(work),
        }
    }
}

impl From<Cpu> for Device {
    fn from(cpu: Cpu) -> Self {
        Self::Cpu(cpu)
    }
}
