//! The operators.

mod attention;
mod channels;
mod conv;
mod elementwise;
mod embedding;
mod flow;
mod fp8;
mod fused;
mod i420;
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

pub use attention::{AttentionOptions, Keys, attention, attention_fp8};
pub use channels::{blend, concat_channels, masked, take_channels};
pub(crate) use conv::Kernel;
pub use conv::{Border, ChannelNorm, Conv, ConvInput, ConvSpec, Enlarge, conv, conv_norm};
pub use elementwise::{activate, add, mix, multiply, scale};
pub use embedding::{Embedding, embedding};
pub use flow::{correlation, enlarge_flow, halve, surroundings};
pub use fp8::{
    FixedScale, Fp8Tensor, LinearFp8, Scaling, largest_magnitude, layer_norm_fp8, linear_fp8, linear_fp8_add,
    linear_fp8_to_fp8, quantise_fp8,
};
pub use fused::{
    JoinedHeads, NormRope, linear_add_norm, linear_add_norm_fp8, linear_fp8_add_norm_fp8, rms_norm_rope,
    rms_norm_rope_into, rms_norm_rope_joined,
};
pub use i420::{i420_len, rgb_from_i420, to_i420};
pub use instance::{group_norm, instance_norm};
pub use linear::{Activation, Gain, Linear, Weights, linear, linear_add};
pub use norm::{LayerNorm, Modulation, channel_norm, layer_norm, modulated_layer_norm, rms_norm};
pub use over_time::attention_over_time;
pub use pad::pad;
pub use patch::{crop, patchify, unpatchify};
pub use pixels::{PendingBytes, affine_clamped, mean_square_difference, to_bytes};
pub use random::{Generator, randn};
pub use resample::{resize_between_corners, resize_bicubic, resize_bilinear, resize_bytes};
pub use rope::{PlacedFrame, RopeTable, TokenGrid, rope, rope_frames};
pub use warp::warp;
