//! Sizes of the transformer.

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

/// Positions of the rotary tables; a stream starts again at frame 0 before it reaches them.
pub(crate) const ROPE_POSITIONS: usize = 1024;

impl WanConfig {
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
