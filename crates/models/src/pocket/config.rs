//! Sizes of the model, as its `config.json` has them.

use serde::Deserialize;

use super::PocketError;
use crate::{
    text::Umt5Config,
    vae::TaeConfig,
    wan::{Family, WanConfig},
};

/// The `config.json` of the model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PocketConfig {
    /// The transformer.
    pub transformer: TransformerConfig,
    /// The text encoder.
    pub text_encoder: TextEncoderConfig,
    /// The autoencoder.
    pub autoencoder: AutoencoderConfig,
    /// How it is sampled.
    pub sampling: SamplingConfig,
    /// What it was trained to show.
    pub video: VideoConfig,
    /// Prompts worth trying, the best first.
    #[serde(default)]
    pub example_prompts: Vec<String>,
}

/// The videos that the model was trained on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct VideoConfig {
    /// Pictures a second.
    pub fps: f64,
    /// Width and height.
    pub default_size: [usize; 2],
    /// All sizes that it was trained on: width and height.
    #[serde(default)]
    pub sizes: Vec<[usize; 2]>,
}

/// Sizes of the transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct TransformerConfig {
    /// Features of a token.
    pub dim: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Features inside the feed-forward network.
    pub ffn_dim: usize,
    /// Latent frames that a frame attends to, itself included.
    pub window: usize,
    /// First frames of a stream that are never forgotten.
    #[serde(default)]
    pub sink: usize,
    /// Features of the timestep's sinusoid.
    #[serde(default = "frequency_dim")]
    pub frequency_dim: usize,
}

/// Sizes of the text encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct TextEncoderConfig {
    /// Tokens of the vocabulary.
    pub vocab: usize,
    /// Features of a token.
    pub dim: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden features of the feed-forward network.
    pub ffn_dim: usize,
    /// Entries of a table of relative positions.
    #[serde(default = "relative_buckets")]
    pub relative_buckets: usize,
    /// Distance from which on all keys of a side share an entry.
    #[serde(default = "relative_max_distance")]
    pub relative_max_distance: usize,
    /// Positions of a prompt, its end included.
    pub max_tokens: usize,
}

/// Sizes of the autoencoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct AutoencoderConfig {
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Side of the squares of pixels that it takes together.
    pub patch_size: usize,
    /// Channels of the encoder's four resolutions, from the highest down.
    pub encoder: [usize; 4],
    /// Channels of the decoder's four resolutions, from the lowest up.
    pub decoder: [usize; 4],
    /// Blocks of the encoder's three lower resolutions.
    pub encoder_blocks: [usize; 3],
    /// Blocks of the decoder's three lower resolutions.
    pub decoder_blocks: [usize; 3],
}

/// How the model is sampled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SamplingConfig {
    /// Noise levels of the steps, 1 to 0, noisiest first.
    pub default_steps: Vec<f64>,
    /// Fewer steps that it was trained for as well, noisiest first.
    #[serde(default)]
    pub two_steps: Vec<f64>,
}

fn timesteps(steps: &[f64]) -> Vec<f64> {
    steps.iter().map(|step| 1000.0 * step).collect()
}

const fn frequency_dim() -> usize {
    256
}

const fn relative_buckets() -> usize {
    Umt5Config::xxl().buckets
}

const fn relative_max_distance() -> usize {
    Umt5Config::xxl().max_distance
}

