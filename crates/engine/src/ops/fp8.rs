//! Linear layers in 8-bit floating point: `e4m3` (Micikevicius et al. 2022, "FP8 formats for deep learning") weights and
//! activations, sums in `f32`, and the operators that hand over activations already rounded.
//!
//! # Scales
//!
//! Numbers are divided by a scale before they are rounded, and products multiplied by it. A matrix of weights has one scale,
//! its largest magnitude over 448, rounded up to a power of two. e4m3 is a floating-point format: what a finer scale for weights would save is only what lies
//! 2^15 below the largest weight. Activations have a scale for each row, for all rows, or one that was known before: [`Scaling`].
//! The error of a row under its own scale is at most that under a larger one, up to the rounding of the scale itself.
//!
//! # Devices
//!
//! On cards from compute capability 8.9 on, in bf16 arithmetic, products are cuBLASLt's; scales for single rows are Hopper's
//! alone ([`LinearFp8::scaling`] says what a device takes best). Everywhere else the products of the rounded numbers are formed
//! exactly: the result is that of the hardware up to the order and precision of summation.

use half::bf16;

use crate::{
    DType, Device, Result, Tensor,
    convert::{f8e4m3_from_f32, f32_from_f8e4m3},
    cuda::{CudaLinearFp8, Target},
    error::ensure_shape,
    ops::{Activation, Gain, LayerNorm, Linear, Weights, linear, linear_add},
};

/// The largest `e4m3` number.
const LARGEST: f32 = 448.0;

/// Numbers whose largest magnitude is below this become zeros: the reciprocal of their scale would be no number.
const SMALLEST: f32 = 1.0 / (1u128 << 100) as f32;

/// What shares a scale.
#[derive(Clone, Copy, Debug)]
pub enum Scaling<'a> {
    /// Each row has its own: its largest magnitude over 448.
    Rows,
    /// All rows have the same: their largest magnitude over 448.
    All,
    /// One that was known before. What is larger saturates.
    Fixed(&'a FixedScale),
}

/// A scale that is known before the numbers are, on their device.
#[derive(Clone, Debug)]
pub struct FixedScale {
    value: f32,
    /// `[2]`: the scale and its reciprocal.
    pub(crate) factors: Tensor,
}

impl FixedScale {
    /// How far above the largest magnitude seen numbers may go before they saturate.
    const HEADROOM: f32 = 8.0;

    /// The power of two that leaves room for numbers eight times as large as `largest`, the largest magnitude of an example.
    /// Neither a power of two nor the room costs precision: the format has as many digits at every magnitude.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn for_largest(device: &Device, largest: f32) -> Result<Self> {
        let wanted = largest * Self::HEADROOM / LARGEST;
        // An example of zeros, or of no numbers, says nothing.
        let exponent = if wanted.is_normal() { wanted.log2().ceil().clamp(-60.0, 60.0) as i32 } else { 0 };
        let value = 2f32.powi(exponent);
        Ok(Self { value, factors: Tensor::from_f32(device, &[2], &[value, 1.0 / value])? })
    }

    /// The scale.
    #[must_use]
    pub fn value(&self) -> f32 {
        self.value
    }
}

/// Rows of numbers in e4m3 with their scales.
#[derive(Clone, Debug)]
pub struct Fp8Tensor {
    /// `[…, features]`.
    pub(crate) values: Tensor,
    /// `[rows]`, or the first element for all.
    pub(crate) scales: Tensor,
    pub(crate) by_row: bool,
}

impl Fp8Tensor {
    /// The numbers times their scales, as a tensor of activations.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn dequantise(&self) -> Result<Tensor> {
        self.times(1.0)
    }

    fn times(&self, factor: f32) -> Result<Tensor> {
        if let Device::Cuda(cuda) = self.values.device() {
            return cuda.dequantise("8-bit numbers", self, factor);
        }
        let shape = self.values.shape();
        let features = shape.last().copied().unwrap_or(1).max(1);
        let (bytes, scales) = (self.values.f8s("8-bit numbers")?, self.scales.f32s("8-bit numbers")?);
        let mut out = Tensor::empty(&self.values.device(), shape)?;
        let rows = out.f32s_mut("8-bit numbers")?.chunks_exact_mut(features);
        for (row, (out, bytes)) in rows.zip(bytes.chunks_exact(features)).enumerate() {
            let factor = scales[if self.by_row { row } else { 0 }] * factor;
            for (out, &byte) in out.iter_mut().zip(bytes) {
                *out = f32_from_f8e4m3(byte) * factor;
            }
        }
        Ok(out)
    }

    /// Dimensions, outermost first.
    #[must_use]
    pub fn shape(&self) -> crate::Shape {
        self.values.shape()
    }
}

