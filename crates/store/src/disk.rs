//! How much room a disk has.

use std::io;
use std::path::Path;

/// The disk that files go to.
pub trait Disk: Send + Sync {
    /// Bytes that may be written at `path`, which need not exist.
    ///
    /// # Errors
    /// When the system does not say.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// The disk itself.
pub struct RealDisk;

impl Disk for RealDisk {
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path);
        fs4::available_space(existing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RealDisk.free_bytes(&dir.path().join("a/b/c")).unwrap() > 0);
    }
}
