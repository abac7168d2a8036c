//! The published quantisation of linear layers to 8-bit floating point: `e4m3` weights and activations, one scale for each
//! tensor (Micikevicius et al. 2022, "FP8 formats for deep learning"; the rounding is that of torchao's dynamic per-tensor
//! quantisation).
//!
//! Here the products are formed exactly, in `f32`, from the rounded values: the result is that of the hardware up to the order
//! of summation. This is what the CPU computes, and what recorded results are compared with.
//!
//! GPUs that multiply such numbers have layers of their own ([`scope_engine::ops::LinearFp8`]), with other scales: weights the
//! same but for the rounding of the scale to bf16, activations one for each row, or a power of two that was found when the
//! model was loaded. The error of a rounded number is relative to its own magnitude, whatever the scale, as long as
//! it does not lie more than 2^15 below the largest under that scale; a smaller scale for a row only moves that floor down. So
//! neither is worse than one scale for all rows.

use half::bf16;
use scope_engine::{
    Device, Result, Tensor,
    convert::{f8e4m3_from_f32, f32_from_f8e4m3},
    ops::{Activation, Linear, Weights, linear},
};

/// The largest `e4m3` number.
const LARGEST: f32 = 448.0;

/// Is a layer of `[out, in]` features one that 8-bit hardware takes?
#[must_use]
pub fn is_quantisable([out, depth]: [usize; 2]) -> bool {
    out.is_multiple_of(16) && depth.is_multiple_of(16)
}

/// The scale of a tensor: its largest magnitude over 448, rounded to bf16. A tensor of zeros has the scale 1.
#[must_use]
pub fn scale_of(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let scale = bf16::from_f32(largest / LARGEST).to_f32();
    if scale > 0.0 { scale } else { 1.0 }
}

/// The `e4m3` bytes of `value / scale`: to the nearest, ties to even, saturating at ±448.
#[must_use]
pub fn quantise(values: &[f32], scale: f32) -> Vec<u8> {
    values.iter().map(|value| f8e4m3_from_f32(value / scale)).collect()
}

/// A linear layer with weights in `e4m3`; its inputs are rounded to it in each call.
#[derive(Clone, Debug)]
pub struct Fp8Linear {
    /// The weights as their bytes say, not scaled, and the bias.
    layer: Linear,
    scale: f32,
}

impl Fp8Linear {
    /// Rounds weights of shape `[out_features, in_features]`. They pass through bf16, as they do in checkpoints.
    ///
    /// # Errors
    /// [`scope_engine::Error::Shape`] when the weights or the bias have another length.
    pub fn new(device: &Device, weights: &[bf16], shape: [usize; 2], bias: Option<&[f32]>) -> Result<Self> {
        let weights: Vec<f32> = weights.iter().map(|weight| weight.to_f32()).collect();
        let scale = scale_of(&weights);
        // Every e4m3 number is a bf16 number.
        let rounded: Vec<bf16> =
            quantise(&weights, scale).into_iter().map(|byte| bf16::from_f32(f32_from_f8e4m3(byte))).collect();
        Ok(Self { layer: Linear::new(device, Weights::Bf16(&rounded), shape, bias)?, scale })
    }

    /// The layer for inputs from [`Fp8Linear::input`].
    #[must_use]
    pub fn layer(&self) -> &Linear {
        &self.layer
    }

    /// `x` rounded under one scale for all of it, times both scales: products with the unscaled weights are then right.
    ///
    /// # Errors
    /// [`scope_engine::Error`] when a tensor can't be made.
    pub fn input(&self, x: &Tensor) -> Result<Tensor> {
        let mut values = x.to_vec();
        let scale = scale_of(&values);
        for value in &mut values {
            *value = f32_from_f8e4m3(f8e4m3_from_f32(*value / scale)) * (scale * self.scale);
        }
        Tensor::from_f32(&x.device(), &x.shape(), &values)
    }

    /// `x Wᵀ + b` for `x` of shape `[…, in_features]`.
    ///
    /// # Errors
    /// [`scope_engine::Error::Shape`] when the last dimension of `x` is not `in_features`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(&self.input(x)?, &self.layer, Activation::None)
    }
}

#[cfg(test)]
mod tests {
    use scope_engine::Cpu;

    use super::*;

    #[test]
    fn numbers_of_the_format_pass_unchanged() {
        let device = Cpu::new(None).unwrap().into();
        // 448 is in both, so both scales are 1.
        let weights = [448.0, 1.0, 0.5, -2.0].map(bf16::from_f32);
        let layer = Fp8Linear::new(&device, &weights, [2, 2], Some(&[10.0, 20.0])).unwrap();
        let x = Tensor::from_f32(&device, &[1, 2], &[448.0, 0.25]).unwrap();
        assert_eq!(layer.forward(&x).unwrap().to_vec(), [448.0 * 448.0 + 0.25 + 10.0, 224.0 - 0.5 + 20.0]);
        let without = Fp8Linear::new(&device, &weights, [2, 2], None).unwrap();
        assert_eq!(without.forward(&x).unwrap().to_vec()[1], 223.5);
    }

    #[test]
    fn zeros_stay_zeros() {
        let device = Cpu::new(None).unwrap().into();
        let layer = Fp8Linear::new(&device, &[bf16::ZERO; 4], [2, 2], None).unwrap();
        let x = Tensor::zeros(&device, &[3, 2]).unwrap();
        assert_eq!(layer.forward(&x).unwrap().to_vec(), [0.0; 6]);
    }

    #[test]
    fn hardware_takes_multiples_of_sixteen() {
        assert!(is_quantisable([1536, 8960]) && !is_quantisable([1536, 8]) && !is_quantisable([20, 16]));
    }
}
