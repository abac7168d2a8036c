//! Recording a live stream of frames into a file, without ever slowing the stream down.

use crate::codec::{CLOCK_RATE, CodecError, Encoder, EncoderConfig, VideoCodec, even_i420};
use crate::mp4::{Mp4Error, Mp4Summary, Mp4Writer};
use parking_lot::{Condvar, Mutex};
use scope_frame::{Fit, Frame, Image, ImageError, PixelFormat, Timestamp};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Frames that wait for the encoder; a slower disk or processor loses the oldest.
const QUEUE_FRAMES: usize = 8;
/// A keyframe this often, so that players can seek.
const KEYFRAME_TICKS: i64 = 2 * CLOCK_RATE;
/// With no frame for this long, what is pending goes to the disk.
const IDLE: Duration = Duration::from_secs(1);

/// How to record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecorderConfig {
    /// Expected frames a second; sets the bitrate, never the times of frames.
    pub fps: f32,
    /// Bits that the encoder may spend per pixel of each expected frame.
    pub bits_per_pixel: f32,
}

impl Default for RecorderConfig {
    /// 30 frames a second at 0.15 bits a pixel: 1.2 Mb/s for 512 × 512, 1.8 Mb/s for 832 × 480.
    fn default() -> Self {
        Self { fps: 30.0, bits_per_pixel: 0.15 }
    }
}

/// Why a recording failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be created; one of that name may exist already.
    #[error("cannot create the recording: {0}")]
    Create(Arc<std::io::Error>),
    /// The file cannot be written, for instance because the disk is full. What was written before plays.
    #[error(transparent)]
    Write(Arc<Mp4Error>),
    /// The encoder failed. What was written before plays.
    #[error(transparent)]
    Encode(#[from] CodecError),
    /// A frame cannot be brought to the recording's size.
    #[error("cannot fit a frame into the recording: {0}")]
    Picture(#[from] ImageError),
    /// No frame arrived between start and stop; there is no file.
    #[error("no frame arrived while recording")]
    Empty,
    /// The recorder's thread could not be started or ended by a bug.
    #[error("the recorder stopped unexpectedly: {0}")]
    Thread(String),
}

impl From<Mp4Error> for RecordError {
    fn from(error: Mp4Error) -> Self {
        Self::Write(Arc::new(error))
    }
}

/// A finished recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingSummary {
    /// The file.
    pub path: PathBuf,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// From the first frame to the end of the last.
    pub duration: Duration,
    /// Frames in the file.
    pub frames: u64,
    /// Frames left out because the encoder or the disk was too slow, or out of order.
    pub dropped: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// What a [`Recorder`] is doing.
#[derive(Clone, Debug)]
pub enum RecorderState {
    /// Frames are written.
    Recording,
    /// Stopped, and the file is complete.
    Finished,
    /// Given up; pushed frames are ignored.
    Failed(RecordError),
}

/// A snapshot of a [`Recorder`].
#[derive(Clone, Debug)]
pub struct RecorderStatus {
    /// Whether it runs.
    pub state: RecorderState,
    /// Frames encoded so far.
    pub frames: u64,
    /// Frames left out so far.
    pub dropped: u64,
    /// Bytes in the file so far.
    pub bytes: u64,
    /// Time recorded so far.
    pub duration: Duration,
}

/// Encodes pushed frames to H.264 on a thread of its own and writes them to a [crash-safe file](crate::mp4).
///
/// The first frame decides the size (rounded up to even, and down to what the codec carries); frames of other sizes
/// are letterboxed into it. Frames keep their capture times: pauses and uneven rates stay as they were. Dropping the
/// recorder finishes the file.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<RecordingSummary, RecordError>>>>,
    result: Mutex<Option<Result<RecordingSummary, RecordError>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do.
    wake: Condvar,
    /// There is room in the queue, or nobody takes from it any more.
    room: Condvar,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Frame>,
    stopping: bool,
    status: RecorderStatus,
}

