//! Linear layers: `y = x Wᵀ + b`, with an activation or a gated residual in the same pass.

use half::bf16;
use pulp::Simd;

use crate::{
    Device, Result, Tensor,
    convert::f32_from_f8e4m3,
    cpu::{
        gemm::{Activate, Dense, Finish, Panels, gemm, load},
        int8,
    },
    cuda::CudaLinear,
    error::ensure_shape,
    ops::Modulation,
};

/// Weights in host memory, row-major, in the type in which they shall be kept.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// Kept as `f32`.
    F32(&'a [f32]),
    /// Kept as bf16, widened while they are used.
    Bf16(&'a [bf16]),
    /// OCP e4m3 numbers, whose values are what they mean: no scale. A [`Linear`] on a GPU that computes in bf16, and an
    /// [`crate::ops::Embedding`], keep them so, for layers that are seldom used, and widen them while they are. Others keep
    /// them as bf16, with the same results.
    F8E4M3(&'a [u8]),
    /// Kept as 8-bit integers, of which each outermost row has a scale: what they mean is their product. A [`Linear`] of
    /// them rounds each row of its input to integers too, of up to 15 bits and a sign, and adds up products exactly: see
    /// [`linear`]. Other layers keep the products in `f32`.
    Int8 {
        /// The integers.
        values: &'a [i8],
        /// One for each outermost row.
        scales: &'a [f32],
    },
}

impl Weights<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::F8E4M3(values) => values.len(),
            Self::Int8 { values, .. } => values.len(),
        }
    }

    /// Is there a scale for each of `rows` rows, if there have to be scales?
    pub(crate) fn has_scales(&self, rows: usize) -> bool {
        !matches!(self, Self::Int8 { scales, .. } if scales.len() != rows)
    }
}

/// The function applied to each result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// The result as it is.
    #[default]
    None,
    /// GELU in its tanh approximation.
    Gelu,
    /// GELU by its definition, `x` times the normal distribution at `x`.
    GeluErf,
    /// `x · sigmoid(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `x` above zero, this slope times `x` below.
    LeakyRelu(f32),
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    pub(crate) fn on_cpu(self) -> Option<Activate> {
        Some(match self {
            Self::None => return None,
            Self::Gelu => Activate::Gelu,
            Self::GeluErf => Activate::GeluErf,
            Self::Silu => Activate::Silu,
            Self::Relu => Activate::Relu,
            Self::LeakyRelu(slope) => Activate::LeakyRelu(slope),
            Self::Sigmoid => Activate::Sigmoid,
            Self::Tanh => Activate::Tanh,
        })
    }
}

/// A linear layer's weights, laid out for their device.
#[derive(Clone)]
pub struct Linear {
    matrix: Matrix,
    bias: Option<Tensor>,
    device: Device,
}

#[derive(Clone)]
pub(super) enum Matrix {
    Floats(Panels),
    Integers(int8::Panels),
    Cuda(CudaLinear),
}

