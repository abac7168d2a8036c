//! Normalisation over the last dimension, with the modulation of diffusion transformers in the same pass.

use crate::{
    Device, Result, Tensor,
    cpu::{RowKernel, math},
    error::ensure_shape,
};

/// One part of a modulation table `[frames, parts, features]`. It applies to `rows` rows of features, frame by frame:
/// the rows are split evenly among the frames, in order.
#[derive(Clone, Copy, Debug)]
pub struct Modulation<'a> {
    /// `[frames, parts, features]`.
    pub table: &'a Tensor,
    /// Which of the parts.
    pub part: usize,
}

/// A modulation checked against the rows that it applies to.
#[derive(Clone, Copy)]
pub(crate) struct FrameValues<'a> {
    values: &'a [f32],
    stride: usize,
    features: usize,
    rows_per_frame: usize,
}

impl<'a> Modulation<'a> {
    pub(crate) fn values(self, op: &'static str, rows: usize, features: usize) -> Result<FrameValues<'a>> {
        let shape = self.table.shape();
        let (frames, parts) = (self.table.dim(0), self.table.dim(1));
        ensure_shape!(
            shape.len() == 3
                && shape[2] == features
                && self.part < parts
                && frames > 0
                && rows.is_multiple_of(frames),
            op,
            "part {} of the modulation {shape} for {rows} rows of {features} features",
            self.part
        );
        let values = self.table.f32s(op)?;
        Ok(FrameValues {
            values: &values[self.part * features..],
            stride: parts * features,
            features,
            rows_per_frame: (rows / frames).max(1),
        })
    }
}

impl<'a> FrameValues<'a> {
    /// The values for row `row`.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        // Most often there is but one frame, and a division takes as long as dozens of products.
        let frame = if row < self.rows_per_frame { 0 } else { row / self.rows_per_frame };
        &self.values[frame * self.stride..][..self.features]
    }
}

/// Layer normalisation over the last dimension: zero mean, unit variance, then `· weight + bias` if given
/// (Ba et al. 2016). `weight` and `bias` have as many elements as that dimension.
///
/// # Errors
/// [`crate::Error::Shape`] when they have not.
pub fn layer_norm(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, eps: f32) -> Result<Tensor> {
    const OP: &str = "layer norm";
    let features = features_of(OP, x)?;
    let affine = match affine {
        None => None,
        Some((weight, bias)) => Some((vector(OP, weight, features)?, vector(OP, bias, features)?)),
    };
    let x_values = x.f32s(OP)?;
    rowwise(OP, x, |out| match affine {
        None => Job { x: x_values, out, kernel: PlainLayerNorm { eps } }.run(x, features),
        Some((weight, bias)) => {
            Job { x: x_values, out, kernel: AffineLayerNorm { weight, bias, eps } }.run(x, features);
        }
    })
}

/// Layer normalisation without parameters, then `· (1 + scale) + shift` with the values of each row's frame (the adaLN
/// of diffusion transformers, Peebles & Xie 2023). `x` is `[rows, features]`.
///
/// # Errors
/// [`crate::Error::Shape`] when a modulation does not fit the rows.
pub fn modulated_layer_norm(
    x: &Tensor,
    eps: f32,
    scale: Modulation<'_>,
    shift: Modulation<'_>,
) -> Result<Tensor> {
    const OP: &str = "modulated layer norm";
    let features = features_of(OP, x)?;
    let rows = x.shape().numel() / features;
    let kernel = ModulatedLayerNorm {
        scale: scale.values(OP, rows, features)?,
        shift: shift.values(OP, rows, features)?,
        eps,
    };
    let x_values = x.f32s(OP)?;
    rowwise(OP, x, |out| Job { x: x_values, out, kernel }.run(x, features))
}

/// Root-mean-square normalisation over the last dimension: `x / sqrt(mean(x²) + eps) · weight` (Zhang & Sennrich 2019).
///
/// # Errors
/// [`crate::Error::Shape`] when `weight` has another length than that dimension.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    const OP: &str = "RMS norm";
    let features = features_of(OP, x)?;
    let kernel = RmsNorm { weight: vector(OP, weight, features)?, eps };
    let x_values = x.f32s(OP)?;
    rowwise(OP, x, |out| Job { x: x_values, out, kernel }.run(x, features))
}

/// Each pixel's channels divided by their Euclidean length (at least 1e-12), times `sqrt(channels) · gamma`, then SiLU
/// if asked for: the norm of Wan's autoencoder.
///
/// # Errors
/// [`crate::Error::Shape`] when `gamma` has not one element per channel.
pub fn channel_norm(x: &Tensor, gamma: &Tensor, silu: bool) -> Result<Tensor> {
    const OP: &str = "channel norm";
    let channels = features_of(OP, x)?;
    let kernel = ChannelNorm { gamma: vector(OP, gamma, channels)?, silu };
    let x_values = x.f32s(OP)?;
    rowwise(OP, x, |out| Job { x: x_values, out, kernel }.run(x, channels))
}

