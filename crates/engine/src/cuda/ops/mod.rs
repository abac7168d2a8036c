//! The operators on a GPU. Their contracts, and the checks of what they are given, are in [`crate::ops`].

mod attention;
mod conv;
mod elementwise;
mod flash;
mod flow;
mod fp8;
mod instance;
mod linear;
mod movement;
mod norm;
mod norm_rope;
mod random;
mod resample;
mod rope;

pub(crate) use self::{
    conv::{ConvJob, CudaConv},
    flash::Parts,
    fp8::{CudaLinearFp8, Fp8Kind},
    linear::CudaLinear,
    norm::{Addition, Norm, Target},
    norm_rope::{JoinedJob, NormRopeJob},
    resample::KernelTap,
    rope::{DeviceTable, RopeParts},
};

use super::kernels::{
    ATTENTION, ELEMENTWISE, FLOW, FP8, INSTANCE, MOVEMENT, NORM, NORM_ROPE, RANDOM, RESAMPLE, ROPE,
};
use crate::ops::Activation;

/// The number by which kernels know a function, and its slope.
fn activation_code(activation: Activation) -> (i32, f32) {
    match activation {
        Activation::None => (0, 0.0),
        Activation::Gelu => (1, 0.0),
        Activation::GeluErf => (2, 0.0),
        Activation::Silu => (3, 0.0),
        Activation::Relu => (4, 0.0),
        Activation::LeakyRelu(slope) => (5, slope),
        Activation::Sigmoid => (6, 0.0),
        Activation::Tanh => (7, 0.0),
    }
}
