//! The networks of Scope and everything needed to run them from their published weights.
//!
//! Everything here is written against [`scope_engine::Device`] and [`scope_engine::Tensor`] and names no kind of
//! device. Activations are channels-last: latents are `[frames, height, width, channels]`, tokens `[tokens, features]`.

pub mod checkpoint;
pub mod control;
pub mod footprint;
pub mod frames;
pub mod lora;
pub mod noise;
pub mod noise_controller;
mod parallel;
pub mod pocket;
pub mod processors;
pub mod prompt;
pub mod quant;
pub mod quirks;
pub mod schedule;
pub mod text;
pub mod vae;
pub mod video;
pub mod wan;
pub mod weights;