impl Linear {
    /// Layers of the same input as one whose output has theirs side by side, and the same layers again as parts of it: no
    /// weight is twice in memory. `None` where that saves no time, or some have a bias and others not.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn joined<const N: usize>(layers: [&Self; N]) -> Result<Option<(Self, [Self; N])>> {
        let matrices = layers.map(Self::matrix);
        let mut on_gpu: smallvec::SmallVec<[&CudaLinear; 4]> = smallvec::SmallVec::new();
        for matrix in matrices {
            match matrix {
                Matrix::Cuda(matrix) => on_gpu.push(matrix),
                _ => return Ok(None),
            }
        }
        let Some((whole, parts)) = CudaLinear::joined(&on_gpu)? else { return Ok(None) };
        let Some(device) = layers.first().map(|layer| layer.device.clone()) else { return Ok(None) };
        let of = |matrix| Self { matrix: Matrix::Cuda(matrix), bias: None, device: device.clone() };
        let parts: Vec<Self> = parts.into_iter().map(of).collect();
        Ok(<[Self; N]>::try_from(parts).ok().map(|parts| (of(whole), parts)))
    }

    /// Lays out weights of shape `[out_features, in_features]` and a bias of `out_features`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the weights, their scales or the bias have another length, or integers more than 2^17
    /// input features.
    pub fn new(
        device: &Device,
        weights: Weights<'_>,
        shape: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        const OP: &str = "linear layer";
        let [out, depth] = shape;
        ensure_shape!(
            out.checked_mul(depth) == Some(weights.len()),
            OP,
            "{} weights for {shape:?}",
            weights.len()
        );
        ensure_shape!(weights.has_scales(out), OP, "not one scale for each of {out} outputs");
        if let Some(bias) = bias {
            ensure_shape!(bias.len() == out, OP, "a bias of {} for {out} outputs", bias.len());
        }
        let cpu = match device {
            Device::Cpu(cpu) => cpu,
            Device::Cuda(cuda) => {
                let matrix = Matrix::Cuda(CudaLinear::new(cuda, weights, shape, bias)?);
                return Ok(Self { matrix, bias: None, device: device.clone() });
            }
        };
        let matrix = match weights {
            Weights::F32(values) => Matrix::Floats(Panels::from_f32(cpu, values, out, depth)?),
            Weights::Bf16(values) => Matrix::Floats(Panels::from_bf16(cpu, values, out, depth)?),
            Weights::F8E4M3(values) => {
                let values: Vec<bf16> =
                    values.iter().map(|&byte| bf16::from_f32(f32_from_f8e4m3(byte))).collect();
                Matrix::Floats(Panels::from_bf16(cpu, &values, out, depth)?)
            }
            Weights::Int8 { values, scales } => {
                ensure_shape!(depth <= int8::MAX_DEPTH, OP, "{depth} input features with 8-bit weights");
                Matrix::Integers(int8::Panels::new(cpu, values, scales, depth)?)
            }
        };
        let bias = bias.map(|bias| Tensor::from_f32(device, &[out], bias)).transpose()?;
        Ok(Self { matrix, bias, device: device.clone() })
    }

    /// A layer of a matrix that was computed, `[out_features, in_features]`, without a bias.
    pub(crate) fn of(weights: &Tensor) -> Result<Self> {
        let device = weights.device();
        match &device {
            Device::Cpu(_) => {
                let shape = [weights.dim(0), weights.dim(1)];
                Self::new(&device, Weights::F32(weights.f32s("linear layer")?), shape, None)
            }
            Device::Cuda(cuda) => Ok(Self {
                matrix: Matrix::Cuda(CudaLinear::of(cuda, weights)?),
                bias: None,
                device: device.clone(),
            }),
        }
    }

    pub(super) fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Features of an input row.
    #[must_use]
    pub fn in_features(&self) -> usize {
        match &self.matrix {
            Matrix::Floats(panels) => panels.depth,
            Matrix::Integers(panels) => panels.depth,
            Matrix::Cuda(layer) => layer.weights.dim(1),
        }
    }

    /// Features of an output row.
    #[must_use]
    pub fn out_features(&self) -> usize {
        match &self.matrix {
            Matrix::Floats(panels) => panels.columns,
            Matrix::Integers(panels) => panels.columns,
            Matrix::Cuda(layer) => layer.weights.dim(0),
        }
    }

    /// Memory of the weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.matrix {
            Matrix::Floats(panels) => panels.bytes(),
            Matrix::Integers(panels) => panels.bytes(),
            Matrix::Cuda(layer) => layer.bytes(),
        }
    }
}

impl std::fmt::Debug for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Linear({} -> {})", self.in_features(), self.out_features())
    }
}

/// What a result is multiplied by before it is added to a residual.
#[derive(Clone, Copy, Debug)]
pub enum Gain<'a> {
    /// Every element by the same number.
    Constant(f32),
    /// Feature by feature, by the modulation of the row's frame.
    PerFrame(Modulation<'a>),
}

/// `activation(x Wᵀ + b)` for `x` of shape `[…, in_features]`; the result is `[…, out_features]`.
///
/// With 8-bit weights each row of `x` is rounded to integers from `-n` to `n` under a scale of its own, `largest / n`,
/// where `n` is the smaller of 32767 and `(2^31 - 1) / (128 · in_features)`. Their products with the weights are added up
/// exactly, then scaled: all machines give the same bits. A row with NaN or infinity in it gives NaN.
///
/// # Errors
/// [`crate::Error::Shape`] when the last dimension of `x` is not `in_features`.
pub fn linear(x: &Tensor, layer: &Linear, activation: Activation) -> Result<Tensor> {
    const OP: &str = "linear";
    ensure_fits(OP, x, layer)?;
    if let (Device::Cuda(cuda), Matrix::Cuda(matrix)) = (&layer.device, &layer.matrix) {
        return cuda.linear(OP, x, matrix, activation);
    }
    let (values, mut shape) = (x.f32s(OP)?, x.shape());
    shape.set_last(layer.out_features());
    let mut out = Tensor::empty(&layer.device, shape)?;
    let rows = Dense { data: values, depth: layer.in_features(), stride: layer.in_features() };
    let target = out.f32s_mut(OP)?;
    run(layer, &rows, &activation.on_cpu().map_or(After::Nothing, After::Activate), target)?;
    Ok(out)
}

