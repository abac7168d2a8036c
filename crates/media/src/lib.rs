//! Video codecs for Scope: pictures to packets and back.
//!
//! Bytes from outside never panic: they become pictures or errors.

pub mod codec;
pub mod mp4;
pub mod record;
pub mod still;
#[cfg(test)]
mod testing;
