//! Resizing pictures.

use crate::{Device, Result, Tensor, cpu::RowKernel, cuda::KernelTap, error::ensure_shape, tensor::shape_of};

/// Pictures `[frames, height, width, channels]` resized to `[height, width]`: each pixel is interpolated between the
/// four that surround it, without antialiasing. Pixel centres lie at half-integers and coordinates beyond the first or
/// last centre take its value (torch's `interpolate(mode="bilinear", align_corners=False)`).
///
/// # Errors
/// [`crate::Error::Shape`] when `x` is no such pictures or a size is zero, [`crate::Error::DType`] unless they are `f32`.
pub fn resize_bilinear(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "bilinear resize";
    if x.shape().len() == 4 && x.shape()[1..3] == size {
        return Ok(x.clone());
    }
    ensure_pictures(OP, x, size)?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.resize(OP, x, size, false);
    }
    resize(OP, x, x.f32s(OP)?, size, taps, |value| value)
}

/// Like [`resize_bilinear`], but the outermost pixels' centres stay where they are (torch's `align_corners=True`).
///
/// # Errors
/// As [`resize_bilinear`].
pub fn resize_between_corners(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "resize between corners";
    ensure_pictures(OP, x, size)?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.resize(OP, x, size, true);
    }
    resize(OP, x, x.f32s(OP)?, size, taps_between_corners, |value| value)
}

/// Pictures `[frames, height, width, channels]` resized to `[height, width]`: each pixel is made of the sixteen around it by
/// cubic convolution (Keys 1981, with a = -0.75), without antialiasing. Pixel centres lie at half-integers, the outermost
/// pixels continue beyond the edges, and a pixel of the result is `step` pixels of the source high and wide; where none is
/// given, as many as fit (torch's `interpolate(mode="bicubic")`, whose `scale_factor` is `1 / step`).
///
/// # Errors
/// As [`resize_bilinear`].
pub fn resize_bicubic(x: &Tensor, size: [usize; 2], step: Option<[f64; 2]>) -> Result<Tensor> {
    const OP: &str = "bicubic resize";
    let shape = x.shape();
    ensure_pictures(OP, x, size)?;
    let [height, width] = size;
    let step = step.unwrap_or([shape[1] as f64 / height as f64, shape[2] as f64 / width as f64]);
    let rows = cubic_taps(shape[1], height, step[0]);
    let columns = cubic_taps(shape[2], width, step[1]);
    if let Device::Cuda(cuda) = x.device() {
        let kernel = |taps: &[CubicTap]| -> Vec<KernelTap> {
            let tap = |tap: &CubicTap| KernelTap {
                pixels: tap.map(|(pixel, _)| pixel as i32),
                shares: tap.map(|(_, share)| share),
            };
            taps.iter().map(tap).collect()
        };
        return cuda.resize_cubic(OP, x, &kernel(&rows), &kernel(&columns));
    }
    let mut out = Tensor::empty(&x.device(), shape_of(OP, &[shape[0], height, width, shape[3]])?)?;
    let kernel = Bicubic {
        source: x.f32s(OP)?,
        rows,
        columns,
        source_height: shape[1],
        row_len: shape[2] * shape[3],
        channels: shape[3],
    };
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(out.f32s_mut(OP)?, width * shape[3], 8 * (width + shape[2]) * shape[3], &kernel);
    Ok(out)
}

/// Pictures of bytes `[frames, height, width, channels]` as numbers, resized like [`resize_bilinear`] in the same pass:
/// 0 becomes `low` and 255 becomes `high`.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` is no such pictures or a size is zero, [`crate::Error::DType`] unless they are bytes.
pub fn resize_bytes(x: &Tensor, size: [usize; 2], [low, high]: [f32; 2]) -> Result<Tensor> {
    const OP: &str = "resize of bytes";
    ensure_pictures(OP, x, size)?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.resize_bytes(OP, x, size, [low, high]);
    }
    // A division, so that white is exactly `high`.
    resize(OP, x, x.u8s(OP)?, size, taps, move |value| (value / 255.0).mul_add(high - low, low))
}