/// The scale of numbers whose largest magnitude this is.
fn scale_of(largest: f32) -> f32 {
    if largest < SMALLEST { 1.0 } else { largest / LARGEST }
}

/// The power of two that is not below a scale. Layers whose scales are powers of two can be joined under one of them.
fn power_not_below(scale: f32) -> f32 {
    const DIGITS: u32 = (1 << 23) - 1;
    let bits = scale.to_bits();
    if bits & DIGITS == 0 { scale } else { f32::from_bits((bits & !DIGITS) + DIGITS + 1) }
}

fn largest_of(values: &[f32]) -> f32 {
    values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()))
}

/// The largest magnitude of the elements; NaN counts for nothing. On a GPU this waits for them.
///
/// # Errors
/// [`crate::Error::Gpu`] when the device fails.
pub fn largest_magnitude(x: &Tensor) -> Result<f32> {
    if let Device::Cuda(cuda) = x.device() {
        return cuda.largest_magnitude("largest magnitude", x);
    }
    Ok(largest_of(x.f32s("largest magnitude")?))
}

/// `x`, `[…, features]`, in e4m3: to the nearest, ties to even, saturating; NaN stays NaN.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` has no features.
pub fn quantise_fp8(x: &Tensor, scaling: Scaling<'_>) -> Result<Fp8Tensor> {
    const OP: &str = "rounding to 8 bits";
    let shape = x.shape();
    let features = shape.last().copied().unwrap_or(0);
    ensure_shape!(features > 0, OP, "{shape} has no features");
    if let Device::Cuda(cuda) = x.device() {
        return cuda.quantise_fp8(OP, x, scaling);
    }
    let device = x.device();
    let values = x.f32s(OP)?;
    let round = |values: &[f32], scale: f32, out: &mut Vec<u8>| {
        let factor = 1.0 / scale;
        out.extend(values.iter().map(|value| f8e4m3_from_f32(value * factor)));
    };
    let mut bytes = Vec::with_capacity(values.len());
    let (scales, by_row) = match scaling {
        Scaling::Rows => {
            let scales = values.chunks_exact(features).map(|row| {
                let scale = scale_of(largest_of(row));
                round(row, scale, &mut bytes);
                scale
            });
            let scales: Vec<f32> = scales.collect();
            (Tensor::from_f32(&device, &[scales.len()], &scales)?, true)
        }
        Scaling::All => {
            let scale = scale_of(largest_of(values));
            round(values, scale, &mut bytes);
            (Tensor::from_f32(&device, &[1], &[scale])?, false)
        }
        Scaling::Fixed(scale) => {
            round(values, scale.value, &mut bytes);
            (scale.factors.clone(), false)
        }
    };
    Ok(Fp8Tensor { values: Tensor::from_f8(&device, shape, &bytes)?, scales, by_row })
}

/// [Layer normalisation](LayerNorm) of `x`, `[rows, features]`, with the result in e4m3. On a GPU one kernel does both; only
/// [`Scaling::All`] takes more.
///
/// # Errors
/// [`crate::Error::Shape`] when the norm's parameters don't fit.
pub fn layer_norm_fp8(x: &Tensor, norm: LayerNorm<'_>, eps: f32, scaling: Scaling<'_>) -> Result<Fp8Tensor> {
    const OP: &str = "layer norm to 8 bits";
    norm.check(OP, x)?;
    if let Device::Cuda(cuda) = x.device() {
        let (_, normed) = cuda.norm_fused(OP, x, None, norm, eps, Target::Fp8(scaling))?;
        return normed.fp8(OP);
    }
    quantise_fp8(&norm.apply(x, eps)?, scaling)
}

