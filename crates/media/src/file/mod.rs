//! Pictures and videos from files, as a stream of frames.
//!
//! Three kinds of files, told by content: stills ([`crate::still`]), our own recordings ([`crate::mp4`], decoded in
//! this process), and everything else through an installed `ffmpeg`, in a process of its own with limited memory and
//! no network. Foreign containers are never parsed in this process.

mod ffmpeg;

use crate::codec::{CodecError, Decoder, VideoCodec};
use crate::mp4::{Mp4Error, Mp4Reader};
use crate::still::{self, StillError};
use ffmpeg::Ffmpeg;
use scope_frame::{Image, MAX_DIMENSION};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be opened.
    #[error("cannot open the file: {0}")]
    Open(std::io::Error),
    /// A directory, a device, a pipe.
    #[error("not a regular file")]
    NotAFile,
    /// A still picture is damaged or too large.
    #[error(transparent)]
    Still(#[from] StillError),
    /// A recording is damaged.
    #[error(transparent)]
    Recording(#[from] Mp4Error),
    /// A recording cannot be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// `ffmpeg` or `ffprobe` is not on the `PATH`.
    #[error("{program} is needed to read this video but is not installed; run: apt-get install ffmpeg")]
    FfmpegMissing {
        /// The program looked for.
        program: &'static str,
    },
    /// `ffmpeg` cannot be started.
    #[error("cannot start {program}: {source}")]
    FfmpegStart {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// `ffmpeg` does not understand the file.
    #[error("ffmpeg cannot read this video: {0}")]
    Unreadable(String),
    /// `ffmpeg` gave no frame in time.
    #[error("ffmpeg gave no frame for {} s: the file may be damaged or the machine overloaded", .0.as_secs())]
    TimedOut(Duration),
    /// The file has no video.
    #[error("the file has no video stream")]
    NoVideo,
    /// The pictures are too large.
    #[error("the video is {width}×{height}; at most {MAX_DIMENSION} pixels a side are accepted")]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// One picture.
    Still,
    /// A recording of ours.
    Recording,
    /// Any other video, through `ffmpeg`.
    Video,
}

/// A file's properties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FileInfo {
    /// What it is.
    pub kind: FileKind,
    /// Width and height in pixels, as shown.
    pub size: (u32, u32),
    /// Frames a second, on average; `None` for stills.
    pub fps: Option<f64>,
    /// Length; `None` for stills, and where the file does not say.
    pub duration: Option<Duration>,
}

enum Kind {
    Still { image: Image, shown: bool },
    Recording { reader: Mp4Reader<BufReader<File>>, decoder: Decoder },
    Video(Ffmpeg),
}

/// Frames of a file with their times, in order. Reading blocks on disk and decoding: keep it off the async runtime.
///
/// Also an iterator, which goes on after a damaged frame and ends with the file.
pub struct FileSource {
    kind: Kind,
    info: FileInfo,
}

impl FileSource {
    /// Opens a file and reads its properties; for foreign videos this starts `ffmpeg`.
    ///
    /// # Errors
    /// Every [`FileError`]; [`FileError::FfmpegMissing`] names the package to install.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        // An absolute path can be neither an option nor a URL.
        let path = path.as_ref().canonicalize().map_err(FileError::Open)?;
        if !path.metadata().map_err(FileError::Open)?.is_file() {
            return Err(FileError::NotAFile);
        }
        match still::open(&path) {
            Ok(image) => {
                let info = FileInfo { kind: FileKind::Still, size: image.size(), fps: None, duration: None };
                return Ok(Self { kind: Kind::Still { image, shown: false }, info });
            }
            Err(StillError::Format) => {}
            Err(error) => return Err(error.into()),
        }
        let file = File::open(&path).map_err(FileError::Open)?;
        match Mp4Reader::new(BufReader::new(file)) {
            Ok(reader) => {
                let duration = reader.duration();
                let fps = reader.frames() as f64 / duration.as_secs_f64().max(0.001);
                let info = FileInfo {
                    kind: FileKind::Recording,
                    size: reader.size(),
                    fps: Some(fps),
                    duration: Some(duration),
                };
                let decoder = Decoder::new(VideoCodec::H264)?;
                Ok(Self { kind: Kind::Recording { reader, decoder }, info })
            }
            // What our reader does not understand is not ours.
            Err(Mp4Error::Foreign(_) | Mp4Error::Malformed(_)) => {
                let (video, info) = Ffmpeg::open(path)?;
                Ok(Self { kind: Kind::Video(video), info })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The file's properties.
    pub const fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The next picture and when it is shown, counted from the start of the file; `None` at the end.
    ///
    /// # Errors
    /// A [`FileError`]; the next call goes on behind the damage, if it can.
    pub fn next_frame(&mut self) -> Result<Option<(Image, Duration)>, FileError> {
        match &mut self.kind {
            Kind::Still { image, shown } => {
                Ok((!std::mem::replace(shown, true)).then(|| (image.clone(), Duration::ZERO)))
            }
            Kind::Recording { reader, decoder } => {
                while let Some(sample) = reader.next_sample()? {
                    if let Some(image) = decoder.decode(&sample.data)? {
                        return Ok(Some((image, sample.time())));
                    }
                }
                Ok(None)
            }
            Kind::Video(video) => video.next_frame(),
        }
    }

    /// Starts again at the first frame, for looping.
    ///
    /// # Errors
    /// [`FileError`] when `ffmpeg` or the decoder cannot be started again.
    pub fn rewind(&mut self) -> Result<(), FileError> {
        match &mut self.kind {
            Kind::Still { shown, .. } => *shown = false,
            Kind::Recording { reader, decoder } => {
                reader.rewind();
                *decoder = Decoder::new(VideoCodec::H264)?;
            }
            Kind::Video(video) => video.restart()?,
        }
        Ok(())
    }
}

impl Iterator for FileSource {
    type Item = Result<(Image, Duration), FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_frame().transpose()
    }
}

#[cfg(test)]
mod tests;