fn ensure_pictures(op: &'static str, x: &Tensor, size: [usize; 2]) -> Result<()> {
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 4 && shape[1..3].iter().chain(&size).all(|&dim| dim > 0),
        op,
        "pictures {shape} to {size:?}"
    );
    Ok(())
}

fn resize<T: Copy + Into<f32> + Sync>(
    op: &'static str,
    x: &Tensor,
    source: &[T],
    size: [usize; 2],
    taps: fn(usize, usize) -> Vec<Tap>,
    finish: impl Fn(f32) -> f32 + Sync,
) -> Result<Tensor> {
    let shape = x.shape();
    let [height, width] = size;
    let channels = shape[3];
    let mut out = Tensor::empty(&x.device(), shape_of(op, &[shape[0], height, width, channels])?)?;
    let cpu = x.device().cpu(op)?;
    let kernel = Bilinear {
        source,
        rows: taps(shape[1], height),
        columns: taps(shape[2], width),
        source_height: shape[1],
        row_len: shape[2] * channels,
        channels,
        finish,
    };
    cpu.for_rows(out.f32s_mut(op)?, width * channels, 10 * width * channels, &kernel);
    Ok(out)
}

/// The two source pixels of a target pixel, and the share of the second.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    share: f32,
}

impl Tap {
    /// At a coordinate that is not negative.
    fn at(at: f32, source: usize) -> Self {
        let first = (at as usize).min(source - 1);
        Self { first, second: (first + 1).min(source - 1), share: at - first as f32 }
    }
}

fn taps(source: usize, target: usize) -> Vec<Tap> {
    let ratio = source as f32 / target as f32;
    (0..target).map(|index| Tap::at((ratio * (index as f32 + 0.5) - 0.5).max(0.0), source)).collect()
}

fn taps_between_corners(source: usize, target: usize) -> Vec<Tap> {
    let ratio = (source - 1) as f32 / (target.max(2) - 1) as f32;
    (0..target).map(|index| Tap::at(ratio * index as f32, source)).collect()
}

struct Bilinear<'a, T, F> {
    source: &'a [T],
    rows: Vec<Tap>,
    columns: Vec<Tap>,
    source_height: usize,
    row_len: usize,
    channels: usize,
    finish: F,
}

impl<T: Copy + Into<f32> + Sync, F: Fn(f32) -> f32 + Sync> RowKernel<f32> for Bilinear<'_, T, F> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let out_len = self.columns.len() * self.channels;
        // Between two source rows first: that vectorises, and leaves one row to pick pixels from.
        let mut between = vec![0.0; self.row_len];
        for (index, out) in rows.chunks_exact_mut(out_len).enumerate() {
            let (frame, row) = ((first + index) / self.rows.len(), (first + index) % self.rows.len());
            let tap = self.rows[row];
            let source_row = |row: usize| {
                &self.source[(frame * self.source_height + row) * self.row_len..][..self.row_len]
            };
            let (above, below) = (source_row(tap.first), source_row(tap.second));
            for ((between, &above), &below) in between.iter_mut().zip(above).zip(below) {
                *between = mix(above.into(), below.into(), tap.share);
            }
            // Known at compile time, the number of channels costs no loop.
            match self.channels {
                _ if out_len == self.row_len => out.copy_from_slice(&between),
                1 => self.pick(&between, out, 1),
                3 => self.pick(&between, out, 3),
                channels => self.pick(&between, out, channels),
            }
            for value in out {
                *value = (self.finish)(*value);
            }
        }
    }
}

impl<T, F> Bilinear<'_, T, F> {
    #[inline(always)]
    fn pick(&self, row: &[f32], out: &mut [f32], channels: usize) {
        for (tap, out) in self.columns.iter().zip(out.chunks_exact_mut(channels)) {
            let (left, right) =
                (&row[tap.first * channels..][..channels], &row[tap.second * channels..][..channels]);
            for ((out, &left), &right) in out.iter_mut().zip(left).zip(right) {
                *out = mix(left, right, tap.share);
            }
        }
    }
}