/// `residual + gain · (x Wᵀ + b)`, written over `residual` where nobody else holds it.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` or `residual` don't fit the layer or each other, or the gain does not fit them.
pub fn linear_add(mut residual: Tensor, x: &Tensor, layer: &Linear, gain: Gain<'_>) -> Result<Tensor> {
    const OP: &str = "linear with residual";
    let rows = ensure_fits_residual(OP, &residual, x, layer)?;
    if let Gain::PerFrame(modulation) = gain {
        modulation.check(OP, rows, layer.out_features())?;
    }
    if let (Device::Cuda(cuda), Matrix::Cuda(matrix)) = (&layer.device, &layer.matrix) {
        return cuda.linear_add(OP, &residual, x, matrix, gain);
    }
    let values = x.f32s(OP)?;
    let source = Dense { data: values, depth: layer.in_features(), stride: layer.in_features() };
    // The sums need a place of their own: the residual is read where they are written.
    let mut sums = Tensor::empty(&layer.device, residual.shape())?;
    let old = residual.f32s(OP)?;
    let columns = layer.out_features();
    let after = match gain {
        Gain::Constant(gain) => After::AddScaled { old, columns, gain },
        Gain::PerFrame(modulation) => {
            After::AddGated { old, columns, gain: modulation.values(OP, rows, columns)? }
        }
    };
    run(layer, &source, &after, sums.f32s_mut(OP)?)?;
    residual = sums;
    Ok(residual)
}

/// The rows of `x`, if it and the residual fit the layer and each other.
pub(super) fn ensure_fits_residual(
    op: &'static str,
    residual: &Tensor,
    x: &Tensor,
    layer: &Linear,
) -> Result<usize> {
    ensure_fits(op, x, layer)?;
    let rows = x.shape().numel() / layer.in_features().max(1);
    ensure_shape!(
        residual.shape().last() == Some(&layer.out_features())
            && residual.shape().numel() == rows * layer.out_features(),
        op,
        "{} added to {}",
        x.shape(),
        residual.shape()
    );
    Ok(rows)
}

fn ensure_fits(op: &'static str, x: &Tensor, layer: &Linear) -> Result<()> {
    ensure_shape!(
        x.shape().last() == Some(&layer.in_features()),
        op,
        "{} into a layer of {} features",
        x.shape(),
        layer.in_features()
    );
    Ok(())
}

fn run(layer: &Linear, rows: &Dense<'_>, finish: &After<'_>, out: &mut [f32]) -> Result<()> {
    let cpu = &layer.device.clone().cpu("linear")?;
    let bias = layer.bias.as_ref().map(|bias| bias.f32s("linear")).transpose()?;
    match &layer.matrix {
        Matrix::Floats(panels) => gemm(cpu, rows, panels, bias, finish, out),
        Matrix::Integers(panels) => int8::gemm(cpu, rows, panels, bias, finish, out),
        Matrix::Cuda(_) => return Err(crate::Error::Elsewhere { op: "linear" }),
    }
    Ok(())
}

/// What happens to the sums. `old` has as many columns as the result.
enum After<'a> {
    Nothing,
    Activate(Activate),
    AddScaled { old: &'a [f32], columns: usize, gain: f32 },
    AddGated { old: &'a [f32], columns: usize, gain: super::norm::FrameValues<'a> },
}

impl Finish for After<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&self, simd: S, row: usize, column: usize, count: usize, sums: S::f32s) -> S::f32s {
        match self {
            Self::Nothing => sums,
            Self::Activate(activate) => activate.lanes(simd, sums),
            Self::AddScaled { old, columns, gain } => {
                let old = load(simd, old, row * columns + column, count);
                simd.mul_add_f32s(simd.splat_f32s(*gain), sums, old)
            }
            Self::AddGated { old, columns, gain } => {
                let old = load(simd, old, row * columns + column, count);
                simd.mul_add_f32s(load(simd, gain.row(row), column, count), sums, old)
            }
        }
    }
}
