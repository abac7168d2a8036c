//! The pocket model as a pipeline.

mod schema;

use crate::video::{Saving, VideoModel, VideoRun, VideoSettings};
use crate::{Compute, Generator, LoadError, LoadParams, LoadedPipeline, Pipeline, PipelineSchema};
use scope_models::pocket::{PocketConfig, PocketError, PocketFiles, PocketModel};
use scope_models::quirks::Quirks;
use scope_models::weights::Precision;
use std::error::Error;
use std::sync::Arc;

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
/// Whether less noise hides an input that moves. The drawn subject then stays half of what it was.
const NOISE_CONTROLLER: bool = false;

/// Passes of the transformer that take as long as decoding a chunk's pictures.
const DECODING: f64 = 1.0;

/// Text and video to video by a small model that is part of the program and runs on any machine.
pub struct Pocket {
    schema: PipelineSchema,
    files: PocketFiles,
    compute: Compute,
}

impl Pocket {
    /// The pipeline of these files.
    #[must_use]
    pub fn new(files: PocketFiles, compute: Compute) -> Self {
        Self { schema: schema::schema(files.config()), files, compute }
    }

    /// The pipeline of the files that the program was built with, if it was built with any.
    ///
    /// # Errors
    /// [`PocketError`] when they make no model.
    pub fn built_in(compute: Compute) -> Result<Option<Self>, PocketError> {
        if FILES.is_empty() {
            return Ok(None);
        }
        PocketFiles::built_in(FILES).map(|files| Some(Self::new(files, compute)))
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
        let device = self.compute.device().map_err(|error| failed(&error))?;
        // As the files have them: a quarter of the memory, faster, and the recorded pictures are met within 1 of 255.
        let model =
            PocketModel::load(&device, &self.files, Precision::Int8).map_err(|error| failed(&error))?;
        let config = self.files.config();
        let steps = config.timesteps();
        let settings = VideoSettings {
            size,
            seed: params.u64("base_seed").unwrap_or(SEED),
            text_steps: steps.clone(),
            video_steps: steps,
            noise_scale: NOISE_SCALE,
            noise_controller: NOISE_CONTROLLER,
            cache_weight: false,
            manage_cache: true,
            loras: Vec::new(),
            references: Vec::new(),
            context_scale: 1.0,
            frame_rate: Some(config.video.fps),
            savings: savings(config, size),
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
            vace: None,
        };
        let text = Box::new(Arc::clone(self.model.text_encoder()));
        let run = VideoRun::new(&model, self.settings.clone(), text).map_err(|error| failed(&error))?;
        Ok(Box::new(run))
    }
}

/// Fewer steps and a smaller picture, as far as the model was trained for them.
fn savings(config: &PocketConfig, [height, width]: [usize; 2]) -> Vec<Saving> {
    let steps = config.fewer_timesteps();
    let fewer =
        steps.as_ref().map_or(1.0, |steps| chunk_cost(steps.len()) / chunk_cost(config.timesteps().len()));
    let smaller = config.smaller_size([width, height]);
    let share = |[w, h]: [usize; 2]| (w * h) as f64 / (width * height) as f64;
    let mut savings = Vec::new();
    if steps.is_some() {
        savings.push(Saving { steps: steps.clone(), size: None, cost: fewer });
    }
    if let Some([w, h]) = smaller {
        let (size, cost) = (Some([h, w]), share([w, h]));
        savings.push(Saving { steps: None, size, cost });
        if steps.is_some() {
            savings.push(Saving { steps, size, cost: cost * fewer });
        }
    }
    savings
}

/// Time of a chunk in passes of the transformer, of which one fills the cache. Decoding takes as long as DECODING of them.
fn chunk_cost(steps: usize) -> f64 {
    steps as f64 + 1.0 + DECODING
}

fn failed(error: &(dyn Error + 'static)) -> LoadError {
    LoadError::of(ID, error)
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

#[cfg(test)]
mod tests;
