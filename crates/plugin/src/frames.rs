//! Pictures in files that both processes have open.
//!
//! The files lie where the system keeps files in memory, if it has such a place. They are read and written by position, never
//! mapped: a mapped file that the other side truncates would end this process too.

use crate::protocol::{InputPicture, MAX_INPUT_BYTES, OutputFile};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Why a picture could not be passed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The file of pictures can't be used.
    #[error("the file of pictures: {0}")]
    Io(#[from] io::Error),
    /// The size is 0, or does not fit.
    #[error("a picture of {width}×{height} pixels; 1 to {allowed} bytes of RGB are possible")]
    Size {
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes that fit.
        allowed: u64,
    },
    /// The number of bytes is not that of a picture of this size.
    #[error("{found} bytes for a picture of {width}×{height} pixels, which has {expected}")]
    Bytes {
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes that there are.
        found: usize,
        /// Bytes that there should be.
        expected: u64,
    },
    /// There is no such place.
    #[error("place {slot} of {slots}")]
    Slot {
        /// The place asked for.
        slot: u32,
        /// Places that there are.
        slots: u32,
    },
    /// The pictures of one chunk take too much.
    #[error("the chunk's pictures take more than {} MiB", MAX_INPUT_BYTES >> 20)]
    TooMany,
}

/// Bytes of an RGB picture.
#[must_use]
pub fn byte_len(width: u32, height: u32) -> u64 {
    (u64::from(width) * u64::from(height)).saturating_mul(3)
}

/// Pictures on their way to the guest: each chunk's lie one after the other.
pub struct Input(File);

impl Input {
    /// The file at `path`, made anew by the host.
    ///
    /// # Errors
    /// [`FrameError::Io`].
    pub fn create(path: &Path) -> Result<Self, FrameError> {
        Ok(Self(OpenOptions::new().read(true).write(true).create_new(true).open(path)?))
    }

    /// The file at `path`, opened by the guest.
    ///
    /// # Errors
    /// [`FrameError::Io`].
    pub fn open(path: &Path) -> Result<Self, FrameError> {
        Ok(Self(File::open(path)?))
    }

    /// Writes a picture at `offset` and returns where the next one may begin.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn write(&self, picture: &InputPicture, pixels: &[u8]) -> Result<u64, FrameError> {
        let end = picture.offset.saturating_add(check(picture.width, picture.height, pixels)?);
        if end > MAX_INPUT_BYTES {
            return Err(FrameError::TooMany);
        }
        write_at(&self.0, pixels, picture.offset)?;
        Ok(end)
    }

    /// Reads a picture.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn read(&self, picture: &InputPicture) -> Result<Vec<u8>, FrameError> {
        let InputPicture { offset, width, height, .. } = *picture;
        let bytes = byte_len(width, height);
        if bytes == 0 || offset.saturating_add(bytes) > MAX_INPUT_BYTES {
            return Err(FrameError::Size { width, height, allowed: MAX_INPUT_BYTES });
        }
        Ok(read_at(&self.0, offset, bytes)?)
    }
}

/// Pictures on their way from the guest, each in a place of its own.
pub struct Output {
    file: File,
    slots: u32,
    slot_bytes: u64,
}

impl Output {
    /// The file that `about` describes, made anew by the host.
    ///
    /// # Errors
    /// [`FrameError::Io`].
    pub fn create(about: &OutputFile) -> Result<Self, FrameError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&about.path)?;
        file.set_len(u64::from(about.slots) * about.slot_bytes)?;
        Ok(Self { file, slots: about.slots, slot_bytes: about.slot_bytes })
    }

    /// The file that `about` describes, opened by the guest.
    ///
    /// # Errors
    /// [`FrameError::Io`].
    pub fn open(about: &OutputFile) -> Result<Self, FrameError> {
        let file = OpenOptions::new().write(true).open(&about.path)?;
        Ok(Self { file, slots: about.slots, slot_bytes: about.slot_bytes })
    }

    /// Places.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Puts a picture into a place.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn write(&self, slot: u32, width: u32, height: u32, pixels: &[u8]) -> Result<(), FrameError> {
        let offset = self.place(slot, width, height)?;
        check(width, height, pixels)?;
        Ok(write_at(&self.file, pixels, offset)?)
    }

    /// The picture in a place.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn read(&self, slot: u32, width: u32, height: u32) -> Result<Vec<u8>, FrameError> {
        let offset = self.place(slot, width, height)?;
        Ok(read_at(&self.file, offset, byte_len(width, height))?)
    }

    fn place(&self, slot: u32, width: u32, height: u32) -> Result<u64, FrameError> {
        if slot >= self.slots {
            return Err(FrameError::Slot { slot, slots: self.slots });
        }
        if !(1..=self.slot_bytes).contains(&byte_len(width, height)) {
            return Err(FrameError::Size { width, height, allowed: self.slot_bytes });
        }
        Ok(u64::from(slot) * self.slot_bytes)
    }
}