impl Recorder {
    /// Creates the file, which must not exist yet, and waits for frames.
    ///
    /// # Errors
    /// [`RecordError::Create`] or [`RecordError::Thread`].
    pub fn start(path: impl AsRef<Path>, config: RecorderConfig) -> Result<Self, RecordError> {
        let path = path.as_ref().to_path_buf();
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|error| RecordError::Create(Arc::new(error)))?;
        let status = RecorderStatus {
            state: RecorderState::Recording,
            frames: 0,
            dropped: 0,
            bytes: 0,
            duration: Duration::ZERO,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State { queue: VecDeque::new(), stopping: false, status }),
            wake: Condvar::new(),
            room: Condvar::new(),
        });
        let worker = Worker { shared: Arc::clone(&shared), path, config };
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || worker.run(file))
            .map_err(|error| RecordError::Thread(error.to_string()))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), result: Mutex::new(None) })
    }

    /// Hands over a frame; never waits. When the queue is full its oldest frame is left out. After a stop or a failure
    /// frames are ignored.
    pub fn push(&self, frame: Frame) {
        let mut state = self.shared.state.lock();
        if state.stopping || !matches!(state.status.state, RecorderState::Recording) {
            return;
        }
        if state.queue.len() >= QUEUE_FRAMES {
            state.queue.pop_front();
            state.status.dropped += 1;
        }
        state.queue.push_back(frame);
        self.shared.wake.notify_one();
    }

    /// Hands over a frame and waits while the queue is full, for sources that can wait: nothing is left out. After a stop
    /// frames are ignored.
    ///
    /// # Errors
    /// The [`RecordError`] that ended the recording.
    pub fn push_and_wait(&self, frame: Frame) -> Result<(), RecordError> {
        let mut state = self.shared.state.lock();
        loop {
            match &state.status.state {
                RecorderState::Failed(error) => return Err(error.clone()),
                RecorderState::Finished => return Ok(()),
                RecorderState::Recording if state.stopping => return Ok(()),
                RecorderState::Recording if state.queue.len() < QUEUE_FRAMES => break,
                RecorderState::Recording => self.shared.room.wait(&mut state),
            }
        }
        state.queue.push_back(frame);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// What the recorder is doing.
    pub fn status(&self) -> RecorderStatus {
        self.shared.state.lock().status.clone()
    }

    /// Writes what is queued, finishes the file and reports it. Blocks for the queued frames and the disk; call it off
    /// the async runtime. Further calls report the same.
    ///
    /// # Errors
    /// The [`RecordError`] that ended the recording.
    pub fn stop(&self) -> Result<RecordingSummary, RecordError> {
        self.shared.state.lock().stopping = true;
        self.shared.wake.notify_one();
        self.shared.room.notify_all();
        let mut result = self.result.lock();
        if let Some(thread) = self.thread.lock().take() {
            let panicked = |_| Err(RecordError::Thread("its thread panicked".to_owned()));
            *result = Some(thread.join().unwrap_or_else(panicked));
        }
        result.clone().unwrap_or_else(|| Err(RecordError::Thread("it never ran".to_owned())))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // The error, if any, was in `status`.
        self.stop().ok();
    }
}

/// The recorder's thread.
struct Worker {
    shared: Arc<Shared>,
    path: PathBuf,
    config: RecorderConfig,
}

enum Next {
    Frame(Frame),
    Idle,
    Stop,
}

impl Worker {
    fn run(self, file: File) -> Result<RecordingSummary, RecordError> {
        // A panic must not leave somebody waiting for room.
        let result = catch_unwind(AssertUnwindSafe(|| self.record(file)))
            .unwrap_or_else(|_| Err(RecordError::Thread("its thread panicked".to_owned())));
        let mut state = self.shared.state.lock();
        state.queue.clear();
        self.shared.room.notify_all();
        match &result {
            Ok(summary) => {
                state.status.state = RecorderState::Finished;
                state.status.bytes = summary.bytes;
                state.status.duration = summary.duration;
            }
            Err(error) => {
                tracing::warn!(%error, "recording failed");
                state.status.state = RecorderState::Failed(error.clone());
            }
        }
        result
    }

    fn record(&self, file: File) -> Result<RecordingSummary, RecordError> {
        let Next::Frame(first) = self.next(None) else {
            return Err(self.abandon(RecordError::Empty));
        };
        let session = Session::start(file, &first, self.config);
        let mut session = session.map_err(|error| self.abandon(error))?;
        let mut next = Next::Frame(first);
        let outcome = loop {
            let done = match next {
                Next::Frame(frame) => session.write(&frame),
                Next::Idle => session.writer.flush().map(|()| true).map_err(RecordError::from),
                Next::Stop => break Ok(()),
            };
            match done {
                Ok(written) => self.report(&session, written),
                Err(error) => break Err(error),
            }
            next = self.next(Some(IDLE));
        };
        let size = session.size;
        // After an encoder error there is still a file to finish.
        let finished = session.writer.finish();
        outcome?;
        let (file, Mp4Summary { duration, frames, bytes }) = finished?;
        file.sync_all().map_err(|source| Mp4Error::Io { action: "finish", source })?;
        let dropped = self.shared.state.lock().status.dropped;
        Ok(RecordingSummary { path: self.path.clone(), size, duration, frames, dropped, bytes })
    }

