//! The files of models on disk: which ones a pipeline needs, which of them are there, and how the others get there.
//!
//! * [`Manifest`] says which files of which repositories a pipeline needs with which [`Settings`]. It is data (`models.toml`); nothing
//!   here knows what the files mean.
//! * [`ModelFolder`] looks at a folder. [`ModelFolder::locate`] answers whoever wants to load a pipeline: the paths of its files by
//!   [`Role`], or what is missing or damaged and how many bytes that is. It reads the disk and nothing else.
//! * Names that come from data or from other machines are [`StorePath`]s: they cannot leave the folder.

mod container;
mod folder;
mod ledger;
mod manifest;
mod path;

pub use folder::{
    Damage, FileProblem, FileReport, FileState, ModelFiles, ModelFolder, Unavailable, format_bytes,
};
pub use manifest::{FileEntry, Manifest, ManifestError, PipelineEntry, Repository, Role, Settings, VaeType};
pub use path::{PathError, StorePath};
