//! The operators.

mod attention;
mod elementwise;
mod linear;
mod norm;
mod patch;
mod rope;

pub use attention::{AttentionOptions, Keys, attention};
pub use elementwise::{activate, add, mix, multiply, scale};
pub use linear::{Activation, Gain, Linear, Weights, linear, linear_add};
pub use norm::{Modulation, channel_norm, layer_norm, modulated_layer_norm, rms_norm};
pub use patch::{patchify, unpatchify};
pub use rope::{RopeTable, TokenGrid, rope};