    /// Removes the file: an empty one is no recording.
    fn abandon(&self, why: RecordError) -> RecordError {
        std::fs::remove_file(&self.path).ok();
        why
    }

    /// Waits for a frame, for at most `patience`.
    fn next(&self, patience: Option<Duration>) -> Next {
        let mut state = self.shared.state.lock();
        loop {
            if let Some(frame) = state.queue.pop_front() {
                self.shared.room.notify_one();
                return Next::Frame(frame);
            }
            if state.stopping {
                return Next::Stop;
            }
            match patience {
                None => self.shared.wake.wait(&mut state),
                Some(patience) => {
                    if self.shared.wake.wait_for(&mut state, patience).timed_out() && state.queue.is_empty() {
                        return if state.stopping { Next::Stop } else { Next::Idle };
                    }
                }
            }
        }
    }

    fn report(&self, session: &Session, written: bool) {
        let mut state = self.shared.state.lock();
        state.status.frames = session.frames;
        state.status.bytes = session.writer.bytes();
        state.status.duration = session.writer.elapsed();
        if !written {
            state.status.dropped += 1;
        }
    }
}

/// Encoder and file of a running recording.
struct Session {
    writer: Mp4Writer<File>,
    encoder: Encoder,
    size: (u32, u32),
    origin: Timestamp,
    last_pts: i64,
    last_key: i64,
    frames: u64,
}

impl Session {
    fn start(file: File, first: &Frame, config: RecorderConfig) -> Result<Self, RecordError> {
        let size = recorded_size(first.image.size());
        let (width, height) = size;
        let kbps = width as f32 * height as f32 * config.fps * config.bits_per_pixel / 1000.0;
        let config = EncoderConfig { width, height, bitrate_kbps: kbps as u32, fps: config.fps };
        Ok(Self {
            writer: Mp4Writer::new(file, size),
            encoder: Encoder::new(VideoCodec::H264, &config)?,
            size,
            origin: first.captured_at,
            last_pts: -1,
            last_key: 0,
            frames: 0,
        })
    }

    /// Whether the frame was written: frames that are not later than the one before are left out.
    fn write(&mut self, frame: &Frame) -> Result<bool, RecordError> {
        let micros = i128::from(frame.captured_at.as_micros()) - i128::from(self.origin.as_micros());
        let pts = i64::try_from(micros * i128::from(CLOCK_RATE) / 1_000_000).unwrap_or(-1);
        // Less than a tick, the past, or more than the 13 hours that a file can express between two frames.
        if pts <= self.last_pts || pts - self.last_pts > i64::from(u32::MAX) {
            return Ok(false);
        }
        let image = letterboxed(&frame.image, self.size)?;
        let key = pts - self.last_key >= KEYFRAME_TICKS;
        let Some(encoded) = self.encoder.encode(&image, pts, key)? else { return Ok(false) };
        self.writer.write(pts, &encoded.data, encoded.keyframe)?;
        if encoded.keyframe {
            self.last_key = pts;
        }
        self.last_pts = pts;
        self.frames += 1;
        Ok(true)
    }
}

/// The even size nearest to `(w, h)` that H.264 can carry.
fn recorded_size((w, h): (u32, u32)) -> (u32, u32) {
    let (long, short) = (f64::from(w.max(h)), f64::from(w.min(h)));
    let scale = (3840.0 / long).min(2160.0 / short).min(1.0);
    let side = |side: u32| {
        let scaled = (f64::from(side) * scale).round() as u32;
        scaled.max(16).next_multiple_of(2)
    };
    (side(w), side(h))
}

