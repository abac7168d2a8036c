//! Renders: shows made again from their scores, frame for frame, beside whatever else runs.
//!
//! A render uses a loaded model with a generator of its own, without a clock: it is as fast as the machine and loses no
//! frame, and nobody can change it on its way.

use crate::offline::{Clip, FileClip, Offline, OfflineError, OfflineSpec};
use crate::recording::Keep;
use crate::score::{Score, ScoreError};
use crate::script::Script;
use crate::{Lease, LeaseError, ModelManager};
use scope_frame::PixelFormat;
use scope_media::file::FileError;
use scope_media::record::{RecordError, Recorder, RecorderConfig};
use scope_pipelines::{AssetLoader, Generator, InputMode, LoadError, LoadParams};
use serde_json::Map;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Frames a second of pictures that have no rate of their own.
const FRAME_RATE: f64 = 16.0;
/// A film is for looking at closely.
const BITS_PER_PIXEL: f32 = 0.6;
/// A day at 60 frames a second.
const MAX_FRAMES: u64 = 24 * 3600 * 60;

/// What is to be made.
pub struct RenderSpec {
    /// Its id; it is part of a file name until the film is complete.
    pub id: String,
    /// The show.
    pub score: Score,
    /// How many frames; those of the score unless given.
    pub frames: Option<u64>,
    /// The input of a show that was made over a video; it begins again when it ends.
    pub clip: Option<PathBuf>,
    /// Where the film goes.
    pub keep: Keep,
    /// Resolves files named in parameters.
    pub assets: Arc<dyn AssetLoader + Send + Sync>,
}

