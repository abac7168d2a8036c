//! The files of models on disk: which ones a pipeline needs, which of them are there, and how the others get there.
//!
//! * [`Manifest`] says which files of which repositories a pipeline needs with which [`Settings`]. It is data (`models.toml`); nothing
//!   here knows what the files mean.
//! * [`ModelFolder`] looks at a folder. [`ModelFolder::locate`] answers whoever wants to load a pipeline: the paths of its files by
//!   [`Role`], or what is missing or damaged and how many bytes that is. It reads the disk and nothing else.
//! * [`Store`] fetches what is missing, checks what is there, and removes what is not wanted. What happens when is decided by a state
//!   machine without I/O (`schedule`); one file from one server is `fetch`'s business; `network` decides who is talked to.
//! * [`GpuLibraries`] are NVIDIA's, from PyPI: the same downloads, unpacked.
//! * Names that come from data or from other machines are [`StorePath`]s: they cannot leave the folder.
//!
//! A file is written beside its place as `NAME.part`, hashed as it comes in, and gets its name when size and checksum are right.
//! Nothing that is half there, or wrong, is ever found under a file's own name.

mod container;
mod digest;
mod disk;
pub mod disposition;
mod fetch;
mod folder;
mod gpu;
mod ledger;
mod lora;
mod manifest;
mod network;
mod part;
mod path;
mod schedule;
mod store;

pub use disk::{Disk, RealDisk};
pub use fetch::{FetchError, Patience};
pub use folder::{
    Damage, FileProblem, FileReport, FileState, ModelFiles, ModelFolder, Unavailable, format_bytes,
};
pub use gpu::{
    GpuError, GpuLibraries, GpuOptions, GpuPackages, GpuProgress, PackagesError, Wheel, WheelError,
    WheelFile, this_platform,
};
pub use lora::{
    InstallRequest, Installed, LoraEntry, LoraError, LoraFolder, LoraProgress, LoraRecord, LoraSource,
    LoraStore, LoraUpload, Provenance,
};
pub use manifest::{
    FileEntry, Manifest, ManifestError, ModelSize, PipelineEntry, Repository, Role, Settings, VaeType, When,
};
pub use network::{
    Credential, HostRule, Lookup, NetworkError, NetworkOptions, NoSecrets, RequestError, Secrets,
    SystemLookup,
};
pub use path::{PathError, StorePath};
pub use schedule::{JobState, Limits};
pub use store::{
    DownloadEnded, DownloadProgress, FileStatus, Outcome, PipelineState, PipelineStatus, Removed,
    RepositoryStatus, Started, Store, StoreError, StoreOptions, Verification,
};
