//! What every Scope has: the embedded model, the published families, filters, and a test card.

mod each_frame;
mod filter;
mod pocket;
mod processor;
mod testcard;
mod wan;

use crate::LoadError;
use scope_store::Unavailable;

pub use filter::Filter;
pub use pocket::Pocket;
pub use processor::Processor;
pub use testcard::Testcard;
pub use wan::WanPipeline;

/// Why a pipeline without its files can't be loaded.
fn models_missing(id: &str, error: &Unavailable) -> LoadError {
    LoadError::ModelsMissing { pipeline: id.into(), detail: error.to_string() }
}
