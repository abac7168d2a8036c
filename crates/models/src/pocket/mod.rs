//! The pocket model: a text-to-video model of some 25 million weights, small enough to be part of the program and to run
//! on a CPU.
//!
//! Transformer and text encoder have the layers and tensor names of Wan2.1, the autoencoder those of TAEHV. What is
//! different is data: a latent stands for 16×16 pixels of four pictures in 48 channels, each latent frame is a chunk, and
//! a timestep is its noise level. Sizes come from `config.json` ([`PocketConfig`]), weights are one byte each
//! ([`PackedWeights`]).

mod config;
mod files;
mod packed;

use std::{io, path::PathBuf, sync::Arc};

use scope_engine::Device;

pub use config::{
    AutoencoderConfig, PocketConfig, SamplingConfig, TextEncoderConfig, TransformerConfig, VideoConfig,
};
pub use files::PocketFiles;
pub use packed::PackedWeights;

use crate::{
    checkpoint::CheckpointError,
    quirks::Quirks,
    text::{TextEncoder, Tokenizer, TokenizerError, Umt5},
    vae::TinyAutoencoder,
    video::{VideoError, VideoStream},
    wan::WanTransformer,
    weights::{Loader, Precision, WeightError},
};

/// Why the model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PocketError {
    /// A file is not there.
    #[error("the model has no {0}")]
    MissingFile(String),
    /// A file or folder can't be read.
    #[error("{path} can't be read: {error}", path = path.display())]
    Read {
        /// Where it lies.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Its `config.json` makes no model.
    #[error("config.json: {0}")]
    Config(String),
    /// A file of weights can't be used.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer can't be used.
    #[error("{0}")]
    Tokenizer(#[from] TokenizerError),
    /// A tensor is missing or does not fit.
    #[error("{0}")]
    Weights(#[from] WeightError),
}

/// The model's networks with their weights, shared by all streams.
#[derive(Debug)]
pub struct PocketModel {
    config: PocketConfig,
    device: Device,
    transformer: Arc<WanTransformer>,
    text_encoder: Arc<TextEncoder>,
    autoencoder: Arc<TinyAutoencoder>,
}

impl PocketModel {
    /// Builds the networks, with their weights kept in `precision`. [`Precision::Int8`] keeps transformer and text encoder
    /// as their files do; [`Precision::F32`] is what recordings are compared with.
    ///
    /// # Errors
    /// [`PocketError`] when the tokenizer or a tensor can't be used.
    pub fn load(device: &Device, files: &PocketFiles, precision: Precision) -> Result<Self, PocketError> {
        let config = files.config.clone();
        let tokenizer = Tokenizer::from_bytes(&files.tokenizer)?;
        let text = Umt5::load(&Loader::new(&files.text_encoder, device, precision), config.umt5())?;
        let transformer =
            WanTransformer::load(&Loader::new(&files.transformer, device, precision), &config.wan(), None)?;
        let autoencoder =
            TinyAutoencoder::load(&Loader::new(&files.autoencoder, device, precision), config.tae())?;
        Ok(Self {
            device: device.clone(),
            transformer: Arc::new(transformer),
            text_encoder: Arc::new(TextEncoder::new(tokenizer, text, config.text_encoder.max_tokens)),
            autoencoder: Arc::new(autoencoder),
            config,
        })
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &PocketConfig {
        &self.config
    }

    /// Where it runs.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The transformer.
    #[must_use]
    pub fn transformer(&self) -> &Arc<WanTransformer> {
        &self.transformer
    }

    /// What turns prompts into embeddings.
    #[must_use]
    pub fn text_encoder(&self) -> &Arc<TextEncoder> {
        &self.text_encoder
    }

    /// The autoencoder.
    #[must_use]
    pub fn autoencoder(&self) -> &Arc<TinyAutoencoder> {
        &self.autoencoder
    }

    /// A new video of pictures of `[height, width]`.
    ///
    /// # Errors
    /// [`VideoError`] unless both are multiples of the autoencoder's factor.
    pub fn video(&self, size: [usize; 2]) -> Result<VideoStream, VideoError> {
        let autoencoder = Arc::clone(&self.autoencoder);
        VideoStream::new(
            Arc::clone(&self.transformer),
            autoencoder,
            &self.config.family(),
            size,
            Quirks::default(),
        )
    }
}
