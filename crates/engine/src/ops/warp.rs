//! Moving the pixels of pictures.

use crate::{
    Device, Result, Tensor,
    cpu::{RowKernel, math},
    error::ensure_shape,
};

/// Each pixel `(x, y)` of the result is `pictures` at `(x + flow[channel], y + flow[channel + 1])`, interpolated between
/// the four pixels around that place; beyond the edges, the outermost pixels continue (torch's `grid_sample` with
/// `align_corners=True` and `padding_mode="border"`). `pictures` is `[frames, height, width, channels]` and `flow` has
/// the same dimensions but the last, in pixels.
///
/// # Errors
/// [`crate::Error::Shape`] when the dimensions differ or `flow` has no channel `channel + 1`.
pub fn warp(pictures: &Tensor, flow: &Tensor, channel: usize) -> Result<Tensor> {
    const OP: &str = "warp";
    let (shape, flow_shape) = (pictures.shape(), flow.shape());
    ensure_shape!(
        shape.len() == 4
            && flow_shape.len() == 4
            && shape[..3] == flow_shape[..3]
            && channel.checked_add(2).is_some_and(|end| end <= flow_shape[3]),
        OP,
        "{shape} by channels {channel} and on of {flow_shape}"
    );
    if let Device::Cuda(cuda) = pictures.device() {
        return cuda.warp(OP, pictures, flow, channel);
    }
    let mut out = Tensor::empty(&pictures.device(), shape)?;
    let kernel = Kernel {
        pictures: pictures.f32s(OP)?,
        flow: flow.f32s(OP)?,
        size: [shape[1], shape[2]],
        channels: shape[3],
        flow_channels: flow_shape[3],
        channel,
    };
    let cpu = pictures.device().cpu(OP)?;
    let row = shape[2] * shape[3];
    cpu.for_rows(out.f32s_mut(OP)?, row, 10 * row, &kernel);
    Ok(out)
}

struct Kernel<'a> {
    pictures: &'a [f32],
    flow: &'a [f32],
    size: [usize; 2],
    channels: usize,
    flow_channels: usize,
    channel: usize,
}

impl RowKernel<f32> for Kernel<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let ([height, width], channels) = (self.size, self.channels);
        for (index, row) in rows.chunks_exact_mut(width * channels).enumerate() {
            let line = first + index;
            let (frame, y) = (line / height, line % height);
            let picture = &self.pictures[frame * height * width * channels..][..height * width * channels];
            let flow = &self.flow[line * width * self.flow_channels..][..width * self.flow_channels];
            let flow = flow.chunks_exact(self.flow_channels);
            for ((x, out), flow) in row.chunks_exact_mut(channels).enumerate().zip(flow) {
                let (left, right, across) = between(x as f32 + flow[self.channel], width);
                let (top, bottom, down) = between(y as f32 + flow[self.channel + 1], height);
                let pixel = |y: usize, x: usize| &picture[(y * width + x) * channels..][..channels];
                let above = pixel(top, left).iter().zip(pixel(top, right));
                let below = pixel(bottom, left).iter().zip(pixel(bottom, right));
                for ((out, (&a, &b)), (&c, &d)) in out.iter_mut().zip(above).zip(below) {
                    let above = (b - a).mul_add(across, a);
                    let below = (d - c).mul_add(across, c);
                    *out = (below - above).mul_add(down, above);
                }
            }
        }
    }
}

/// The two pixels around a coordinate and how far it is from the first to the second.
#[inline(always)]
fn between(at: f32, size: usize) -> (usize, usize, f32) {
    // A comparison with NaN is false: it ends up at the lower edge.
    let at = math::min(math::max(at, 0.0), (size - 1) as f32);
    let low = at as usize;
    (low, (low + 1).min(size - 1), at - low as f32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Cpu;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn pixels_come_from_where_the_flow_points(
            (frames, height, width, channels) in (1usize..3, 1usize..8, 1usize..9, 1usize..5),
            channel in 0usize..3,
            flows in prop::collection::vec(-12.0f32..12.0, 2 * 7 * 8 * 5),
            seed in 0usize..100,
        ) {
            let device = Device::from(Cpu::new(None).expect("threads"));
            let shape = [frames, height, width, channels];
            let count = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..count).map(|index| ((index + seed) * 7919 % 613) as f32 / 100.0).collect();
            let pictures = Tensor::from_f32(&device, &shape, &values).expect("pictures");
            let flow_shape = [frames, height, width, 5];
            let flow = &flows[..frames * height * width * 5];
            let got = warp(&pictures, &Tensor::from_f32(&device, &flow_shape, flow).expect("flow"), channel)
                .expect("a result")
                .to_vec();
            let at = |t: usize, y: f64, x: f64, c: usize| {
                let hold = |v: f64, size: usize| v.clamp(0.0, (size - 1) as f64) as usize;
                f64::from(values[((t * height + hold(y, height)) * width + hold(x, width)) * channels + c])
            };
            for (index, got) in got.iter().enumerate() {
                let (c, pixel) = (index % channels, index / channels);
                let (x, y, t) = (pixel % width, pixel / width % height, pixel / width / height);
                let fx = (x as f64 + f64::from(flow[pixel * 5 + channel])).clamp(0.0, (width - 1) as f64);
                let fy = (y as f64 + f64::from(flow[pixel * 5 + channel + 1])).clamp(0.0, (height - 1) as f64);
                let (x0, y0) = (fx.floor(), fy.floor());
                let (u, v) = (fx - x0, fy - y0);
                let expected = (1.0 - v) * ((1.0 - u) * at(t, y0, x0, c) + u * at(t, y0, x0 + 1.0, c))
                    + v * ((1.0 - u) * at(t, y0 + 1.0, x0, c) + u * at(t, y0 + 1.0, x0 + 1.0, c));
                prop_assert!((f64::from(*got) - expected).abs() < 1e-4, "[{index}]: {got} for {expected}");
            }
        }
    }

    #[test]
    fn flows_that_lead_nowhere_stay_inside_the_picture() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let pictures = Tensor::from_f32(&device, &[1, 1, 2, 1], &[1.0, 2.0]).expect("a picture");
        let flow = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
        let flow = Tensor::from_f32(&device, &[1, 1, 2, 2], &flow).expect("flow");
        assert!(warp(&pictures, &flow, 0).expect("a result").to_vec().iter().all(|value| *value == 1.0));
        assert!(warp(&pictures, &flow, 1).is_err());
    }
}
