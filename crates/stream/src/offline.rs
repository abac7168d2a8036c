//! Runs a generator outside of a session: chunk by chunk, without a clock, without threads, without losing a frame.
//!
//! What comes out depends on the generator, the parameters and the input alone. Times are those of the video: a chunk is
//! told the time of its first frame, frames made from text lie as far apart as the frame rate says, and frames made from a
//! clip keep the clip's times.

use crate::script::{Change, Moment, Script};
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_media::file::{FileError, FileSource};
use scope_pipelines::{
    AssetLoader, Chunk, GenerateError, Generator, InputMode, Needs, Output, ParameterStore,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The port that takes the clip, and the one whose pictures are the video.
const VIDEO: &str = "video";

/// Pictures of a clip, with the times of their video.
pub type Clip<'a> = Box<dyn Iterator<Item = Result<Frame, FileError>> + Send + 'a>;

/// What a run is started with.
pub struct OfflineSpec<'a> {
    /// What drives the generator.
    pub mode: InputMode,
    /// Checked parameters from the first chunk on.
    pub parameters: Map<String, Value>,
    /// Changes on the way.
    pub script: Script,
    /// Frames a second of a video that is made from text.
    pub frame_rate: f64,
    /// The input video.
    pub clip: Option<Clip<'a>>,
    /// Resolves files named in parameters.
    pub assets: &'a dyn AssetLoader,
    /// The pixel format in which pictures are of most use; they may come in any.
    pub format: PixelFormat,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// The generator waits for frames, and there is no clip.
    #[error("it works on video, and there is none: give it a clip")]
    NoClip,
    /// The clip cannot be read further.
    #[error("the input: {0}")]
    Clip(#[from] FileError),
    /// A chunk failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

/// What a chunk made.
#[derive(Clone, Debug, Default)]
pub struct OfflineChunk {
    /// Its frames. Capture times count from the start of the video, epochs from the first reset.
    pub frames: Vec<Frame>,
    /// Parameters that could not be used, each with its reason.
    pub parameter_problems: Vec<(String, String)>,
    /// Time spent per named stage.
    pub stages: Vec<(&'static str, Duration)>,
}

/// A generator on its way through a video.
pub struct Offline<'a> {
    generator: Box<dyn Generator>,
    mode: InputMode,
    parameters: ParameterStore,
    script: Script,
    frame_rate: f64,
    clip: Option<Clip<'a>>,
    assets: &'a dyn AssetLoader,
    format: PixelFormat,
    chunk: u64,
    epoch: u64,
    effort: usize,
    /// Number of the newest change, which frames carry.
    revision: u64,
    /// Frames made so far.
    frame: u64,
}

impl<'a> Offline<'a> {
    /// A run that has made nothing yet.
    pub fn new(generator: Box<dyn Generator>, spec: OfflineSpec<'a>) -> Self {
        let OfflineSpec { mode, parameters, script, frame_rate, clip, assets, format } = spec;
        Self {
            generator,
            mode,
            parameters: ParameterStore::new(&parameters),
            script,
            frame_rate: frame_rate.max(f64::MIN_POSITIVE),
            clip,
            assets,
            format,
            chunk: 0,
            epoch: 0,
            effort: 0,
            revision: 0,
            frame: 0,
        }
    }

    /// The next chunk; `None` when the clip is over. Without a clip there is no end.
    ///
    /// # Errors
    /// [`OfflineError`]; the run is over then.
    pub fn next_chunk(&mut self) -> Result<Option<OfflineChunk>, OfflineError> {
        let input = match self.generator.needs(self.mode) {
            Needs::Nothing => Input::default(),
            Needs::Frames { count, .. } => match self.take_input(count.max(1))? {
                Some(input) => input,
                None => return Ok(None),
            },
        };
        let now = input.frames.first().map_or_else(|| self.time_of(self.frame), |frame| frame.captured_at);
        let due = self.script.due(self.frame, Duration::from_micros(now.as_micros()));
        for change in &due {
            self.revision += 1;
            self.parameters.merge(&change.parameters, self.revision);
        }
        let mut snapshot = self.parameters.take();
        for change in due {
            self.effort = change.effort.unwrap_or(self.effort);
            for (key, value) in change.once {
                snapshot.set(&key, value);
            }
        }
        self.epoch += u64::from(snapshot.is_true("reset_cache"));
        self.chunk += 1;
        let mode = if input.frames.is_empty() { InputMode::Text } else { InputMode::Video };
        let Input { frames: given, end } = input;
        let inputs =
            if given.is_empty() { BTreeMap::new() } else { BTreeMap::from([(VIDEO.to_owned(), given)]) };
        let chunk = Chunk {
            index: self.chunk,
            mode,
            parameters: &snapshot,
            inputs,
            assets: self.assets,
            now,
            effort: self.effort,
            format: self.format,
        };
        let mut pictures: Vec<(Image, Option<Timestamp>)> = Vec::new();
        let report = self.generator.generate(chunk, &mut |output| {
            if let Output::Frame { port, image, captured_at } = output
                && port == VIDEO
            {
                pictures.push((image, captured_at));
            }
        })?;
        let mut made = OfflineChunk {
            frames: Vec::with_capacity(pictures.len()),
            parameter_problems: report.parameter_problems,
            stages: report.stages,
        };
        for (image, captured_at) in pictures {
            // What stands for the frames that filled up the last chunk is not part of the video.
            if captured_at.zip(end).is_some_and(|(time, end)| time > end) {
                continue;
            }
            made.frames.push(Frame {
                image,
                captured_at: captured_at.unwrap_or_else(|| self.time_of(self.frame)),
                epoch: self.epoch,
                chunk: self.chunk,
                revision: snapshot.revision(),
            });
            self.frame += 1;
        }
        Ok(Some(made))
    }

    /// Changes parameters, checked ones, with the next chunk.
    pub fn change(&mut self, parameters: Map<String, Value>) {
        self.script.push(Change::new(Moment::Frame(0), parameters));
    }

    /// The rate at which the generator's pictures are shown.
    pub const fn frame_rate(&self) -> f64 {
        self.frame_rate
    }

    fn time_of(&self, frame: u64) -> Timestamp {
        Timestamp::from_duration(
            Duration::try_from_secs_f64(frame as f64 / self.frame_rate).unwrap_or_default(),
        )
    }

    /// `count` frames of the clip; the last chunk is filled up with its last frame. `None` at the end.
    fn take_input(&mut self, count: usize) -> Result<Option<Input>, OfflineError> {
        let clip = self.clip.as_mut().ok_or(OfflineError::NoClip)?;
        let frames = clip.take(count).collect::<Result<Vec<Frame>, FileError>>()?;
        let Some(last) = frames.last().cloned() else { return Ok(None) };
        let (mut input, end) = (Input { frames, end: None }, last.captured_at);
        while input.frames.len() < count {
            input.end = Some(end);
            let mut more = last.clone();
            more.captured_at = end + Duration::from_millis(input.frames.len() as u64);
            input.frames.push(more);
        }
        Ok(Some(input))
    }
}

#[derive(Default)]
struct Input {
    frames: Vec<Frame>,
    /// The time of the clip's last frame, if the frames after it are only there to fill the chunk.
    end: Option<Timestamp>,
}

/// A file's pictures, once or over and over.
pub struct FileClip {
    file: FileSource,
    repeat: bool,
    /// From a frame to the next where the file does not say.
    spacing: Duration,
    /// When this round of the file began.
    start: Timestamp,
    /// How long it is so far.
    length: Duration,
    /// This round has had a picture.
    alive: bool,
    done: bool,
}

impl FileClip {
    /// The pictures of the file at `path`, shown `frame_rate` a second if it is a still. With `repeat` it begins again
    /// whenever it ends, and its times go on.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be played.
    pub fn open(path: &Path, repeat: bool, frame_rate: f64) -> Result<Self, FileError> {
        let file = FileSource::open(path)?;
        let rate = file.info().fps.filter(|fps| *fps > 0.0).unwrap_or(frame_rate);
        let spacing = Duration::from_secs_f64((1.0 / rate).clamp(0.001, 1.0));
        let (start, length) = (Timestamp::default(), Duration::ZERO);
        Ok(Self { file, repeat, spacing, start, length, alive: false, done: false })
    }

    /// Frames a second.
    pub fn frame_rate(&self) -> f64 {
        1.0 / self.spacing.as_secs_f64()
    }

    fn try_next(&mut self) -> Result<Option<Frame>, FileError> {
        loop {
            if let Some((image, time)) = self.file.next_frame()? {
                self.alive = true;
                self.length = time + self.spacing;
                return Ok(Some(Frame::new(image, self.start + time)));
            }
            // A file without any picture would go round for ever.
            if !self.repeat || !self.alive {
                return Ok(None);
            }
            self.start = self.start + self.length;
            self.alive = false;
            self.file.rewind()?;
        }
    }
}

impl Iterator for FileClip {
    type Item = Result<Frame, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.try_next().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests;