/// The four source pixels of a target pixel, and the share of each.
type CubicTap = [(usize, f32); 4];

fn cubic_taps(source: usize, target: usize, step: f64) -> Vec<CubicTap> {
    const A: f64 = -0.75;
    let near = |t: f64| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let far = |t: f64| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
    let tap = |index: usize| {
        let at = step * (index as f64 + 0.5) - 0.5;
        let low = at.floor();
        let t = at - low;
        let shares = [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)];
        // Those beyond the edges are the outermost.
        let pixel = |offset: usize| (low + offset as f64 - 1.0).clamp(0.0, (source - 1) as f64) as usize;
        std::array::from_fn(|offset| (pixel(offset), shares[offset] as f32))
    };
    (0..target).map(tap).collect()
}

struct Bicubic<'a> {
    source: &'a [f32],
    rows: Vec<CubicTap>,
    columns: Vec<CubicTap>,
    source_height: usize,
    row_len: usize,
    channels: usize,
}

impl RowKernel<f32> for Bicubic<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let mut between = vec![0.0; self.row_len];
        for (index, out) in rows.chunks_exact_mut(self.columns.len() * self.channels).enumerate() {
            let (frame, row) = ((first + index) / self.rows.len(), (first + index) % self.rows.len());
            between.fill(0.0);
            for (row, share) in self.rows[row] {
                let source = &self.source[(frame * self.source_height + row) * self.row_len..];
                for (between, &value) in between.iter_mut().zip(source) {
                    *between = value.mul_add(share, *between);
                }
            }
            for (tap, out) in self.columns.iter().zip(out.chunks_exact_mut(self.channels)) {
                out.fill(0.0);
                for &(column, share) in tap {
                    let pixel = &between[column * self.channels..][..self.channels];
                    for (out, &value) in out.iter_mut().zip(pixel) {
                        *out = value.mul_add(share, *out);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn mix(a: f32, b: f32, share: f32) -> f32 {
    (1.0 - share).mul_add(a, share * b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    fn device() -> Device {
        Cpu::new(None).unwrap().into()
    }

    #[test]
    fn a_ramp_stays_a_ramp_and_its_ends_are_held() {
        let x = Tensor::from_f32(&device(), &[1, 1, 4, 1], &[0.0, 1.0, 2.0, 3.0]).unwrap();
        let wide = resize_bilinear(&x, [1, 8]).unwrap();
        assert_eq!(wide.to_vec(), [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]);
        let narrow = resize_bilinear(&x, [1, 2]).unwrap();
        assert_eq!(narrow.to_vec(), [0.5, 2.5]);
    }

    #[test]
    fn between_corners_the_ends_stay_where_they_are() {
        let x = Tensor::from_f32(&device(), &[1, 2, 3, 1], &[0.0, 1.0, 2.0, 4.0, 5.0, 6.0]).unwrap();
        let wide = resize_between_corners(&x, [3, 5]).unwrap();
        let row = [0.0, 0.5, 1.0, 1.5, 2.0];
        let expected: Vec<f32> = [0.0, 2.0, 4.0].into_iter().flat_map(|y| row.map(|x| x + y)).collect();
        assert_eq!(wide.to_vec(), expected);
        assert_eq!(resize_between_corners(&x, [1, 1]).unwrap().to_vec(), [0.0]);
        let line = Tensor::from_f32(&device(), &[1, 1, 1, 1], &[7.0]).unwrap();
        assert_eq!(resize_between_corners(&line, [2, 2]).unwrap().to_vec(), [7.0; 4]);
    }

    #[test]
    fn cubic_taps_are_those_of_torch() {
        let values: Vec<f32> = (0..2 * 5 * 4 * 3).map(|index| (index * 7919 % 613) as f32 / 100.0).collect();
        let x = Tensor::from_f32(&device(), &[2, 5, 4, 3], &values).unwrap();
        // The definition, pixel by pixel.
        let weight = |d: f64| match d.abs() {
            d if d <= 1.0 => 1.25 * d.powi(3) - 2.25 * d * d + 1.0,
            d if d < 2.0 => -0.75 * (d.powi(3) - 5.0 * d * d + 8.0 * d - 4.0),
            _ => 0.0,
        };
        for (size, step) in [([7, 9], None), ([3, 2], None), ([6, 5], Some([5.0 / 6.1, 4.0 / 5.1]))] {
            let got = resize_bicubic(&x, size, step).unwrap();
            let step = step.unwrap_or([5.0 / size[0] as f64, 4.0 / size[1] as f64]);
            for (index, got) in got.to_vec().into_iter().enumerate() {
                let (c, rest) = (index % 3, index / 3);
                let (column, row, frame) =
                    (rest % size[1], rest / size[1] % size[0], rest / size[1] / size[0]);
                let at = |index: usize, axis: usize| step[axis] * (index as f64 + 0.5) - 0.5;
                let (y, x) = (at(row, 0), at(column, 1));
                let mut expected = 0.0;
                for i in -1..=2 {
                    for j in -1..=2 {
                        let (py, px) = (y.floor() + f64::from(i), x.floor() + f64::from(j));
                        let (inside_y, inside_x) = (py.clamp(0.0, 4.0) as usize, px.clamp(0.0, 3.0) as usize);
                        let value = f64::from(values[((frame * 5 + inside_y) * 4 + inside_x) * 3 + c]);
                        expected += weight(y - py) * weight(x - px) * value;
                    }
                }
                assert!((f64::from(got) - expected).abs() < 1e-5, "[{index}]: {got} for {expected}");
            }
        }
        assert!(resize_bicubic(&x, [0, 1], None).is_err());
    }

    #[test]
    fn rows_columns_channels_and_frames_keep_their_places() {
        // Frame, row, column and channel each have their own digit, and bilinear interpolation is linear in each.
        let value = |n: usize, y: f32, x: f32, c: usize| n as f32 * 1000.0 + y * 100.0 + x * 10.0 + c as f32;
        for channels in [1, 2, 3, 5] {
            let mut values = Vec::new();
            for n in 0..2 {
                for y in 0..4 {
                    for x in 0..6 {
                        values.extend((0..channels).map(|c| value(n, y as f32, x as f32, c)));
                    }
                }
            }
            let pictures = Tensor::from_f32(&device(), &[2, 4, 6, channels], &values).unwrap();
            let half = resize_bilinear(&pictures, [2, 3]).unwrap().to_vec();
            let mut expected = Vec::new();
            for n in 0..2 {
                for y in [0.5, 2.5] {
                    for x in [0.5, 2.5, 4.5] {
                        expected.extend((0..channels).map(|c| value(n, y, x, c)));
                    }
                }
            }
            assert_eq!(half, expected);
        }
    }

    #[test]
    fn black_and_white_are_the_ends_of_the_range() {
        let x = Tensor::from_u8(&device(), &[1, 1, 2, 1], &[0, 255]).unwrap();
        let same = resize_bytes(&x, [1, 2], [-1.0, 1.0]).unwrap();
        assert_eq!(same.to_vec(), [-1.0, 1.0]);
        assert_eq!(resize_bytes(&x, [1, 1], [0.0, 255.0]).unwrap().to_vec(), [127.5]);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let x = Tensor::from_f32(&device(), &[2, 2], &[0.0; 4]).unwrap();
        assert!(resize_bilinear(&x, [2, 2]).is_err());
        let x = x.reshape(&[1, 2, 2, 1]).unwrap();
        assert!(resize_bilinear(&x, [0, 2]).is_err());
        assert!(resize_bytes(&x, [1, 1], [0.0, 255.0]).is_err(), "not bytes");
    }
}