fn features_of(op: &'static str, x: &Tensor) -> Result<usize> {
    let features = x.shape().last().copied().unwrap_or(0);
    ensure_shape!(features > 0, op, "{} has no features", x.shape());
    Ok(features)
}

fn vector<'a>(op: &'static str, tensor: &'a Tensor, len: usize) -> Result<&'a [f32]> {
    ensure_shape!(tensor.shape().numel() == len, op, "{} parameters for {len} features", tensor.shape());
    tensor.f32s(op)
}

fn rowwise(op: &'static str, x: &Tensor, run: impl FnOnce(&mut [f32])) -> Result<Tensor> {
    let mut out = Tensor::empty(&x.device(), x.shape())?;
    run(out.f32s_mut(op)?);
    Ok(out)
}

/// A normalisation of one row.
trait Normalise: Copy + Sync + Send {
    fn row(&self, row: usize, x: &[f32], out: &mut [f32]);
}

struct Job<'a, K> {
    x: &'a [f32],
    out: &'a mut [f32],
    kernel: K,
}

impl<K: Normalise> Job<'_, K> {
    fn run(self, x: &Tensor, features: usize) {
        let Device::Cpu(cpu) = x.device();
        cpu.for_rows(self.out, features, 8 * features, &Rowwise { x: self.x, features, kernel: self.kernel });
    }
}

struct Rowwise<'a, K> {
    x: &'a [f32],
    features: usize,
    kernel: K,
}

impl<K: Normalise> RowKernel<f32> for Rowwise<'_, K> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let x = &self.x[first * self.features..][..rows.len()];
        for (index, (x, out)) in
            x.chunks_exact(self.features).zip(rows.chunks_exact_mut(self.features)).enumerate()
        {
            self.kernel.row(first + index, x, out);
        }
    }
}

/// Mean and reciprocal standard deviation.
#[inline(always)]
fn statistics(x: &[f32], eps: f32) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = math::sum(x, |v| v) / count;
    let variance = math::sum(x, |v| (v - mean) * (v - mean)) / count;
    (mean, 1.0 / (variance + eps).sqrt())
}

#[derive(Clone, Copy)]
struct PlainLayerNorm {
    eps: f32,
}

impl Normalise for PlainLayerNorm {
    #[inline(always)]
    fn row(&self, _: usize, x: &[f32], out: &mut [f32]) {
        let (mean, scale) = statistics(x, self.eps);
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (x - mean) * scale;
        }
    }
}

#[derive(Clone, Copy)]
struct AffineLayerNorm<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
}

impl Normalise for AffineLayerNorm<'_> {
    #[inline(always)]
    fn row(&self, _: usize, x: &[f32], out: &mut [f32]) {
        let (mean, scale) = statistics(x, self.eps);
        for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(self.weight).zip(self.bias) {
            *out = ((x - mean) * scale).mul_add(weight, bias);
        }
    }
}

#[derive(Clone, Copy)]
struct ModulatedLayerNorm<'a> {
    scale: FrameValues<'a>,
    shift: FrameValues<'a>,
    eps: f32,
}

impl Normalise for ModulatedLayerNorm<'_> {
    #[inline(always)]
    fn row(&self, row: usize, x: &[f32], out: &mut [f32]) {
        let (mean, deviation) = statistics(x, self.eps);
        for (((out, &x), &scale), &shift) in
            out.iter_mut().zip(x).zip(self.scale.row(row)).zip(self.shift.row(row))
        {
            *out = ((x - mean) * deviation).mul_add(1.0 + scale, shift);
        }
    }
}

#[derive(Clone, Copy)]
struct RmsNorm<'a> {
    weight: &'a [f32],
    eps: f32,
}

impl Normalise for RmsNorm<'_> {
    #[inline(always)]
    fn row(&self, _: usize, x: &[f32], out: &mut [f32]) {
        let scale = 1.0 / (math::sum(x, |v| v * v) / x.len() as f32 + self.eps).sqrt();
        for ((out, &x), &weight) in out.iter_mut().zip(x).zip(self.weight) {
            *out = x * scale * weight;
        }
    }
}

#[derive(Clone, Copy)]
struct ChannelNorm<'a> {
    gamma: &'a [f32],
    silu: bool,
}

impl Normalise for ChannelNorm<'_> {
    #[inline(always)]
    fn row(&self, _: usize, x: &[f32], out: &mut [f32]) {
        let scale = (x.len() as f32).sqrt() / math::max(math::sum(x, |v| v * v).sqrt(), 1e-12);
        for ((out, &x), &gamma) in out.iter_mut().zip(x).zip(self.gamma) {
            *out = x * scale * gamma;
        }
        if self.silu {
            for out in out {
                *out = math::silu(*out);
            }
        }
    }
}
