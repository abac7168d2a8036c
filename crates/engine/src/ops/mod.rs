//! The operators.

mod attention;
mod channels;
mod conv;
mod elementwise;
mod embedding;
mod flow;
mod instance;
mod linear;
mod norm;
mod over_time;
mod pad;
mod patch;
mod pixels;
mod random;
mod resample;
mod rope;
mod warp;

pub use attention::{AttentionOptions, Keys, attention};
pub use channels::{blend, concat_channels, masked, take_channels};
pub use conv::{Border, Conv, ConvInput, ConvSpec, Enlarge, conv};
pub use elementwise::{activate, add, mix, multiply, scale};
pub use embedding::{Embedding, embedding};
pub use flow::{correlation, enlarge_flow, halve, surroundings};
pub use instance::{group_norm, instance_norm};
pub use linear::{Activation, Gain, Linear, Weights, linear, linear_add};
pub use norm::{Modulation, channel_norm, layer_norm, modulated_layer_norm, rms_norm};
pub use over_time::attention_over_time;
pub use pad::pad;
pub use patch::{crop, patchify, unpatchify};
pub use pixels::{affine_clamped, mean_square_difference, to_bytes};
pub use random::{Generator, randn};
pub use resample::{resize_between_corners, resize_bicubic, resize_bilinear, resize_bytes};
pub use rope::{RopeTable, TokenGrid, rope};
pub use warp::warp;