/// A linear layer with weights in e4m3 under one scale, for inputs in e4m3.
#[derive(Clone)]
pub struct LinearFp8 {
    matrix: Matrix,
    device: Device,
}

#[derive(Clone)]
enum Matrix {
    /// The rounded weights, not scaled, in a layer that multiplies exactly; and their scale.
    Exact(Linear, f32),
    Cuda(CudaLinearFp8),
}

impl LinearFp8 {
    /// Does this device multiply such numbers faster than others? Where not, layers work, and are for comparisons.
    #[must_use]
    pub fn is_native(device: &Device) -> bool {
        matches!(device, Device::Cuda(cuda) if cuda.has_fp8())
    }

    /// Rounds weights of shape `[out_features, in_features]`, both multiples of 16.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when a size is no such multiple, or the weights or the bias have another length.
    pub fn new(device: &Device, weights: &[bf16], shape: [usize; 2], bias: Option<&[f32]>) -> Result<Self> {
        const OP: &str = "8-bit linear layer";
        let [out, depth] = shape;
        ensure_shape!(
            out > 0 && depth > 0 && out.is_multiple_of(16) && depth.is_multiple_of(16),
            OP,
            "{shape:?} features, where multiples of 16 are needed"
        );
        ensure_shape!(
            out.checked_mul(depth) == Some(weights.len()),
            OP,
            "{} weights for {shape:?}",
            weights.len()
        );
        if let Some(bias) = bias {
            ensure_shape!(bias.len() == out, OP, "a bias of {} for {out} outputs", bias.len());
        }
        let matrix = match device {
            Device::Cuda(cuda) if cuda.has_fp8() => {
                Matrix::Cuda(CudaLinearFp8::new(cuda, weights, shape, bias)?)
            }
            _ => {
                let largest =
                    weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.to_f32().abs()));
                let scale = power_not_below(scale_of(largest));
                let factor = 1.0 / scale;
                // Every e4m3 number is a bf16 number.
                let rounded = |weight: &bf16| f32_from_f8e4m3(f8e4m3_from_f32(weight.to_f32() * factor));
                let rounded: Vec<bf16> =
                    weights.iter().map(|weight| bf16::from_f32(rounded(weight))).collect();
                Matrix::Exact(Linear::new(device, Weights::Bf16(&rounded), shape, bias)?, scale)
            }
        };
        Ok(Self { matrix, device: device.clone() })
    }

    /// As [`Linear::joined`]. Weights of layers with smaller scales than others are rounded anew under the largest, which
    /// changes only those that are next to nothing.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn joined<const N: usize>(layers: [&Self; N]) -> Result<Option<(Self, [Self; N])>> {
        let mut on_gpu: smallvec::SmallVec<[&CudaLinearFp8; 4]> = smallvec::SmallVec::new();
        for layer in layers {
            match &layer.matrix {
                Matrix::Cuda(matrix) => on_gpu.push(matrix),
                Matrix::Exact(..) => return Ok(None),
            }
        }
        let Some((whole, parts)) = CudaLinearFp8::joined(&on_gpu)? else { return Ok(None) };
        let Some(device) = layers.first().map(|layer| layer.device.clone()) else { return Ok(None) };
        let of = |matrix| Self { matrix: Matrix::Cuda(matrix), device: device.clone() };
        let parts: Vec<Self> = parts.into_iter().map(of).collect();
        Ok(<[Self; N]>::try_from(parts).ok().map(|parts| (of(whole), parts)))
    }

    /// How inputs are best scaled that have no scale yet.
    #[must_use]
    pub fn scaling(&self) -> Scaling<'static> {
        match &self.device {
            Device::Cuda(cuda) if cuda.has_fp8() && !cuda.has_fp8_rows() => Scaling::All,
            _ => Scaling::Rows,
        }
    }

    /// Features of an input row.
    #[must_use]
    pub fn in_features(&self) -> usize {
        match &self.matrix {
            Matrix::Exact(layer, _) => layer.in_features(),
            Matrix::Cuda(layer) => layer.weights.dim(1),
        }
    }

    /// Features of an output row.
    #[must_use]
    pub fn out_features(&self) -> usize {
        match &self.matrix {
            Matrix::Exact(layer, _) => layer.out_features(),
            Matrix::Cuda(layer) => layer.weights.dim(0),
        }
    }

    /// Memory of the weights, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.matrix {
            Matrix::Exact(layer, _) => layer.bytes(),
            Matrix::Cuda(layer) => layer.weights.shape().numel(),
        }
    }

    fn check(&self, op: &'static str, x: &Fp8Tensor) -> Result<()> {
        ensure_shape!(
            x.shape().last() == Some(&self.in_features()),
            op,
            "{} into a layer of {} features",
            x.shape(),
            self.in_features()
        );
        if x.values.dtype() != DType::F8E4M3 {
            return Err(crate::Error::DType { op, expected: DType::F8E4M3, found: x.values.dtype() });
        }
        Ok(())
    }
}

