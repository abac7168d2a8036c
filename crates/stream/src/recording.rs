//! Recordings of a session.

use std::path::PathBuf;

/// Why a recording could not be started or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {}

/// All recordings of a session, by node.
pub struct Recordings {
    #[allow(dead_code)]
    dir: PathBuf,
}

impl Recordings {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }
    pub(crate) fn any_running(&self) -> bool {
        false
    }
    pub(crate) fn stop_all(&self) {}
}
