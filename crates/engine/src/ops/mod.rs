//! The operators.

mod attention;
mod linear;
mod norm;

pub use attention::{AttentionOptions, Keys, attention};
pub use linear::{Activation, Gain, Linear, Weights, linear, linear_add};
pub use norm::{Modulation, channel_norm, layer_norm, modulated_layer_norm, rms_norm};
