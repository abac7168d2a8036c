//! Pipelines without a network, for proving the path and for testing it.

mod passthrough;
mod testcard;

pub use passthrough::Passthrough;
pub use testcard::Testcard;