impl std::fmt::Debug for LinearFp8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinearFp8({} -> {})", self.in_features(), self.out_features())
    }
}

/// `activation(x Wᵀ + b)` for `x` of shape `[…, in_features]`; the result, `[…, out_features]`, is of the type of activations.
///
/// # Errors
/// [`crate::Error::Shape`] when the last dimension of `x` is not `in_features`.
pub fn linear_fp8(x: &Fp8Tensor, layer: &LinearFp8, activation: Activation) -> Result<Tensor> {
    const OP: &str = "8-bit linear";
    layer.check(OP, x)?;
    match (&layer.matrix, &layer.device) {
        (Matrix::Cuda(matrix), Device::Cuda(cuda)) => cuda.linear_fp8(OP, x, matrix, activation),
        (Matrix::Exact(matrix, scale), _) => linear(&x.times(*scale)?, matrix, activation),
        (Matrix::Cuda(_), _) => Err(crate::Error::Elsewhere { op: OP }),
    }
}

/// `residual + gain · (x Wᵀ + b)`, written over `residual` where nobody else holds it.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` or `residual` don't fit the layer or each other, or the gain does not fit them.
pub fn linear_fp8_add(residual: Tensor, x: &Fp8Tensor, layer: &LinearFp8, gain: Gain<'_>) -> Result<Tensor> {
    const OP: &str = "8-bit linear with residual";
    layer.check(OP, x)?;
    match (&layer.matrix, &layer.device) {
        (Matrix::Exact(matrix, scale), _) => linear_add(residual, &x.times(*scale)?, matrix, gain),
        (Matrix::Cuda(matrix), Device::Cuda(cuda)) => {
            let rows = x.shape().numel() / layer.in_features();
            ensure_shape!(
                residual.shape().last() == Some(&layer.out_features())
                    && residual.shape().numel() == rows * layer.out_features(),
                OP,
                "{} added to {}",
                x.shape(),
                residual.shape()
            );
            let sums = cuda.linear_fp8(OP, x, matrix, Activation::None)?;
            match gain {
                Gain::Constant(gain) => cuda.mix(OP, &residual, 1.0, &sums, gain),
                Gain::PerFrame(gate) => {
                    gate.check(OP, rows, layer.out_features())?;
                    cuda.add_gated(OP, &residual, &sums, gate)
                }
            }
        }
        (Matrix::Cuda(_), _) => Err(crate::Error::Elsewhere { op: OP }),
    }
}

/// `activation(x Wᵀ + b)` as [`linear_fp8`], with the result in e4m3 under a scale that is known before, for the next layer.
/// Where the card can, it is rounded on its way to memory.
///
/// # Errors
/// As [`linear_fp8`].
pub fn linear_fp8_to_fp8(
    x: &Fp8Tensor,
    layer: &LinearFp8,
    activation: Activation,
    scale: &FixedScale,
) -> Result<Fp8Tensor> {
    const OP: &str = "8-bit linear to 8 bits";
    layer.check(OP, x)?;
    if let (Matrix::Cuda(matrix), Device::Cuda(cuda)) = (&layer.matrix, &layer.device)
        && let Some(result) = cuda.linear_fp8_to_fp8(OP, x, matrix, activation, scale)?
    {
        return Ok(result);
    }
    quantise_fp8(&linear_fp8(x, layer, activation)?, Scaling::Fixed(scale))
}

#[cfg(test)]
#[path = "fp8_tests.rs"]
mod tests;
