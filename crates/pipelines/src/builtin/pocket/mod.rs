//! The pocket model as a pipeline.

mod schema;

use crate::video::{VideoModel, VideoRun, VideoSettings};
use crate::{Generator, LoadError, LoadParams, LoadedPipeline, Pipeline, PipelineSchema};
use scope_engine::{Cpu, Device};
use scope_models::pocket::{PocketError, PocketFiles, PocketModel};
use scope_models::quirks::Quirks;
use scope_models::weights::Precision;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

include!(concat!(env!("OUT_DIR"), "/pocket_files.rs"));

const ID: &str = "pocket";
/// Pixels of a latent's side: sizes are multiples.
const SIDE: u64 = 16;
const MIN_SIZE: u64 = 64;
const MAX_SIZE: u64 = 512;
/// Seed of a session that sets none.
const SEED: u64 = 42;
/// Noise over an input video, where a session sets none.
const NOISE_SCALE: f64 = 0.7;
/// More threads than this wait for each other longer than they compute.
const MAX_THREADS: usize = 8;

/// Text and video to video by a small model that is part of the program and runs on any machine.
pub struct Pocket {
    schema: PipelineSchema,
    files: PocketFiles,
}

impl Pocket {
    /// The pipeline of these files.
    #[must_use]
    pub fn new(files: PocketFiles) -> Self {
        Self { schema: schema::schema(files.config()), files }
    }

    /// The pipeline of the files that the program was built with, if it was built with any.
    ///
    /// # Errors
    /// [`PocketError`] when they make no model.
    pub fn built_in() -> Result<Option<Self>, PocketError> {
        if FILES.is_empty() {
            return Ok(None);
        }
        PocketFiles::built_in(FILES).map(|files| Some(Self::new(files)))
    }
}

impl Pipeline for Pocket {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn load(&self, params: &LoadParams, stage: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let [width, height] = self.files.config().video.default_size;
        let size = [side(params, "height", height)?, side(params, "width", width)?];
        stage("Unpacking the pocket model…");
        let failed = |error: &dyn ToString| failed(error);
        let device = Device::from(Cpu::new(Some(threads())).map_err(|error| failed(&error))?);
        // Kept as they are unpacked, the weights take 110 MB and stay exactly those that the recording was made with.
        let model =
            PocketModel::load(&device, &self.files, Precision::F32).map_err(|error| failed(&error))?;
        let steps = self.files.config().timesteps();
        let settings = VideoSettings {
            size,
            seed: params.u64("base_seed").unwrap_or(SEED),
            text_steps: steps.clone(),
            video_steps: steps,
            noise_scale: NOISE_SCALE,
            noise_controller: true,
            frame_rate: Some(self.files.config().video.fps),
        };
        Ok(Arc::new(Loaded { model, settings }))
    }
}

/// What one session starts from.
struct Loaded {
    model: PocketModel,
    settings: VideoSettings,
}

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        let model = VideoModel {
            transformer: Arc::clone(self.model.transformer()),
            autoencoder: Arc::clone(self.model.autoencoder()) as _,
            family: self.model.config().family(),
            quirks: Quirks::default(),
        };
        let text = Box::new(Arc::clone(self.model.text_encoder()));
        let run = VideoRun::new(&model, self.settings.clone(), text).map_err(|error| failed(&error))?;
        Ok(Box::new(run))
    }
}

fn failed(error: &dyn ToString) -> LoadError {
    LoadError::Failed { pipeline: ID.into(), detail: error.to_string() }
}

fn side(params: &LoadParams, key: &str, default: usize) -> Result<usize, LoadError> {
    let value = params.u64(key).unwrap_or(default as u64);
    if value.is_multiple_of(SIDE) && (MIN_SIZE..=MAX_SIZE).contains(&value) {
        return Ok(value as usize);
    }
    let nearest = (value / SIDE * SIDE).clamp(MIN_SIZE, MAX_SIZE);
    Err(LoadError::InvalidParameter {
        pipeline: ID.into(),
        key: key.into(),
        problem: format!(
            "is {value}; it must be a multiple of {SIDE} from {MIN_SIZE} to {MAX_SIZE}. Use {nearest}"
        ),
    })
}

/// Compute threads: one core stays with the threads that move pictures. A single modern core makes more pictures than the
/// sixteen a second that the model was trained to show.
fn threads() -> NonZeroUsize {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores.saturating_sub(1).min(MAX_THREADS)).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests;
