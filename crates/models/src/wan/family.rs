//! The families of streaming models, as data.

use super::{CachePolicy, MemoryBank, SinkUpdate};

/// What happens to the cache when the text changes in the middle of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextChange {
    /// New frames see the new text; cached ones keep what they saw.
    ForgetText,
    /// The last frames are passed through the model again with the new text (LongLive's KV recache).
    Recache {
        /// Frames that are remembered for it.
        history_frames: usize,
    },
}

/// How a family rolls out a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Name in messages.
    pub name: &'static str,
    /// Warp of the noise schedule (Esser et al. 2024, equation 23); `None` where a timestep is its noise level.
    pub timestep_shift: Option<f64>,
    /// Latent frames of a chunk.
    pub chunk_frames: usize,
    /// Latent frames of the first chunk of a stream without video input.
    pub first_chunk_frames: usize,
    /// How the cache is used.
    pub cache: CachePolicy,
    /// What a change of the text does.
    pub text_change: TextChange,
    /// Every finished chunk passes through the model once more, without noise, to leave clean keys.
    pub clean_pass: bool,
    /// The cache is made anew before every chunk from a few finished frames (Krea's recomputation).
    pub recomputed_context: Option<RecomputedContext>,
    /// Weight of cached keys until the user sets one; 1 is neutral.
    pub cache_weight: f32,
    /// Latents are normalised by the autoencoder's mean and deviation before they reach the model.
    pub normalised_latents: bool,
    /// Defaults of the reference that only matter to its first chunk of a video: see
    /// [`crate::quirks::Quirks::short_first_chunk`].
    pub counts_chunk_frames: bool,
}

/// Which frames the cache is recomputed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecomputedContext {
    /// Frames of the context: one from the past and the newest ones.
    pub frames: usize,
    /// Decoded pictures that are remembered; the oldest of them stands for the past.
    pub decoded_frames: usize,
}

/// The common ground of the families: three sink frames that stay, absolute positions.
fn rolling(window_frames: usize) -> CachePolicy {
    CachePolicy {
        window_frames,
        sink_frames: 3,
        sink_update: SinkUpdate::Fixed,
        relative_positions: false,
        protect_sink: false,
        bank: None,
    }
}

impl Family {
    /// The embedded pocket model with a window of so many latent frames, sink included: every latent is a chunk of its own, and
    /// positions count from the oldest frame in the window, so that a stream never has to start anew.
    #[must_use]
    pub fn pocket(window_frames: usize, sink_frames: usize) -> Self {
        Self {
            name: "Pocket",
            timestep_shift: None,
            first_chunk_frames: 1,
            cache: CachePolicy { sink_frames, relative_positions: true, ..rolling(window_frames) },
            normalised_latents: true,
            ..Self::streamdiffusion_v2()
        }
    }

    /// StreamDiffusion V2: one latent frame a chunk.
    #[must_use]
    pub fn streamdiffusion_v2() -> Self {
        Self {
            name: "StreamDiffusion V2",
            timestep_shift: Some(8.0),
            chunk_frames: 1,
            first_chunk_frames: 2,
            cache: rolling(6),
            text_change: TextChange::ForgetText,
            clean_pass: true,
            recomputed_context: None,
            cache_weight: 1.0,
            normalised_latents: false,
            counts_chunk_frames: false,
        }
    }

    /// LongLive: a long window, and recache when the text changes.
    #[must_use]
    pub fn longlive() -> Self {
        Self {
            name: "LongLive",
            timestep_shift: Some(5.0),
            chunk_frames: 3,
            first_chunk_frames: 3,
            cache: CachePolicy { protect_sink: true, ..rolling(12) },
            text_change: TextChange::Recache { history_frames: 12 },
            normalised_latents: true,
            ..Self::streamdiffusion_v2()
        }
    }

    /// Reward Forcing: positions relative to the window, and a sink that drifts with what is evicted.
    #[must_use]
    pub fn reward_forcing() -> Self {
        Self {
            name: "Reward Forcing",
            cache: CachePolicy {
                sink_update: SinkUpdate::Average { decay: 0.999 },
                relative_positions: true,
                ..rolling(9)
            },
            text_change: TextChange::ForgetText,
            counts_chunk_frames: true,
            ..Self::longlive()
        }
    }

    /// MemFlow: LongLive with a memory bank.
    #[must_use]
    pub fn memflow() -> Self {
        let longlive = Self::longlive();
        Self {
            name: "MemFlow",
            cache: CachePolicy {
                bank: Some(MemoryBank { frames: 3, record_interval: 3, chunk_frames: 3 }),
                ..longlive.cache.clone()
            },
            ..longlive
        }
    }

    /// Krea Realtime: no rolling; the cache is recomputed from three frames before every chunk.
    #[must_use]
    pub fn krea_realtime() -> Self {
        Self {
            name: "Krea Realtime",
            cache: CachePolicy { sink_frames: 0, ..rolling(6) },
            text_change: TextChange::ForgetText,
            clean_pass: false,
            recomputed_context: Some(RecomputedContext { frames: 3, decoded_frames: 9 }),
            cache_weight: 0.3,
            ..Self::longlive()
        }
    }
}
