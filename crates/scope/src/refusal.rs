//! Why a command did not do its work, as an exit code for scripts.

use std::process::ExitCode;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The command line: 2, as for unknown options.
    Usage = 2,
    /// An input that cannot be read: 3.
    Input = 3,
    /// An output that exists or cannot be written: 4.
    Output = 4,
}

/// A text for the user, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    fault: Fault,
    text: String,
}

impl Refusal {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { fault: Fault::Usage, text: text.into() }
    }

    pub(crate) fn input(text: impl Into<String>) -> Self {
        Self { fault: Fault::Input, text: text.into() }
    }

    pub(crate) fn output(text: impl Into<String>) -> Self {
        Self { fault: Fault::Output, text: text.into() }
    }
}

/// What the process ends with; 1 for everything that is no [`Refusal`].
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    error.downcast_ref::<Refusal>().map_or(ExitCode::FAILURE, |refusal| ExitCode::from(refusal.fault as u8))
}
