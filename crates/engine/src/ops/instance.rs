//! Normalisation of every channel of every picture by itself.

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
    const OP: &str = "instance norm";
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 4 && shape.numel() > 0,
        OP,
        "{shape} is not [frames, height, width, channels]"
    );
    let (lines, row) = (shape[0] * shape[1], shape[2] * shape[3]);
    let (frame_lines, channels) = (shape[1], shape[3]);
    let values = x.f32s(OP)?;
    let Device::Cpu(cpu) = x.device();

    // Each line's own mean and squared deviations, then those of the frames from them (Chan et al. 1979): nothing
    // cancels, and lines are independent of each other.
    let mut lines = Tensor::empty(&x.device(), shape_of(OP, &[lines, 2, channels])?)?;
    cpu.for_rows(lines.f32s_mut(OP)?, 2 * channels, 4 * row, &Lines { x: values, row, channels });
    let mut frames = Tensor::empty(&x.device(), shape_of(OP, &[shape[0], 2, channels])?)?;
    let per_frame = lines.f32s(OP)?.chunks_exact(frame_lines * 2 * channels);
    for (frame, lines) in frames.f32s_mut(OP)?.chunks_exact_mut(2 * channels).zip(per_frame) {
        let (shifts, scales) = frame.split_at_mut(channels);
        for channel in 0..channels {
            let of_line = |offset: usize| lines.iter().skip(offset + channel).step_by(2 * channels);
            let mean = of_line(0).map(|&mean| f64::from(mean)).sum::<f64>() / frame_lines as f64;
            let within: f64 = of_line(channels).map(|&squares| f64::from(squares)).sum();
            let between: f64 = of_line(0).map(|&line| (f64::from(line) - mean).powi(2)).sum();
            let variance = (within / shape[2] as f64 + between) / frame_lines as f64;
            shifts[channel] = mean as f32;
            scales[channel] = (1.0 / (variance + f64::from(eps)).sqrt()) as f32;
        }
    }
    let mut out = Tensor::empty(&x.device(), shape)?;
    let kernel =
        Scale { x: values, row, frame_lines, frames: frames.f32s(OP)?, activation: activation.on_cpu() };
    cpu.for_rows(out.f32s_mut(OP)?, row, 4 * row, &kernel);
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
    /// `[frame, mean or scale, channel]`.
    frames: &'a [f32],
    activation: Option<Activate>,
}

impl RowKernel<f32> for Scale<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let frame_count = self.x.len() / (self.row * self.frame_lines);
        let statistics = self.frames.len() / frame_count;
        let channels = statistics / 2;
        let lines = self.x[first * self.row..].chunks_exact(self.row);
        for (index, (out, line)) in rows.chunks_exact_mut(self.row).zip(lines).enumerate() {
            let frame = (first + index) / self.frame_lines;
            let (means, scales) = self.frames[frame * statistics..][..statistics].split_at(channels);
            for (out, pixel) in out.chunks_exact_mut(channels).zip(line.chunks_exact(channels)) {
                for (((out, &value), &mean), &scale) in out.iter_mut().zip(pixel).zip(means).zip(scales) {
                    *out = (value - mean) * scale;
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
}
