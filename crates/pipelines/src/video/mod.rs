//! Streaming video models as generators: one run for all of them.
//!
//! What differs between models is data: networks and roll-out in a [`VideoModel`], sizes and defaults in
//! [`VideoSettings`]. A [`VideoRun`] reads a chunk's parameters, generates it, and hands out every picture as soon as it is
//! decoded.

mod effort;
mod request;
mod run;

pub use effort::Saving;
pub use run::VideoRun;

use scope_engine::Device;
use scope_models::quirks::Quirks;
use scope_models::vae::VideoAutoencoder;
use scope_models::video::{VideoError, VideoStream};
use scope_models::wan::{Family, WanTransformer};
use std::sync::Arc;

/// The port on which video comes in and goes out.
pub(crate) const VIDEO: &str = "video";
/// The port of a video that controls another one.
pub(crate) const CONTROL: &str = "vace_input_frames";
/// The port of masks over that video.
pub(crate) const MASKS: &str = "vace_input_masks";

/// Networks with their weights and the way they are rolled out, shared by all sessions.
#[derive(Clone, Debug)]
pub struct VideoModel {
    /// Makes latents.
    pub transformer: Arc<WanTransformer>,
    /// Turns latents into pictures, and input pictures into latents; on the same device, maybe
    /// [beside](scope_engine::Device::beside) the transformer.
    pub autoencoder: Arc<dyn VideoAutoencoder>,
    /// How chunks follow each other.
    pub family: Family,
    /// Defects of the reference to reproduce.
    pub quirks: Quirks,
    /// Adds VACE blocks to a transformer without, once they are needed.
    pub vace: Option<Arc<dyn LateVace>>,
}

/// VACE blocks that are loaded when the first session needs them.
pub trait LateVace: std::fmt::Debug + Send + Sync {
    /// The model's transformer beside its VACE blocks.
    ///
    /// # Errors
    /// A text for the user when they can't be had.
    fn transformer(&self) -> Result<Arc<WanTransformer>, String>;
}

/// A LoRA file that a model was loaded with.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Where it lies, as the client named it.
    pub path: String,
    /// Its strength.
    pub scale: f32,
    /// It is part of the weights: its strength can't change any more.
    pub merged: bool,
}

impl VideoModel {
    /// A stream of pictures of this height and width.
    ///
    /// # Errors
    /// [`VideoError`] when the size does not suit the model, or its memory can't be had.
    pub fn stream(&self, size: [usize; 2]) -> Result<VideoStream, VideoError> {
        let Self { transformer, autoencoder, family, quirks, .. } = self.clone();
        VideoStream::new(transformer, autoencoder, &family, size, quirks)
    }

    /// Where it runs.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.transformer.device()
    }
}

/// What a session does unless its parameters say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoSettings {
    /// Height and width of the pictures.
    pub size: [usize; 2],
    /// Seed of the noise.
    pub seed: u64,
    /// Timesteps of a video made from text, noisiest first.
    pub text_steps: Vec<f64>,
    /// Timesteps of a video made from another.
    pub video_steps: Vec<f64>,
    /// How much noise hides the input video, 0 to 1.
    pub noise_scale: f64,
    /// The noise follows the motion of the input.
    pub noise_controller: bool,
    /// The weight of cached frames can be set.
    pub cache_weight: bool,
    /// Changes that the past would spoil start the video anew.
    pub manage_cache: bool,
    /// The LoRA files in the weights and beside them.
    pub loras: Vec<Lora>,
    /// Pictures of things that the first chunk shows.
    pub references: Vec<String>,
    /// Strength of control signals.
    pub context_scale: f32,
    /// Pictures a second that the model was trained to show, if it was trained for one rate.
    pub frame_rate: Option<f64>,
    /// What may be saved where that rate is not reached; nothing for models without a rate.
    pub savings: Vec<Saving>,
}
