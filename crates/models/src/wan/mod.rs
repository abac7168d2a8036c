//! The Wan2.1 diffusion transformer, plain and causal (Wan Team 2025, arXiv 2503.20314; causal roll-out as in
//! CausVid and Self-Forcing). One implementation serves every family: sizes are [`WanConfig`] presets, and what a
//! family does with its cache is data in a [`CachePolicy`].

mod block;
mod cache;
mod calibration;
mod chunks;
mod config;
mod description;
mod family;
mod projection;
mod time;
mod transformer;
mod vace;
mod window;

pub use cache::{CachePolicy, KvCache, MemoryBank, SinkUpdate};
pub use chunks::{ChunkRequest, ChunkStream, NoiseSource};
pub use config::{ConfigError, WanConfig};
pub use family::{Family, RecomputedContext, TextChange};
pub use projection::{Adapters, Input, Layer, Projection};
pub use time::sinusoid;
pub use transformer::{Call, TextContext, WanTransformer};
pub use vace::{VACE_CHANNELS, VaceBlocks, VaceConfig, VaceContext};
pub use window::{Plan, Window};

/// Why a forward pass was refused. The cache is as it was before the call, apart from rows that the refused call wrote
/// itself; a reset makes it whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WanError {
    /// The frames of the call don't fit the window of the cache.
    #[error(
        "{frames} latent frames from frame {start} on don't fit a window of {window} frames with {sink} sink frames, filled up to frame {end}"
    )]
    Window {
        /// First frame of the call.
        start: usize,
        /// Frames of the call.
        frames: usize,
        /// Frames that the cache holds.
        window: usize,
        /// Frames that are never evicted.
        sink: usize,
        /// Frames seen so far.
        end: usize,
    },
    /// An input has another size than the model or the cache needs.
    #[error("{what} is {found}, the model needs {expected}")]
    Input {
        /// Which input.
        what: &'static str,
        /// Its shape or size.
        found: String,
        /// What fits.
        expected: String,
    },
    /// The engine refused an operator.
    #[error("{0}")]
    Engine(#[from] scope_engine::Error),
}