/// `image` as I420 of exactly `size` (even): as it is, padded by a pixel when odd, or scaled to fit between black bars.
fn letterboxed(image: &Image, size: (u32, u32)) -> Result<Image, ImageError> {
    let image = even_i420(image)?;
    if image.size() == size {
        return Ok(image);
    }
    let (from_w, from_h) = (f64::from(image.width()), f64::from(image.height()));
    let scale = (f64::from(size.0) / from_w).min(f64::from(size.1) / from_h);
    let side = |side: f64, limit: u32| ((side * scale / 2.0).round() as u32 * 2).clamp(2, limit);
    let inner = image.resized(side(from_w, size.0), side(from_h, size.1), Fit::Stretch)?;
    if inner.size() == size {
        return Ok(inner);
    }
    let mut data = Vec::with_capacity(PixelFormat::I420.byte_len(size.0, size.1));
    for (index, plane) in inner.planes().into_iter().flatten().enumerate() {
        let (black, halved) = if index == 0 { (16, 1) } else { (128, 2) };
        let part = |pixels: u32| pixels as usize / halved;
        let (w, h, inner_w, inner_h) =
            (part(size.0), part(size.1), part(inner.width()), part(inner.height()));
        // Even margins keep chroma and luma together.
        let margin = |outer: u32, inner: u32| (outer - inner) as usize / 4 * 2 / halved;
        let (left, top) = (margin(size.0, inner.width()), margin(size.1, inner.height()));
        data.resize(data.len() + top * w, black);
        for row in plane.chunks_exact(inner_w) {
            data.resize(data.len() + left, black);
            data.extend_from_slice(row);
            data.resize(data.len() + w - left - inner_w, black);
        }
        data.resize(data.len() + (h - top - inner_h) * w, black);
    }
    Image::new(PixelFormat::I420, size.0, size.1, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decoder;
    use crate::mp4::Mp4Reader;
    use crate::testing::{moving_picture, psnr};

    fn frame(width: u32, height: u32, index: u32, micros: u64) -> Frame {
        Frame::new(moving_picture(width, height, index), Timestamp::from_micros(micros))
    }

    /// Pushes at the recorder's own pace, so that no frame is dropped.
    fn push_all(recorder: &Recorder, frames: Vec<Frame>) {
        frames.into_iter().try_for_each(|frame| recorder.push_and_wait(frame)).unwrap();
    }

    fn read(path: &Path) -> Vec<(Duration, Image)> {
        let mut reader = Mp4Reader::new(File::open(path).unwrap()).unwrap();
        let mut decoder = Decoder::new(VideoCodec::H264).unwrap();
        let mut frames = Vec::new();
        while let Some(sample) = reader.next_sample().unwrap() {
            frames.push((sample.time(), decoder.decode(&sample.data).unwrap().unwrap()));
        }
        frames
    }

    #[test]
    fn frames_keep_their_capture_times_and_pauses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording.mp4");
        let recorder = Recorder::start(&path, RecorderConfig::default()).unwrap();
        let mut times: Vec<u64> = (0..70).map(|i| 5_000_000 + i * 33_000 + (i % 3) * 9000).collect();
        times.push(60_000_000);
        times.push(60_100_000);
        push_all(&recorder, (0..).zip(&times).map(|(i, &time)| frame(65, 49, i, time)).collect());
        let summary = recorder.stop().unwrap();
        assert_eq!((summary.frames, summary.dropped, summary.size), (72, 0, (66, 50)));
        assert_eq!(summary.duration.as_millis(), 55_200);
        assert_eq!(summary.bytes, std::fs::metadata(&path).unwrap().len());
        let frames = read(&path);
        assert_eq!(frames.len(), times.len());
        for (i, ((time, image), micros)) in (0..).zip(frames.iter().zip(&times)) {
            let expected = Duration::from_micros(micros - times[0]);
            assert!(time.abs_diff(expected) < Duration::from_micros(12), "frame {i}: {time:?}, {expected:?}");
            let quality = psnr(image, &even_i420(&moving_picture(65, 49, i)).unwrap());
            assert!(quality > 28.0, "frame {i}: {quality:.1} dB");
        }
        assert_eq!(recorder.stop().unwrap(), summary, "stopping twice reports the same");
        recorder.push(frame(65, 49, 0, 70_000_000));
        assert!(matches!(recorder.status().state, RecorderState::Finished));
    }

    #[test]
    fn a_change_of_size_is_letterboxed_into_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording.mp4");
        let recorder = Recorder::start(&path, RecorderConfig::default()).unwrap();
        let white = |w, h| Image::solid(w, h, [255; 3]).unwrap();
        let sizes = [(128, 64), (64, 64), (512, 64), (33, 77), (4096, 2304), (1, 1), (128, 64)];
        let frames = (0u64..)
            .zip(sizes)
            .map(|(i, (w, h))| Frame::new(white(w, h), Timestamp::from_micros(i * 40_000)));
        push_all(&recorder, frames.collect());
        let summary = recorder.stop().unwrap();
        assert_eq!((summary.frames, summary.size), (7, (128, 64)));
        let frames = read(&path);
        let luma = |index: usize, x: usize, y: usize| frames[index].1.planes().unwrap()[0][y * 128 + x];
        for index in 0..sizes.len() {
            assert!(luma(index, 64, 32) > 200, "the centre of frame {index} is white");
        }
        assert!(luma(1, 4, 32) < 40 && luma(1, 123, 32) < 40, "a square picture has bars at its sides");
        assert!(luma(2, 64, 4) < 40 && luma(2, 64, 59) < 40, "a wide picture has bars above and below");
        assert!(luma(6, 2, 2) > 200, "the first size fills the frame again");
    }

    #[test]
    fn sizes_beyond_the_codec_are_scaled_to_fit() {
        assert_eq!(recorded_size((512, 512)), (512, 512));
        assert_eq!(recorded_size((831, 479)), (832, 480));
        assert_eq!(recorded_size((4096, 4096)), (2160, 2160));
        assert_eq!(recorded_size((2304, 4096)), (2160, 3840));
        assert_eq!(recorded_size((1, 4096)), (16, 3840));
        for size in [(512, 512), (16, 3840), (640, 480)] {
            for picture in [(1, 4096), (4096, 1), (3, 5), (640, 480), (641, 479)] {
                let image = Image::solid(picture.0, picture.1, [9; 3]).unwrap();
                assert_eq!(letterboxed(&image, size).unwrap().size(), size, "{picture:?}");
            }
        }
    }

    #[test]
    fn frames_out_of_order_are_left_out_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording.mp4");
        let recorder = Recorder::start(&path, RecorderConfig::default()).unwrap();
        let times = [1_000_000, 1_040_000, 1_040_000, 10, u64::MAX, 1_080_000];
        push_all(&recorder, (0..).zip(times).map(|(i, time)| frame(64, 48, i, time)).collect());
        let summary = recorder.stop().unwrap();
        assert_eq!((summary.frames, summary.dropped), (3, 3));
    }

    #[test]
    fn a_flood_of_frames_loses_the_oldest_and_never_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let recorder =
            Recorder::start(directory.path().join("recording.mp4"), RecorderConfig::default()).unwrap();
        let picture = moving_picture(640, 480, 0);
        for i in 0..400u64 {
            recorder.push(Frame::new(picture.clone(), Timestamp::from_micros(i * 10_000)));
        }
        let summary = recorder.stop().unwrap();
        assert!(summary.dropped > 0, "{summary:?}");
        assert_eq!(summary.frames + summary.dropped, 400);
        assert_eq!(recorder.status().frames, summary.frames);
    }

    #[test]
    fn a_source_that_waits_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let recorder =
            Recorder::start(directory.path().join("recording.mp4"), RecorderConfig::default()).unwrap();
        let frames = (0..60).map(|i| frame(320, 240, i, u64::from(i) * 10_000)).collect();
        push_all(&recorder, frames);
        let summary = recorder.stop().unwrap();
        assert_eq!((summary.frames, summary.dropped), (60, 0));
        recorder.push_and_wait(frame(320, 240, 0, 1_000_000)).unwrap();
    }

    #[test]
    fn a_source_that_waits_is_told_when_a_recording_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let recorder =
            Recorder::start(directory.path().join("recording.mp4"), RecorderConfig::default()).unwrap();
        let narrow = Frame::new(Image::solid(16, 16, [0; 3]).unwrap(), Timestamp::default());
        let broken = RecordError::Thread("a test".to_owned());
        recorder.push_and_wait(narrow.clone()).unwrap();
        recorder.shared.state.lock().status.state = RecorderState::Failed(broken);
        assert!(matches!(recorder.push_and_wait(narrow), Err(RecordError::Thread(_))));
    }

    #[test]
    fn no_frame_means_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording.mp4");
        let recorder = Recorder::start(&path, RecorderConfig::default()).unwrap();
        assert!(matches!(recorder.stop(), Err(RecordError::Empty)));
        assert!(!path.exists());
    }

    #[test]
    fn an_existing_file_is_not_overwritten() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Recorder::start(file.path(), RecorderConfig::default()).unwrap_err();
        assert!(matches!(error, RecordError::Create(_)));
    }

    #[test]
    fn dropping_the_recorder_finishes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recording.mp4");
        let recorder = Recorder::start(&path, RecorderConfig::default()).unwrap();
        push_all(&recorder, (0..5).map(|i| frame(64, 48, i, u64::from(i) * 33_333)).collect());
        drop(recorder);
        assert_eq!(read(&path).len(), 5);
    }

    #[test]
    fn a_full_disk_is_reported_and_ends_the_recording() {
        // A device that is always full, where there is one.
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
            println!("skipped: there is no /dev/full");
            return;
        };
        let first = frame(64, 48, 0, 0);
        let mut session = Session::start(full, &first, RecorderConfig::default()).unwrap();
        let outcome =
            (0..40).try_for_each(|i| session.write(&frame(64, 48, i, u64::from(i) * 33_333)).map(drop));
        assert!(matches!(outcome, Err(RecordError::Write(_))), "{outcome:?}");
    }
}
