//! What can go wrong in an operator.

use crate::DType;

/// A refusal of an operator. Nothing was computed; the inputs are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that don't fit each other or the operator.
    #[error("{op}: {detail}")]
    Shape {
        /// The operator.
        op: &'static str,
        /// Which shapes, and what was expected.
        detail: String,
    },
    /// An element type that the operator does not take.
    #[error("{op}: {found} elements where {expected} are needed")]
    DType {
        /// The operator.
        op: &'static str,
        /// The type it takes.
        expected: DType,
        /// The type it was given.
        found: DType,
    },
    /// Memory ran out.
    #[error("{} MB more are needed{}", .bytes.div_ceil(1_000_000), Free(*.free))]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
        /// What the system could still give, where it says so.
        free: Option<u64>,
    },
    /// A tensor is not on the device of the others.
    #[error("{op}: a tensor is on another device than the others")]
    Elsewhere {
        /// The operator.
        op: &'static str,
    },
    /// The GPU can't be used.
    #[error("no GPU: {0}")]
    NoGpu(String),
    /// The GPU or one of its libraries refused a call, or work that was under way failed.
    #[error("the GPU refused {what}: {detail}")]
    Gpu {
        /// The call.
        what: String,
        /// What it said.
        detail: String,
    },
    /// A kernel does not compile or load.
    #[error("the GPU's kernels of {file:?}: {detail}")]
    Kernel {
        /// The file of kernels.
        file: &'static str,
        /// What the compiler or the driver said.
        detail: String,
    },
    /// The compute device could not be started.
    #[error("starting the CPU threads of the engine: {0}")]
    Threads(String),
}

impl Error {
    /// Whether memory ran out, here or in whatever `error` was caused by.
    #[must_use]
    pub fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.any(|cause| matches!(cause.downcast_ref(), Some(Self::OutOfMemory { .. })))
    }
}

/// How much is free, in words.
struct Free(Option<u64>);

impl std::fmt::Display for Free {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |free| write!(f, ", {} MB are free", free / 1_000_000))
    }
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `Err` with the operator's name and a formatted description of the shapes, unless the condition holds.
macro_rules! ensure_shape {
    ($condition:expr, $op:expr, $($detail:tt)+) => {
        if !$condition {
            return Err($crate::Error::Shape { op: $op, detail: format!($($detail)+) });
        }
    };
}
pub(crate) use ensure_shape;
