//! Video frames, pixel formats and the media clock that every crate of Scope shares.
//!
//! A [`Frame`] is an immutable, cheaply cloned picture plus the time at which it was *captured*. That time travels
//! with the picture end to end: queues measure their age by it and RTP timestamps derive from it. Pixels are either
//! planar I420 (what codecs speak) or packed RGB (what image code speaks); both are BT.601 limited range, the default
//! of VP8 and of H.264 streams without colour description.
//!
//! This crate sits at the bottom of the workspace: it knows no codec, pipeline or network.

mod clock;
mod color;
mod convert;
mod image;
mod resize;

pub use clock::Timestamp;
pub use color::{ColorSpace, Matrix};
pub use image::{Frame, Image, ImageError, PixelFormat};
pub use resize::Fit;

/// Largest accepted width or height, in pixels: what VP8 and H.264 level 5.2 can carry and memory can bear.
pub const MAX_DIMENSION: u32 = 4096;
