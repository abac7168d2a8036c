//! What every Scope has: the embedded model, the published families, filters, and a test card.

mod filter;
mod pocket;
mod processor;
mod testcard;
mod wan;

pub use filter::Filter;
pub use pocket::Pocket;
pub use processor::Processor;
pub use testcard::Testcard;
pub use wan::WanPipeline;
