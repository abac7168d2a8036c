//! LoRA adapters: listing them, getting them from Hugging Face, CivitAI or an upload, and what is known about each.

mod folder;
mod install;
mod source;

pub use folder::{LoraEntry, LoraFolder, LoraRecord, Provenance};
pub use install::{InstallRequest, Installed, LoraProgress, LoraStore, LoraUpload};
pub use source::LoraSource;

use crate::fetch::FetchError;
use crate::part::PartError;
use std::io;

/// Why something cannot be done with an adapter. The text is for users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Request(String),
    /// There is no such adapter.
    #[error("there is no adapter {0:?}")]
    NotFound(String),
    /// It lies in the shared folder.
    #[error("{0:?} lies in the shared folder, which is only read")]
    ReadOnly(String),
    /// Its name is taken.
    #[error("{0:?} exists already; remove it first, or choose another name")]
    Exists(String),
    /// It is no adapter.
    #[error("this is no whole safetensors file: {0}")]
    NotSafetensors(String),
    /// It has another checksum than the user said.
    #[error("the file has another checksum than was asked for; it was thrown away")]
    Checksum,
    /// Too many at a time.
    #[error("too many adapters are being fetched; wait for one to end")]
    Busy,
    /// The disk is too small.
    #[error("not enough disk space: {needed} are needed, {free} are free")]
    DiskFull {
        /// Bytes, for people.
        needed: String,
        /// Bytes, for people.
        free: String,
    },
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The disk refused.
    #[error("the adapters' folder cannot be used: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for LoraError {
    fn from(error: io::Error) -> Self {
        match FetchError::from(error) {
            FetchError::Disk(error) => Self::Disk(error),
            other => Self::Fetch(other),
        }
    }
}

impl From<PartError> for LoraError {
    fn from(error: PartError) -> Self {
        Self::Fetch(error.into())
    }
}
