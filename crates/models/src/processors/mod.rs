//! Networks beside the generator: what prepares its input and what refines its output.

mod contour;
mod depth;
mod raft;
mod rife;

pub use contour::{ContourConfig, ContourNet};
pub use depth::{DepthConfig, DepthMemory, DepthNet};
pub use raft::{FlowFeatures, Raft, RaftConfig};
pub use rife::{Interpolated, Interpolator, RifeConfig};

use scope_engine::Tensor;

/// Why pictures were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessorError {
    /// The pictures have a shape that the network does not take.
    #[error("pictures {found}, where the network needs {expected}")]
    Input {
        /// Their shape.
        found: String,
        /// What fits.
        expected: &'static str,
    },
    /// The engine refused an operator.
    #[error("{0}")]
    Engine(#[from] scope_engine::Error),
}

/// Refuses anything but `[frames, height, width, 3]` with pixels, and frames where there must be some.
fn check(pictures: &Tensor, least_frames: usize, expected: &'static str) -> Result<(), ProcessorError> {
    let shape = pictures.shape();
    if shape.len() == 4 && shape[3] == 3 && shape[0] >= least_frames && shape[1] > 0 && shape[2] > 0 {
        return Ok(());
    }
    Err(ProcessorError::Input { found: shape.to_string(), expected })
}
