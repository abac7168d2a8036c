//! Files of the user: which may be read ([`Sandbox`]), and the directory of uploads ([`AssetStore`]).

mod kind;
mod loader;
mod name;
pub mod range;
mod sandbox;
mod store;
mod transfer;

pub use kind::AssetKind;
pub use loader::{Decode, SandboxedAssets};
pub(crate) use name::acceptable as is_file_name;
pub use sandbox::{Sandbox, SandboxError};
pub use store::{AssetEntry, AssetStore, StoreError, Upload};
pub(crate) use transfer::{receive, send, stream_of};
