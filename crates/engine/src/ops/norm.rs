//! Normalisation over the last dimension, with the modulation of diffusion transformers in the same pass.

use crate::{
    Device, Result, Tensor,
    cpu::{RowKernel, math},
    cuda::Norm,
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
    /// Does it fit so many rows of so many features?
    pub(crate) fn check(self, op: &'static str, rows: usize, features: usize) -> Result<()> {
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
        Ok(())
    }

    pub(crate) fn values(self, op: &'static str, rows: usize, features: usize) -> Result<FrameValues<'a>> {
        self.check(op, rows, features)?;
        let (frames, parts) = (self.table.dim(0), self.table.dim(1));
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

/// A layer normalisation over the last dimension, as part of a larger operator.
#[derive(Clone, Copy, Debug)]
pub enum LayerNorm<'a> {
    /// Zero mean, unit variance.
    Plain,
    /// The same, then `· weight + bias`: see [`layer_norm`].
    Affine {
        /// `[features]`.
        weight: &'a Tensor,
        /// `[features]`.
        bias: &'a Tensor,
    },
    /// The same, then `· (1 + scale) + shift` of the row's frame: see [`modulated_layer_norm`].
    Modulated {
        /// One less than the factor.
        scale: Modulation<'a>,
        /// What is added.
        shift: Modulation<'a>,
    },
}

impl<'a> LayerNorm<'a> {
    /// Does it fit `x`?
    pub(crate) fn check(self, op: &'static str, x: &Tensor) -> Result<()> {
        let features = features_of(op, x)?;
        let rows = x.shape().numel() / features;
        match self {
            Self::Plain => Ok(()),
            Self::Affine { weight, bias } => {
                ensure_vector(op, weight, features)?;
                ensure_vector(op, bias, features)
            }
            Self::Modulated { scale, shift } => {
                scale.check(op, rows, features)?;
                shift.check(op, rows, features)
            }
        }
    }

    /// The same as an operator of its own, for `x` of shape `[rows, features]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the parameters don't fit.
    pub fn apply(self, x: &Tensor, eps: f32) -> Result<Tensor> {
        match self {
            Self::Plain => layer_norm(x, None, eps),
            Self::Affine { weight, bias } => layer_norm(x, Some((weight, bias)), eps),
            Self::Modulated { scale, shift } => modulated_layer_norm(x, eps, scale, shift),
        }
    }

    pub(crate) fn on_cuda(self) -> Norm<'a> {
        match self {
            Self::Plain => Norm::Layer,
            Self::Affine { weight, bias } => Norm::LayerAffine(weight, bias),
            Self::Modulated { scale, shift } => Norm::LayerModulated { scale, shift },
        }
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
    if let Some((weight, bias)) = affine {
        ensure_vector(OP, weight, features)?;
        ensure_vector(OP, bias, features)?;
    }
    if let Device::Cuda(cuda) = x.device() {
        let norm = affine.map_or(Norm::Layer, |(weight, bias)| Norm::LayerAffine(weight, bias));
        return cuda.norm(OP, x, &norm, eps);
    }
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
    scale.check(OP, rows, features)?;
    shift.check(OP, rows, features)?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.norm(OP, x, &Norm::LayerModulated { scale, shift }, eps);
    }
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
    ensure_vector(OP, weight, features)?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.norm(OP, x, &Norm::Rms(weight), eps);
    }
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
    ensure_vector(OP, gamma, channels)?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.channel_norm(OP, x, gamma, silu);
    }
    let kernel = ChannelNorm { gamma: vector(OP, gamma, channels)?, silu };
    let x_values = x.f32s(OP)?;
    rowwise(OP, x, |out| Job { x: x_values, out, kernel }.run(x, channels))
}

fn features_of(op: &'static str, x: &Tensor) -> Result<usize> {
    let features = x.shape().last().copied().unwrap_or(0);
    ensure_shape!(features > 0, op, "{} has no features", x.shape());
    Ok(features)
}

fn ensure_vector(op: &'static str, tensor: &Tensor, len: usize) -> Result<()> {
    ensure_shape!(tensor.shape().numel() == len, op, "{} parameters for {len} features", tensor.shape());
    Ok(())
}

fn vector<'a>(op: &'static str, tensor: &'a Tensor, len: usize) -> Result<&'a [f32]> {
    ensure_vector(op, tensor, len)?;
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
        // Callers have read elements of `x`, which they can on the CPU alone.
        let Device::Cpu(cpu) = x.device() else { return };
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
