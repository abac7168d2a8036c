//! Recordings: crash-safe MP4 files with one H.264 track, written by [`Mp4Writer`] and read back by [`Mp4Reader`].
//!
//! While recording, the file is *fragmented* MP4 (ISO/IEC 14496-12, 8.8): every half second is appended whole, so
//! that whatever ends the process, the file plays up to the last fragment. [`Mp4Writer::finish`] appends an ordinary
//! sample table and then, with one 16-byte write, turns everything before it into media data: the finished file is
//! a plain MP4 with its duration, seekable in every player and editor.
//!
//! ```text
//! recording:  ftyp  free  moov(mvex)  moof mdat  moof mdat …
//! finished:   ftyp  mdat[──────────────────────────────────]  moov
//! ```
//!
//! Times are kept exactly: 90 kHz ticks, any spacing, counted from the first frame.

mod boxes;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Mp4Reader, Sample};
pub use write::{Mp4Summary, Mp4Writer};

use std::io;
use std::time::Duration;

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Mp4Error {
    /// The file system failed.
    #[error("cannot {action} the recording: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The first frame is not a keyframe with parameter sets: start a recording with a forced keyframe.
    #[error("a recording must start with an H.264 keyframe that carries its parameter sets")]
    NoKeyframe,
    /// A frame is not later than the one before, or more than 13 hours later.
    #[error("frame times must increase, by less than 13 hours: {pts} follows {last} (in 1/90000 s)")]
    Order {
        /// Time of the frame before.
        last: i64,
        /// Time of the refused frame.
        pts: i64,
    },
    /// The stream's size or profile changed: start a new file.
    #[error("the H.264 parameter sets changed in the middle of a recording: start a new file")]
    ParameterSets,
    /// A frame is too large to store.
    #[error("a frame of {bytes} bytes is too large to record")]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
    },
    /// Nothing was recorded.
    #[error("the recording has no frames")]
    Empty,
    /// The file is fine perhaps, but not one that [`Mp4Writer`] wrote: read it with another decoder.
    #[error("not a recording made by Scope: {0}")]
    Foreign(&'static str),
    /// The file contradicts itself.
    #[error("the recording is damaged: {0}")]
    Malformed(&'static str),
}

/// Ties an I/O error to what was being done.
fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> Mp4Error {
    move |source| Mp4Error::Io { action, source }
}

/// A span of 90 kHz ticks as time; negative spans are empty.
pub(crate) fn duration_from_ticks(ticks: i64) -> Duration {
    Duration::from_nanos(u64::try_from(i128::from(ticks.max(0)) * 100_000 / 9).unwrap_or(u64::MAX))
}
