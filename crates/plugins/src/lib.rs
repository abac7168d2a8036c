//! Third-party pipelines.
//!
//! A plugin is a program in any language that speaks the protocol of [`scope_plugin`]. It runs in a process of its own, so that
//! whatever it does stays there: a crash, a hang, a flood of messages, pictures that are none. Each loaded pipeline is one
//! process, which its sessions share; when it ends by itself, the chunk fails and it is started again, as long as that does
//! not happen too often.
//!
//! Plugins are **not** confined: they run with the rights of the user who starts Scope. They are installed by a person at this
//! machine ([`Library`]), never over the network, and learn no secrets that their manifest does not name.

mod installed;
mod library;
mod manifest;
mod pipeline;
mod process;
mod sdk;

pub use installed::{Installed, Record, Source};
pub use library::{Broken, InstallError, Library, Plan, Scan};
pub use manifest::{MANIFEST, Manifest, ManifestError};
pub use pipeline::PluginPipeline;
pub use process::ProcessError;