fn check(width: u32, height: u32, pixels: &[u8]) -> Result<u64, FrameError> {
    let expected = byte_len(width, height);
    if expected == 0 {
        return Err(FrameError::Size { width, height, allowed: MAX_INPUT_BYTES });
    }
    if pixels.len() as u64 != expected {
        return Err(FrameError::Bytes { width, height, found: pixels.len(), expected });
    }
    Ok(expected)
}

fn read_at(file: &File, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    // The sizes were checked: at most half a gibibyte.
    let mut pixels = vec![0; bytes as usize];
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, &mut pixels, offset)?;
    #[cfg(not(unix))]
    {
        use io::{Read, Seek};
        let mut file = file;
        file.seek(io::SeekFrom::Start(offset))?;
        file.read_exact(&mut pixels)?;
    }
    Ok(pixels)
}

fn write_at(file: &File, pixels: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    std::os::unix::fs::FileExt::write_all_at(file, pixels, offset)?;
    #[cfg(not(unix))]
    {
        use io::{Seek, Write};
        let mut file = file;
        file.seek(io::SeekFrom::Start(offset))?;
        file.write_all(pixels)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_arrive_as_they_were_sent_and_misfits_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let about = OutputFile { path: folder.path().join("out"), slots: 2, slot_bytes: 12 };
        let host = Output::create(&about).unwrap();
        let guest = Output::open(&about).unwrap();
        guest.write(1, 2, 2, &[7; 12]).unwrap();
        assert_eq!(host.read(1, 2, 2).unwrap(), [7; 12]);
        assert!(matches!(guest.write(2, 1, 1, &[0; 3]), Err(FrameError::Slot { .. })));
        assert!(matches!(guest.write(0, 5, 1, &[0; 15]), Err(FrameError::Size { .. })));
        assert!(matches!(guest.write(0, 1, 1, &[0; 4]), Err(FrameError::Bytes { .. })));
        assert!(matches!(host.read(0, u32::MAX, u32::MAX), Err(FrameError::Size { .. })));
        assert!(matches!(host.read(0, 0, 1), Err(FrameError::Size { .. })));
    }

    #[test]
    fn a_truncated_file_is_an_error_and_no_crash() {
        let folder = tempfile::tempdir().unwrap();
        let about = OutputFile { path: folder.path().join("out"), slots: 1, slot_bytes: 1 << 20 };
        let host = Output::create(&about).unwrap();
        OpenOptions::new().write(true).open(&about.path).unwrap().set_len(0).unwrap();
        assert!(matches!(host.read(0, 512, 512), Err(FrameError::Io(_))));
    }

    #[test]
    fn input_pictures_follow_each_other_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let host = Input::create(&folder.path().join("in")).unwrap();
        let guest = Input::open(&folder.path().join("in")).unwrap();
        let mut picture = InputPicture { offset: 0, width: 1, height: 2, captured_at_us: 0 };
        picture.offset = host.write(&picture, &[1; 6]).unwrap();
        assert_eq!(host.write(&picture, &[2; 6]).unwrap(), 12);
        assert_eq!(guest.read(&picture).unwrap(), [2; 6]);
        picture.offset = MAX_INPUT_BYTES;
        assert!(matches!(host.write(&picture, &[1; 6]), Err(FrameError::TooMany)));
        assert!(matches!(guest.read(&picture), Err(FrameError::Size { .. })));
    }
}