impl PocketConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`PocketError::Config`] when it is another document, or its numbers make no model.
    pub fn from_json(json: &[u8]) -> Result<Self, PocketError> {
        let config: Self =
            serde_json::from_slice(json).map_err(|error| PocketError::Config(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), PocketError> {
        let refuse = |what: &str| Err(PocketError::Config(what.to_owned()));
        let Self { transformer, text_encoder, autoencoder, sampling, video, .. } = self;
        let headed = |dim: usize, heads: usize| dim > 0 && heads > 0 && dim.is_multiple_of(heads);
        if !headed(transformer.dim, transformer.heads)
            || !(transformer.dim / transformer.heads).is_multiple_of(2)
        {
            return refuse("the transformer's features are no even number for each head");
        }
        if !headed(text_encoder.dim, text_encoder.heads) {
            return refuse("the text encoder's features are not a multiple of its heads");
        }
        if transformer.sink >= transformer.window {
            return refuse("the window has no room beside the sink");
        }
        if !transformer.frequency_dim.is_multiple_of(2) {
            return refuse("the timestep's sinusoid has an odd number of features");
        }
        if !(video.fps.is_finite() && video.fps > 0.0) {
            return refuse("the video has no frame rate");
        }
        if text_encoder.max_tokens == 0 {
            return refuse("prompts have no length");
        }
        if !(1..=8).contains(&autoencoder.patch_size) || autoencoder.latent_channels == 0 {
            return refuse("the autoencoder's patch is not from 1 to 8, or it has no latent channels");
        }
        let fit = |steps: &[f64]| {
            steps.windows(2).all(|pair| pair[0] > pair[1])
                && steps.iter().all(|&step| step > 0.0 && step <= 1.0)
        };
        if sampling.default_steps.is_empty() || !fit(&sampling.default_steps) || !fit(&sampling.two_steps) {
            return refuse("the steps do not descend from at most 1 to more than 0");
        }
        Ok(())
    }

    /// Sizes of the transformer.
    #[must_use]
    pub fn wan(&self) -> WanConfig {
        let channels = self.autoencoder.latent_channels;
        WanConfig {
            dim: self.transformer.dim,
            ffn_dim: self.transformer.ffn_dim,
            freq_dim: self.transformer.frequency_dim,
            text_dim: self.text_encoder.dim,
            text_len: self.text_encoder.max_tokens,
            in_dim: channels,
            out_dim: channels,
            num_heads: self.transformer.heads,
            num_layers: self.transformer.layers,
            patch: 1,
            eps: 1e-6,
        }
    }

    /// Sizes of the text encoder.
    #[must_use]
    pub fn umt5(&self) -> Umt5Config {
        let TextEncoderConfig { vocab, dim, layers, heads, ffn_dim, .. } = self.text_encoder;
        let (buckets, max_distance) =
            (self.text_encoder.relative_buckets, self.text_encoder.relative_max_distance);
        Umt5Config {
            vocabulary: vocab,
            dim,
            dim_attention: dim,
            dim_ffn: ffn_dim,
            heads,
            layers,
            buckets,
            max_distance,
        }
    }

    /// Sizes of the autoencoder. Every latent is four pictures, the first one too.
    #[must_use]
    pub fn tae(&self) -> TaeConfig {
        let config = self.autoencoder;
        TaeConfig {
            latent_channels: config.latent_channels,
            patch: config.patch_size,
            encoder_widths: config.encoder,
            encoder_blocks: config.encoder_blocks,
            decoder_widths: config.decoder,
            decoder_blocks: config.decoder_blocks,
            raw_latents: false,
            own_statistics: true,
            single_opening: false,
        }
    }

    /// How it rolls out a stream.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::pocket(self.transformer.window, self.transformer.sink)
    }

    /// The default steps as timesteps, noisiest first.
    #[must_use]
    pub fn timesteps(&self) -> Vec<f64> {
        timesteps(&self.sampling.default_steps)
    }

    /// The fewer steps as timesteps, if there are any.
    #[must_use]
    pub fn fewer_timesteps(&self) -> Option<Vec<f64>> {
        Some(timesteps(&self.sampling.two_steps)).filter(|steps| !steps.is_empty())
    }

    /// The trained size closest in shape to this width and height that has fewer pixels, if there is one.
    #[must_use]
    pub fn smaller_size(&self, [width, height]: [usize; 2]) -> Option<[usize; 2]> {
        let shape = |[width, height]: [usize; 2]| (width as f64 / height as f64).ln();
        let off = |size: &[usize; 2]| (shape(*size) - shape([width, height])).abs();
        let smaller = self.video.sizes.iter().filter(|[w, h]| w * h < width * height);
        smaller.min_by(|a, b| off(a).total_cmp(&off(b))).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{
        "transformer": {"dim": 320, "layers": 8, "heads": 5, "ffn_dim": 1280, "window": 6, "sink": 0},
        "text_encoder": {"vocab": 2048, "dim": 256, "layers": 4, "heads": 4, "ffn_dim": 512, "max_tokens": 48},
        "autoencoder": {
            "latent_channels": 48, "patch_size": 2, "encoder": [32, 64, 96, 128], "decoder": [160, 80, 48, 32],
            "encoder_blocks": [2, 2, 2], "decoder_blocks": [3, 3, 3]
        },
        "sampling": {"default_steps": [1.0, 0.857, 0.6], "two_steps": [1.0, 0.75]},
        "video": {"fps": 16, "default_size": [256, 144], "sizes": [[256, 144], [192, 192]]}
    }"#;

    #[test]
    fn the_networks_follow_from_the_document() {
        let config = PocketConfig::from_json(JSON.as_bytes()).unwrap();
        assert_eq!((config.wan().in_dim, config.wan().text_dim, config.wan().text_len), (48, 256, 48));
        assert_eq!((config.tae().side(), config.tae().decoder_blocks), (16, [3; 3]));
        assert_eq!(config.umt5().dim_attention, 256);
        assert_eq!(config.family().cache.window_frames, 6);
        assert_eq!(config.timesteps(), [1000.0, 857.0, 600.0]);
        assert_eq!(config.fewer_timesteps(), Some(vec![1000.0, 750.0]));
    }

    #[test]
    fn a_smaller_size_is_a_trained_one_of_nearly_the_same_shape() {
        let config = PocketConfig::from_json(JSON.as_bytes()).unwrap();
        assert_eq!(config.smaller_size([512, 288]), Some([256, 144]));
        assert_eq!(config.smaller_size([320, 320]), Some([192, 192]));
        assert_eq!(config.smaller_size([256, 144]), None);
        assert_eq!(config.smaller_size([64, 64]), None);
    }

    #[test]
    fn documents_that_make_no_model_are_refused() {
        let change = |from: &str, to: &str| PocketConfig::from_json(JSON.replace(from, to).as_bytes());
        for (from, to) in [
            (r#""heads": 5"#, r#""heads": 0"#),
            (r#""heads": 5"#, r#""heads": 7"#),
            (r#""window": 6"#, r#""window": 0"#),
            (r#""window": 6"#, r#""windows": 6"#),
            (r#""sink": 0"#, r#""sink": 6"#),
            (r#""fps": 16"#, r#""fps": 0"#),
            ("0.857", "1.0"),
            ("0.75", "1.5"),
            ("1.0, 0.857, 0.6", ""),
            ("0.6", "0"),
            ("[32,", "[32, 32,"),
        ] {
            assert!(matches!(change(from, to), Err(PocketError::Config(_))), "{from} → {to}");
        }
    }
}
