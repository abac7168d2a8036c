//! What every Scope has: the embedded model, and pipelines without a network for proving the path and for testing it.

mod passthrough;
mod pocket;
mod testcard;
mod wan;

pub use passthrough::Passthrough;
pub use pocket::Pocket;
pub use testcard::Testcard;
pub use wan::WanPipeline;
