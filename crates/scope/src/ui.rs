//! The files of the web interface, compressed by the build script.

use scope_server::{Ui, UiFile};

pub(crate) const UI: Ui = Ui(include!(concat!(env!("OUT_DIR"), "/ui_files.rs")));