/// Why a render could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The score does not fit its pipeline.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The score does not say what made it, or how long it is.
    #[error("the score does not say {0}")]
    Incomplete(&'static str),
    /// More frames than a film may have.
    #[error("a film has at most {MAX_FRAMES} frames")]
    TooLong,
    /// The pipeline is not loaded.
    #[error(transparent)]
    NotLoaded(#[from] LeaseError),
    /// A show over a video needs one.
    #[error("the show was made over a video: name a clip as its input")]
    NoInput,
    /// The clip cannot be played.
    #[error("the input: {0}")]
    Input(#[from] FileError),
    /// There is no memory for another generator.
    #[error(transparent)]
    Generator(#[from] LoadError),
    /// The film cannot be written.
    #[error("the film cannot be written: {0}. Check the disk and the folder's permissions")]
    Folder(#[from] io::Error),
    /// The recorder's own reason.
    #[error(transparent)]
    Recorder(#[from] RecordError),
}

/// How a render stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderState {
    /// It goes on.
    Rendering,
    /// The film is complete.
    Done(PathBuf),
    /// There is no film.
    Failed {
        /// For programs.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// Somebody ended it; there is no film.
    Cancelled,
}

/// What can be said of a render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderStatus {
    /// Its id.
    pub id: String,
    /// What makes the frames.
    pub pipeline_id: String,
    /// Frames made so far.
    pub frames: u64,
    /// Frames that the film will have.
    pub total_frames: u64,
    /// Why these are not the very same frames as those of the show, if so.
    pub why_not: Option<String>,
    /// How it stands.
    pub state: RenderState,
}

/// A render. Dropping it cancels it.
pub struct Render {
    status: watch::Receiver<RenderStatus>,
    cancelled: Arc<AtomicBool>,
}

impl Render {
    /// Begins to render on a thread of its own.
    ///
    /// # Errors
    /// [`RenderError`]; no file is left then.
    pub fn start(spec: RenderSpec, models: &ModelManager) -> Result<Self, RenderError> {
        let RenderSpec { id, score, frames, clip, keep, assets } = spec;
        let pipeline_id =
            score.pipeline_id.clone().ok_or(RenderError::Incomplete("which pipeline made it"))?;
        let total_frames = frames.unwrap_or(score.frames);
        if total_frames == 0 {
            return Err(RenderError::Incomplete("how many frames it has"));
        }
        if total_frames > MAX_FRAMES {
            return Err(RenderError::TooLong);
        }
        let lease = models.lease(&pipeline_id, &pipeline_id)?;
        let pipeline = models.registry().get(&pipeline_id);
        let pipeline = pipeline.ok_or_else(|| LeaseError::NotLoaded(pipeline_id.clone()))?;
        let script = score.script(pipeline.schema())?;
        if score.mode == InputMode::Video && clip.is_none() {
            return Err(RenderError::NoInput);
        }
        let clip = clip.filter(|_| score.mode == InputMode::Video);
        let clip = clip.map(|path| FileClip::open(&path, true, FRAME_RATE)).transpose()?;
        let generator = lease.model().start()?;
        let own_rate = generator.frame_rate(score.mode).unwrap_or(FRAME_RATE);
        let frame_rate = clip.as_ref().map_or(own_rate, FileClip::frame_rate);
        let path = keep.begin(&id)?;
        let config = RecorderConfig { fps: frame_rate as f32, bits_per_pixel: BITS_PER_PIXEL };
        let recorder = Recorder::start(&path, config)?;

        let same = *lease.params() == LoadParams::new(score.load.clone());
        let why_not = match &score.why_not {
            _ if score.exact && same => None,
            _ if score.exact => {
                Some("the model is loaded with other settings than the show was made with".into())
            }
            Some(why) => Some(why.clone()),
            None => Some("the score does not say that it is exact".into()),
        };
        let state = RenderState::Rendering;
        let status = RenderStatus { id: id.clone(), pipeline_id, frames: 0, total_frames, why_not, state };
        let (status, watched) = watch::channel(status);
        let cancelled = Arc::new(AtomicBool::new(false));
        let work = Work {
            generator,
            lease,
            mode: score.mode,
            script,
            frame_rate,
            clip,
            assets,
            film: Film { recorder, path, keep, complete: false },
            status,
            cancelled: Arc::clone(&cancelled),
        };
        std::thread::Builder::new().name(format!("render-{id}")).spawn(move || work.run())?;
        Ok(Self { status: watched, cancelled })
    }

    /// How it stands.
    pub fn status(&self) -> RenderStatus {
        self.status.borrow().clone()
    }

    /// Tells of every change of its status; closed when it has ended.
    pub fn watch(&self) -> watch::Receiver<RenderStatus> {
        self.status.clone()
    }

    /// Ends it at the next chunk.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

impl Drop for Render {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// A film that is being written; dropped before it is complete it leaves nothing behind.
struct Film {
    recorder: Recorder,
    path: PathBuf,
    keep: Keep,
    complete: bool,
}

impl Film {
    fn finish(mut self) -> Result<PathBuf, Ended> {
        self.recorder.stop()?;
        let path = self.keep.settle(&self.path)?;
        self.complete = true;
        Ok(path)
    }
}

impl Drop for Film {
    fn drop(&mut self) {
        if !self.complete {
            self.recorder.stop().ok();
            std::fs::remove_file(&self.path).ok();
        }
    }
}

/// Why a render ended without a film.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("somebody ended it")]
    Cancelled,
    #[error("the pipeline was unloaded")]
    Unloaded,
    #[error("the input has no picture")]
    NoPicture,
    #[error(transparent)]
    Chunk(#[from] OfflineError),
    #[error("the film cannot be written: {0}")]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Recorder(#[from] RecordError),
}

impl From<Ended> for RenderState {
    fn from(ended: Ended) -> Self {
        let code = match &ended {
            Ended::Cancelled => return Self::Cancelled,
            Ended::Unloaded => "pipeline_unloaded",
            Ended::NoPicture | Ended::Chunk(OfflineError::Clip(_) | OfflineError::NoClip) => "invalid_input",
            Ended::Chunk(OfflineError::Generate(error)) => error.code(),
            Ended::Disk(_) | Ended::Recorder(_) => "recording_failed",
        };
        Self::Failed { code, message: ended.to_string() }
    }
}

/// What the thread has.
struct Work {
    // Dropped before the lease: what was made from a model goes before the claim on it.
    generator: Box<dyn Generator>,
    lease: Lease,
    mode: InputMode,
    script: Script,
    frame_rate: f64,
    clip: Option<FileClip>,
    assets: Arc<dyn AssetLoader + Send + Sync>,
    film: Film,
    status: watch::Sender<RenderStatus>,
    cancelled: Arc<AtomicBool>,
}

impl Work {
    fn run(self) {
        let Self { generator, lease, mode, script, frame_rate, clip, assets, film, status, cancelled } = self;
        let spec = OfflineSpec {
            mode,
            parameters: Map::new(),
            script,
            frame_rate,
            clip: clip.map(|clip| Box::new(clip) as Clip<'_>),
            assets: &*assets,
            // That of the film's encoder.
            format: PixelFormat::I420,
        };
        let run = Offline::new(generator, spec);
        let state = match make(run, &film, &lease, &status, &cancelled) {
            Ok(()) => film.finish().map_or_else(Into::into, RenderState::Done),
            Err(ended) => {
                drop(film);
                ended.into()
            }
        };
        drop(lease);
        status.send_modify(|status| status.state = state);
    }
}

fn make(
    mut run: Offline<'_>,
    film: &Film,
    lease: &Lease,
    status: &watch::Sender<RenderStatus>,
    cancelled: &AtomicBool,
) -> Result<(), Ended> {
    let total = status.borrow().total_frames;
    let mut made = 0;
    while made < total {
        if cancelled.load(Ordering::Acquire) {
            return Err(Ended::Cancelled);
        }
        if lease.is_revoked() {
            return Err(Ended::Unloaded);
        }
        let chunk = run.next_chunk()?.ok_or(Ended::NoPicture)?;
        for frame in chunk.frames.into_iter().take((total - made) as usize) {
            film.recorder.push_and_wait(frame)?;
            made += 1;
        }
        status.send_modify(|status| {
            status.frames = made;
            // The show went on as well, but perhaps for another reason.
            if let Some((key, problem)) = chunk.parameter_problems.first() {
                status.why_not.get_or_insert_with(|| format!("{key}: {problem}"));
            }
        });
    }
    Ok(())
}
