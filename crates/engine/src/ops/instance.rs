//! Normalisation of every channel, or every few, of every picture by itself.

use crate::{
    Device, Result, Tensor,
    cpu::{RowKernel, gemm::Activate},
    error::ensure_shape,
    ops::Activation,
    tensor::shape_of,
};

/// Each channel of each frame of `x`, `[frames, height, width, channels]`, to zero mean and unit variance over its
/// pixels (Ulyanov et al. 2016), then an activation. `eps` is added to the variance.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` is no such pictures.
pub fn instance_norm(x: &Tensor, eps: f32, activation: Activation) -> Result<Tensor> {
    let channels = x.shape().last().copied().unwrap_or(0);
    norm("instance norm", x, channels, None, eps, activation)
}

/// Each group of neighbouring channels of each frame of `x`, `[frames, height, width, channels]`, to zero mean and unit
/// variance over its pixels, then `· weight + bias` for each channel (Wu & He 2018). `eps` is added to the variance.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` is no such pictures, the channels do not make so many groups, or `weight` or `bias` has
/// another length.
pub fn group_norm(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    norm("group norm", x, groups, Some((weight, bias)), eps, Activation::None)
}

fn norm(
    op: &'static str,
    x: &Tensor,
    groups: usize,
    affine: Option<(&Tensor, &Tensor)>,
    eps: f32,
    activation: Activation,
) -> Result<Tensor> {
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 4 && shape.numel() > 0 && groups > 0 && shape[3].is_multiple_of(groups),
        op,
        "{shape} is not [frames, height, width, channels] with {groups} groups of channels"
    );
    let (frame_lines, channels) = (shape[1], shape[3]);
    let (line_count, row) = (shape[0] * frame_lines, shape[2] * channels);
    let affine = match affine {
        None => None,
        Some((weight, bias)) => {
            let fits = [weight, bias].iter().all(|tensor| tensor.shape().numel() == channels);
            ensure_shape!(fits, op, "{} and {} for {channels} channels", weight.shape(), bias.shape());
            Some((weight, bias))
        }
    };
    if let Device::Cuda(cuda) = x.device() {
        return cuda.group_norm(op, x, groups, affine, eps, activation);
    }
    let affine = match affine {
        None => None,
        Some((weight, bias)) => Some((weight.f32s(op)?, bias.f32s(op)?)),
    };
    let values = x.f32s(op)?;
    let cpu = x.device().cpu(op)?;

    // Each line's own mean and squared deviations, then those of the frames from them (Chan et al. 1979): nothing
    // cancels, and lines are independent of each other.
    let mut lines = Tensor::empty(&x.device(), shape_of(op, &[line_count, 2, channels])?)?;
    cpu.for_rows(lines.f32s_mut(op)?, 2 * channels, 4 * row, &Lines { x: values, row, channels });
    let mut frames = Tensor::empty(&x.device(), shape_of(op, &[shape[0], 3, channels])?)?;
    let per_frame = lines.f32s(op)?.chunks_exact(frame_lines * 2 * channels);
    let group = channels / groups;
    for (frame, lines) in frames.f32s_mut(op)?.chunks_exact_mut(3 * channels).zip(per_frame) {
        let (means, rest) = frame.split_at_mut(channels);
        let (scales, shifts) = rest.split_at_mut(channels);
        for first in (0..channels).step_by(group) {
            let of = |offset: usize| {
                let lines = lines.chunks_exact(2 * channels);
                lines.flat_map(move |line| &line[offset + first..][..group]).map(|&value| f64::from(value))
            };
            let count = (frame_lines * group) as f64;
            let mean = of(0).sum::<f64>() / count;
            let within: f64 = of(channels).sum();
            let between: f64 = of(0).map(|line| (line - mean).powi(2)).sum();
            let variance = (within / shape[2] as f64 + between) / count;
            let scale = 1.0 / (variance + f64::from(eps)).sqrt();
            for channel in first..first + group {
                let (weight, bias) =
                    affine.map_or((1.0, 0.0), |(weight, bias)| (weight[channel], bias[channel]));
                means[channel] = mean as f32;
                scales[channel] = (scale * f64::from(weight)) as f32;
                shifts[channel] = bias;
            }
        }
    }
    let mut out = Tensor::empty(&x.device(), shape)?;
    let kernel =
        Scale { x: values, row, frame_lines, frames: frames.f32s(op)?, activation: activation.on_cpu() };
    cpu.for_rows(out.f32s_mut(op)?, row, 4 * row, &kernel);
    Ok(out)
}

/// For each line, the mean of each channel and the sum of its squared deviations.
struct Lines<'a> {
    x: &'a [f32],
    row: usize,
    channels: usize,
}

impl RowKernel<f32> for Lines<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let lines = self.x[first * self.row..].chunks_exact(self.row);
        for (out, line) in rows.chunks_exact_mut(2 * self.channels).zip(lines) {
            out.fill(0.0);
            let (means, squares) = out.split_at_mut(self.channels);
            for pixel in line.chunks_exact(self.channels) {
                for (mean, &value) in means.iter_mut().zip(pixel) {
                    *mean += value;
                }
            }
            let per_pixel = self.channels as f32 / self.row as f32;
            for mean in &mut *means {
                *mean *= per_pixel;
            }
            for pixel in line.chunks_exact(self.channels) {
                for ((square, &mean), &value) in squares.iter_mut().zip(&*means).zip(pixel) {
                    *square += (value - mean) * (value - mean);
                }
            }
        }
    }
}

