//! Everything between pictures and bytes: codecs, recordings, stills and video files.
//!
//! | Module | What it does | Where it runs |
//! |---|---|---|
//! | [`codec`] | pictures ↔ VP8 and H.264 packets | the caller's thread |
//! | [`mp4`] | H.264 packets ↔ crash-safe MP4 files | the caller's thread |
//! | [`record`] | a live stream of frames → MP4 file | a thread per recording |
//! | [`still`] | pictures ↔ JPEG, PNG (and in: WebP, BMP) | the caller's thread |
//! | [`mod@file`] | stills, recordings and any video → frames | the caller's thread; `ffmpeg` in a process of its own |
//!
//! # Contract
//!
//! - **No input panics.** Packets, files and pictures come from anyone. Every length of every truncated file is swept
//!   in the tests, and `fuzz/` holds a target for each parser. Sizes above [`scope_frame::MAX_DIMENSION`] are refused
//!   from the headers, before memory is spent on them.
//! - **Everything here blocks** on computation or disk: call it from a thread of its own, not from an async task. The
//!   exceptions are [`Recorder::push`](record::Recorder::push) and [`Recorder::status`](record::Recorder::status),
//!   which return at once.
//! - **Time is the caller's.** Packets carry 90 kHz timestamps ([`codec::CLOCK_RATE`]) and recordings keep capture
//!   times to the tick; nothing here looks at a clock.
//! - **Colour** is BT.601 limited range, as in [`scope_frame`]; H.264 streams and recordings say so, and videos are
//!   converted to it.
//! - **Unsafe code** lives in one private module, `codec::ffi`.
//!
//! # Example
//!
//! ```
//! use scope_frame::{Frame, Image, Timestamp};
//! use scope_media::file::FileSource;
//! use scope_media::record::{Recorder, RecorderConfig};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("session.mp4");
//! let recorder = Recorder::start(&path, RecorderConfig::default())?;
//! for i in 0..4 {
//!     let image = Image::solid(64, 48, [40 * i as u8, 90, 10])?;
//!     recorder.push(Frame::new(image, Timestamp::from_micros(i * 50_000)));
//! }
//! let summary = recorder.stop()?;
//! assert_eq!((summary.frames, summary.duration.as_millis()), (4, 200));
//!
//! let mut source = FileSource::open(&path)?;
//! let (image, time) = source.next_frame()?.expect("the first frame");
//! assert_eq!((image.size(), time.as_millis()), ((64, 48), 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod codec;
pub mod file;
pub mod mp4;
pub mod record;
pub mod still;
#[cfg(test)]
mod testing;
