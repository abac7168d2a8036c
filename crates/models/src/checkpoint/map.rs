//! The bytes of a checkpoint: mapped from its file, owned, or part of the program.

use super::CheckpointProblem;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// All bytes of one file.
#[derive(Debug)]
pub(super) enum FileBytes {
    /// Pages of the file, read by the operating system when touched.
    Mapped(memmap2::Mmap),
    /// Bytes in memory.
    Owned(Vec<u8>),
    /// Bytes of the program itself.
    Static(&'static [u8]),
}

impl FileBytes {
    /// Maps a file for reading.
    pub(super) fn map(path: &Path) -> Result<Self, CheckpointProblem> {
        let file = File::open(path).map_err(CheckpointProblem::Io)?;
        let metadata = file.metadata().map_err(CheckpointProblem::Io)?;
        if !metadata.is_file() {
            return Err(CheckpointProblem::NotAFile);
        }
        // An empty mapping is an error on some systems; the formats have their own word for an empty file.
        if metadata.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        map_read_only(&file).map(Self::Mapped).map_err(CheckpointProblem::Io)
    }

    /// Asks the operating system to read a part of the file, if it is a file. Whether it does is its own affair.
    pub(super) fn will_need(&self, start: usize, len: usize) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            let _ = map.advise_range(memmap2::Advice::WillNeed, start, len);
        }
        #[cfg(not(unix))]
        let _ = (self, start, len);
    }
}

#[allow(unsafe_code)]
fn map_read_only(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the mapping is private and read-only, and every read of it goes through `&[u8]` as plain bytes, for
    // which any value is valid. What remains is that another process changes or cuts the file meanwhile: weights are
    // written under a temporary name and renamed when complete, and nothing in Scope opens them for writing.
    unsafe { memmap2::MmapOptions::new().map(file) }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
            Self::Static(bytes) => bytes,
        }
    }
}