struct Scale<'a> {
    x: &'a [f32],
    row: usize,
    frame_lines: usize,
    /// `[frame, mean or scale or shift, channel]`.
    frames: &'a [f32],
    activation: Option<Activate>,
}

impl RowKernel<f32> for Scale<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let frame_count = self.x.len() / (self.row * self.frame_lines);
        let statistics = self.frames.len() / frame_count;
        let channels = statistics / 3;
        let lines = self.x[first * self.row..].chunks_exact(self.row);
        for (index, (out, line)) in rows.chunks_exact_mut(self.row).zip(lines).enumerate() {
            let frame = (first + index) / self.frame_lines;
            let (means, rest) = self.frames[frame * statistics..][..statistics].split_at(channels);
            let (scales, shifts) = rest.split_at(channels);
            for (out, pixel) in out.chunks_exact_mut(channels).zip(line.chunks_exact(channels)) {
                let channels = means.iter().zip(scales).zip(shifts);
                for ((out, &value), ((&mean, &scale), &shift)) in out.iter_mut().zip(pixel).zip(channels) {
                    *out = (value - mean).mul_add(scale, shift);
                }
            }
            if let Some(activation) = self.activation {
                activation.apply(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn channels_end_with_zero_mean_and_unit_variance() {
        let device = Device::from(Cpu::new(std::num::NonZero::new(2)).expect("threads"));
        let (frames, height, width, channels) = (2, 5, 7, 3);
        let shape = [frames, height, width, channels];
        // A large mean, of which a naive variance would leave nothing.
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|index: usize| 1000.0 * (index % channels) as f32 + (index * 7919 % 101) as f32 / 50.0)
            .collect();
        let x = Tensor::from_f32(&device, &shape, &values).expect("pictures");
        let out = instance_norm(&x, 0.0, Activation::None).expect("normalised").to_vec();
        let relu = instance_norm(&x, 0.0, Activation::Relu).expect("normalised").to_vec();
        let pixels = height * width;
        for frame in 0..frames {
            for channel in 0..channels {
                let of = |values: &[f32]| -> Vec<f64> {
                    let frame = &values[frame * pixels * channels..][..pixels * channels];
                    frame.iter().skip(channel).step_by(channels).map(|&value| f64::from(value)).collect()
                };
                let normed = of(&out);
                let mean = normed.iter().sum::<f64>() / pixels as f64;
                let variance = normed.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels as f64;
                assert!(mean.abs() < 5e-4, "mean {mean}");
                assert!((variance - 1.0).abs() < 1e-4, "variance {variance}");
                let source = of(&values);
                assert!(
                    source.windows(2).zip(normed.windows(2)).all(|(a, b)| (a[0] < a[1]) == (b[0] < b[1]))
                );
            }
        }
        assert!(out.iter().zip(&relu).all(|(value, relu)| value.max(0.0) == *relu));
        assert!(instance_norm(&x.reshape(&[70, 3]).expect("rows"), 0.0, Activation::None).is_err());
    }

    #[test]
    fn groups_of_channels_are_normalised_together_then_scaled_and_shifted() {
        let device = Device::from(Cpu::new(std::num::NonZero::new(2)).expect("threads"));
        let (frames, pixels, channels, groups) = (2, 15, 6, 2);
        let values: Vec<f32> =
            (0..frames * pixels * channels).map(|index| (index * 7919 % 613) as f32 / 100.0 + 40.0).collect();
        let x = Tensor::from_f32(&device, &[frames, 3, 5, channels], &values).expect("pictures");
        let parameters = [[1.0, 2.0, -1.0, 0.5, 3.0, 1.5], [0.0, 1.0, -2.0, 0.25, 0.0, 7.0]];
        let [weight, bias] =
            parameters.map(|values| Tensor::from_f32(&device, &[channels], &values).expect("parameters"));
        let out = group_norm(&x, groups, &weight, &bias, 1e-5).expect("normalised").to_vec();
        let size = channels / groups;
        for (index, got) in out.into_iter().enumerate() {
            let (channel, frame) = (index % channels, index / channels / pixels);
            let of_group = |index: &usize| {
                index / channels / pixels == frame && index % channels / size == channel / size
            };
            let group = (0..values.len()).filter(of_group).map(|index| f64::from(values[index]));
            let count = (pixels * size) as f64;
            let mean = group.clone().sum::<f64>() / count;
            let variance = group.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            let normed = (f64::from(values[index]) - mean) / (variance + 1e-5).sqrt();
            let [weight, bias] = parameters.map(|values| f64::from(values[channel]));
            let expected = normed * weight + bias;
            assert!((f64::from(got) - expected).abs() < 1e-4, "[{index}]: {got} for {expected}");
        }
        assert!(group_norm(&x, 4, &weight, &bias, 1e-5).is_err());
        assert!(group_norm(&x, 0, &weight, &bias, 1e-5).is_err());
        let short = Tensor::from_f32(&device, &[1], &[1.0]).expect("a parameter");
        assert!(group_norm(&x, 2, &short, &bias, 1e-5).is_err());
    }
}
