//! Sizes of the transformer.

use serde::Deserialize;

/// Sizes of a Wan transformer; the names are those of the published `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct WanConfig {
    /// Features of a token.
    pub dim: usize,
    /// Features inside the feed-forward network.
    pub ffn_dim: usize,
    /// Features of the timestep's sinusoid.
    pub freq_dim: usize,
    /// Features of a text embedding.
    pub text_dim: usize,
    /// Text positions that are attended to; shorter texts are padded with zero embeddings.
    pub text_len: usize,
    /// Channels of a latent that goes in.
    pub in_dim: usize,
    /// Channels of the prediction.
    pub out_dim: usize,
    /// Attention heads; `dim` is a multiple.
    pub num_heads: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Latent pixels of a token's side.
    pub patch: usize,
    /// Added to variances before the root.
    pub eps: f32,
}

/// Why a `config.json` gives no sizes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is no such document.
    #[error("config.json is not the one of a Wan transformer: {0}")]
    Document(#[from] serde_json::Error),
    /// Its sizes make no network.
    #[error("config.json is not the one of a Wan transformer: {0}")]
    Sizes(String),
}

/// The part of the document that describes the network.
#[derive(Deserialize)]
struct Document {
    dim: usize,
    ffn_dim: usize,
    freq_dim: usize,
    #[serde(default = "text_dim")]
    text_dim: usize,
    text_len: usize,
    in_dim: usize,
    out_dim: usize,
    num_heads: usize,
    num_layers: usize,
    eps: f32,
}

const fn text_dim() -> usize {
    4096
}

/// Larger than any size of a published model.
const MAX_SIZE: usize = 1 << 20;

/// Positions of the rotary tables; a stream starts again at frame 0 before it reaches them.
pub(crate) const ROPE_POSITIONS: usize = 1024;

impl WanConfig {
    /// Sizes for tests: everything is there, and nothing takes time.
    #[cfg(test)]
    pub(crate) fn tiny() -> Self {
        Self {
            dim: 48,
            ffn_dim: 96,
            freq_dim: 16,
            text_dim: 32,
            text_len: 8,
            in_dim: 4,
            out_dim: 4,
            num_heads: 2,
            num_layers: 2,
            patch: 2,
            eps: 1e-6,
        }
    }

    /// Wan2.1 T2V 1.3B.
    #[must_use]
    pub fn t2v_1_3b() -> Self {
        Self {
            dim: 1536,
            ffn_dim: 8960,
            freq_dim: 256,
            text_dim: 4096,
            text_len: 512,
            in_dim: 16,
            out_dim: 16,
            num_heads: 12,
            num_layers: 30,
            patch: 2,
            eps: 1e-6,
        }
    }

    /// Wan2.1 T2V 14B.
    #[must_use]
    pub fn t2v_14b() -> Self {
        Self { dim: 5120, ffn_dim: 13824, num_heads: 40, num_layers: 40, ..Self::t2v_1_3b() }
    }

    /// The sizes in the `config.json` beside a published checkpoint. It may leave `text_dim` out, which is 4096 then.
    ///
    /// # Errors
    /// [`ConfigError`] when it is no such document, or its sizes make no network.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        let Document {
            dim,
            ffn_dim,
            freq_dim,
            text_dim,
            text_len,
            in_dim,
            out_dim,
            num_heads,
            num_layers,
            eps,
        } = serde_json::from_slice(json)?;
        let sizes = [dim, ffn_dim, freq_dim, text_dim, text_len, in_dim, out_dim, num_heads, num_layers];
        if sizes.iter().any(|size| !(1..=MAX_SIZE).contains(size)) {
            return Err(ConfigError::Sizes(format!("its sizes must lie between 1 and {MAX_SIZE}")));
        }
        if !dim.is_multiple_of(num_heads)
            || !(dim / num_heads).is_multiple_of(2)
            || !freq_dim.is_multiple_of(2)
        {
            return Err(ConfigError::Sizes(format!(
                "{dim} features can't be split into {num_heads} heads of an even number of features"
            )));
        }
        let patch = 2;
        Ok(Self {
            dim,
            ffn_dim,
            freq_dim,
            text_dim,
            text_len,
            in_dim,
            out_dim,
            num_heads,
            num_layers,
            patch,
            eps,
        })
    }

    /// Features of a head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.dim / self.num_heads.max(1)
    }

    /// Tokens of a latent frame of this size in latent pixels.
    #[must_use]
    pub fn frame_tokens(&self, height: usize, width: usize) -> usize {
        (height / self.patch.max(1)) * (width / self.patch.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(dim: usize, heads: usize) -> String {
        format!(
            r#"{{"_class_name": "WanModel", "_diffusers_version": "0.30.0", "model_type": "t2v", "dim": {dim}, "eps": 1e-06,
            "ffn_dim": 8960, "freq_dim": 256, "in_dim": 16, "num_heads": {heads}, "num_layers": 30, "out_dim": 16,
            "text_len": 512}}"#
        )
    }

    #[test]
    fn the_published_document_gives_the_published_sizes() {
        let config = WanConfig::from_json(document(1536, 12).as_bytes()).unwrap();
        assert_eq!(config, WanConfig::t2v_1_3b());
    }

    #[test]
    fn sizes_that_make_no_network_are_refused() {
        for (dim, heads) in [(0, 12), (1536, 0), (1536, 7), (12, 4), (1 << 40, 12)] {
            assert!(matches!(
                WanConfig::from_json(document(dim, heads).as_bytes()),
                Err(ConfigError::Sizes(_))
            ));
        }
        assert!(matches!(WanConfig::from_json(b"{}"), Err(ConfigError::Document(_))));
    }
}
