//! Pictures as video codecs take them: I420, planar with chroma halved both ways, BT.601 in limited range.
//!
//! The integers are those of `scope_frame`, which this crate may not know; a test of `scope_pipelines` holds them together.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::PendingBytes;
use crate::{Device, Result, Tensor, cpu::RowKernel, error::ensure_shape, tensor::shape_of};

/// Pixels that are rounded at a time: an even number, so that no pair is torn.
const RUN: usize = 64;

/// Bytes of a picture: a plane of luma, then two of chroma with `ceil(width / 2) × ceil(height / 2)` samples.
#[must_use]
pub const fn i420_len([height, width]: [usize; 2]) -> usize {
    height * width + 2 * height.div_ceil(2) * width.div_ceil(2)
}

/// Pictures `[frames, height, width, 3]` in RGB as I420 bytes in host memory, [`i420_len`] for each frame. Their values become
/// bytes as in [`super::to_bytes`] first, so that the result is that of a conversion of those bytes. On a GPU this
/// returns at once, and what is begun meanwhile runs behind it.
///
/// # Errors
/// [`crate::Error::Shape`] unless they are such pictures, [`crate::Error::DType`] unless they are `f32`.
pub fn to_i420(x: &Tensor, scale: f32, shift: f32) -> Result<PendingBytes> {
    const OP: &str = "conversion to I420";
    let shape = x.shape();
    ensure_shape!(shape.len() == 4 && shape[3] == 3, OP, "pictures in RGB are expected, not {shape}");
    if let Device::Cuda(cuda) = x.device() {
        return cuda.to_i420(OP, x, scale, shift).map(PendingBytes::from_gpu);
    }
    let (height, width) = (shape[1], shape[2]);
    let (frame, half) = (i420_len([height, width]), [height.div_ceil(2), width.div_ceil(2)]);
    let mut out = vec![0; shape[0] * frame];
    if out.is_empty() {
        return Ok(PendingBytes::there(out));
    }
    let (cpu, x) = (x.device().cpu(OP)?, x.f32s(OP)?);
    let pairs = shape[0] * half[0];
    let block = cpu.block_rows(pairs, 30 * width);
    let serial = block >= pairs;
    let block = block.min(half[0]);
    let convert = |x: &[f32], luma: &mut [u8], u: &mut [u8], v: &mut [u8]| {
        cpu.arch().dispatch(Pairs { x, width, scale, shift, luma, u, v });
    };
    let picture = height * width * 3;
    if serial {
        for (x, out) in x.chunks(picture).zip(out.chunks_mut(frame)) {
            let [luma, u, v] = planes_mut(out, [height, width]);
            convert(x, luma, u, v);
        }
    } else {
        cpu.enter(|| {
            x.par_chunks(picture).zip(out.par_chunks_mut(frame)).for_each(|(x, out)| {
                let [luma, u, v] = planes_mut(out, [height, width]);
                let chroma = u.par_chunks_mut(block * half[1]).zip(v.par_chunks_mut(block * half[1]));
                x.par_chunks(2 * block * width * 3)
                    .zip(luma.par_chunks_mut(2 * block * width))
                    .zip(chroma)
                    .for_each(|((x, luma), (u, v))| convert(x, luma, u, v));
            });
        });
    }
    Ok(PendingBytes::there(out))
}

fn planes_mut(picture: &mut [u8], [height, width]: [usize; 2]) -> [&mut [u8]; 3] {
    let (luma, chroma) = picture.split_at_mut(height * width);
    let (u, v) = chroma.split_at_mut(height.div_ceil(2) * width.div_ceil(2));
    [luma, u, v]
}

/// Pairs of rows of a picture; the last may lack its second row.
struct Pairs<'a> {
    x: &'a [f32],
    width: usize,
    scale: f32,
    shift: f32,
    luma: &'a mut [u8],
    u: &'a mut [u8],
    v: &'a mut [u8],
}

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, width, scale, shift, luma, u, v } = self;
        let half = width.div_ceil(2);
        let rows = x.chunks(2 * width * 3).zip(luma.chunks_mut(2 * width));
        let chroma = u.chunks_exact_mut(half).zip(v.chunks_exact_mut(half));
        for ((x, luma), (u, v)) in rows.zip(chroma) {
            let (x, luma) = (x.split_at(width * 3), luma.split_at_mut(width));
            let [mut top, mut bottom] = [[0; RUN * 3]; 2];
            for start in (0..width).step_by(RUN) {
                let count = RUN.min(width - start);
                let (run, values) = (start..start + count, start * 3..(start + count) * 3);
                round(&x.0[values.clone()], scale, shift, &mut top);
                lumas(&top, &mut luma.0[run.clone()]);
                if luma.1.is_empty() {
                    // The last row stands for the one that is missing.
                    bottom = top;
                } else {
                    round(&x.1[values], scale, shift, &mut bottom);
                    lumas(&bottom, &mut luma.1[run]);
                }
                let samples = start / 2..(start + count).div_ceil(2);
                chromas(&top, &bottom, &mut u[samples.clone()], &mut v[samples]);
            }
        }
    }
}

/// Values as bytes, and once more the last pixel, which stands for the one that an odd row lacks.
#[inline(always)]
fn round(x: &[f32], scale: f32, shift: f32, out: &mut [u8; RUN * 3]) {
    for (out, x) in out.iter_mut().zip(x) {
        // The cast saturates and truncates.
        *out = x.mul_add(scale, shift) as u8;
    }
    if x.len() < out.len() {
        out.copy_within(x.len() - 3..x.len(), x.len());
    }
}

#[inline(always)]
fn lumas(rgb: &[u8; RUN * 3], out: &mut [u8]) {
    for (out, rgb) in out.iter_mut().zip(rgb.as_chunks::<3>().0) {
        let [r, g, b] = rgb.map(i32::from);
        *out = (((66 * r + 129 * g + 25 * b + 128) >> 8) + 16) as u8;
    }
}

#[inline(always)]
fn chromas(top: &[u8; RUN * 3], bottom: &[u8; RUN * 3], us: &mut [u8], vs: &mut [u8]) {
    let pairs = top.as_chunks::<6>().0.iter().zip(bottom.as_chunks::<6>().0);
    for ((a, b), (u, v)) in pairs.zip(us.iter_mut().zip(vs)) {
        let mean = |c: usize| {
            (i32::from(a[c]) + i32::from(a[c + 3]) + i32::from(b[c]) + i32::from(b[c + 3]) + 2) >> 2
        };
        let (r, g, b) = (mean(0), mean(1), mean(2));
        *u = (((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128) as u8;
        *v = (((112 * r - 94 * g - 18 * b + 128) >> 8) + 128) as u8;
    }
}

/// I420 bytes `[frames, i420_len(size)]` of pictures of `size`, `[height, width]`, as bytes `[frames, height, width, 3]` in
/// RGB: each pixel has the chroma of its pair of rows and columns.
///
/// # Errors
/// [`crate::Error::Shape`] unless they are as many, [`crate::Error::DType`] unless they are bytes.
pub fn rgb_from_i420(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "conversion from I420";
    struct Kernel<'a> {
        x: &'a [u8],
        size: [usize; 2],
    }
    impl RowKernel<u8> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [u8]) {
            let [height, width] = self.size;
            let half = [height.div_ceil(2), width.div_ceil(2)];
            for (index, rgb) in rows.chunks_exact_mut(width * 3).enumerate() {
                let (frame, row) = ((first + index) / height, (first + index) % height);
                let picture = &self.x[frame * i420_len(self.size)..][..i420_len(self.size)];
                let (luma, chroma) = picture.split_at(height * width);
                let (u, v) = chroma.split_at(half[0] * half[1]);
                let luma = &luma[row * width..][..width];
                let [u, v] = [u, v].map(|plane| &plane[row / 2 * half[1]..][..half[1]]);
                for (((pixels, luma), &u), &v) in rgb.chunks_mut(6).zip(luma.chunks(2)).zip(u).zip(v) {
                    let (d, e) = (i32::from(u) - 128, i32::from(v) - 128);
                    let shares = [409 * e + 128, -100 * d - 208 * e + 128, 516 * d + 128];
                    for (pixel, &luma) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(luma) {
                        let c = 298 * (i32::from(luma) - 16);
                        *pixel = shares.map(|share| ((c + share) >> 8).clamp(0, 255) as u8);
                    }
                }
            }
        }
    }
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 2 && shape[1] == i420_len(size) && shape[1] > 0,
        OP,
        "{shape} for pictures of {size:?}"
    );
    let out_shape = shape_of(OP, &[shape[0], size[0], size[1], 3])?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.rgb_from_i420(OP, x, out_shape);
    }
    let cpu = x.device().cpu(OP)?;
    let kernel = Kernel { x: x.u8s(OP)?, size };
    Tensor::from_u8_fn(&cpu, out_shape, |out| cpu.for_rows(out, size[1] * 3, 15 * size[1], &kernel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::ops::to_bytes;

    #[test]
    fn colours_are_those_of_bt_601() {
        // Rec. ITU-R BT.601-7, 8-bit limited range.
        let device = Cpu::new(None).unwrap().into();
        for (rgb, yuv) in [
            ([1.0, 1.0, 1.0], [235, 128, 128]),
            ([0.0, 0.0, 0.0], [16, 128, 128]),
            ([1.0, 0.0, 0.0], [82, 90, 240]),
            ([0.0, 1.0, 0.0], [145, 54, 34]),
            ([0.0, 0.0, 1.0], [41, 240, 110]),
        ] {
            let x = Tensor::from_f32(&device, &[1, 1, 1, 3], &rgb).unwrap();
            let bytes = to_i420(&x, 255.0, 0.5).unwrap().into_vec().unwrap();
            assert!(bytes.iter().zip(yuv).all(|(a, b)| a.abs_diff(b) <= 1), "{rgb:?}: {bytes:?}");
            let bytes = Tensor::from_u8(&device, &[1, 3], &bytes).unwrap();
            let back = rgb_from_i420(&bytes, [1, 1]).unwrap().to_vec();
            assert!(back.iter().zip(rgb).all(|(a, b)| (a - b * 255.0).abs() <= 3.0), "{rgb:?}: {back:?}");
        }
    }

    /// The formula, pixel by pixel.
    fn expected(rgb: &[u8], [height, width]: [usize; 2]) -> Vec<u8> {
        let at = |y: usize, x: usize, c: usize| {
            i32::from(rgb[(y.min(height - 1) * width + x.min(width - 1)) * 3 + c])
        };
        let [mut luma, mut u, mut v] = [const { Vec::new() }; 3];
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let [r, g, b] = [0, 1, 2].map(|c| at(y, x, c));
            luma.push((((66 * r + 129 * g + 25 * b + 128) >> 8) + 16) as u8);
            if y % 2 == 0 && x % 2 == 0 {
                let [r, g, b] = [0, 1, 2].map(|c| {
                    (at(y, x, c) + at(y, x + 1, c) + at(y + 1, x, c) + at(y + 1, x + 1, c) + 2) >> 2
                });
                u.push((((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128) as u8);
                v.push((((112 * r - 94 * g - 18 * b + 128) >> 8) + 128) as u8);
            }
        }
        [luma, u, v].concat()
    }

    #[test]
    fn sizes_odd_and_large_are_those_of_the_bytes_on_any_number_of_threads() {
        for threads in [1, 3] {
            let device = Cpu::new(std::num::NonZeroUsize::new(threads)).unwrap().into();
            for size in [[1, 1], [1, 7], [6, 1], [3, 65], [4, 64], [5, 129], [2, 128], [301, 403]] {
                let [frames, count] = [2, size[0] * size[1] * 3];
                // Beyond both ends as well; one value is no number.
                let mut values: Vec<f32> =
                    (0..frames * count).map(|i| (i * 7919 % 641) as f32 / 256.0 - 1.25).collect();
                values[count / 2] = f32::NAN;
                let x = Tensor::from_f32(&device, &[frames, size[0], size[1], 3], &values).unwrap();
                let bytes = to_bytes(&x, 127.5, 128.0).unwrap().into_vec().unwrap();
                let expected: Vec<u8> =
                    bytes.chunks(count).flat_map(|picture| expected(picture, size)).collect();
                assert_eq!(to_i420(&x, 127.5, 128.0).unwrap().into_vec().unwrap(), expected, "{size:?}");
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let device = Cpu::new(None).unwrap().into();
        let x = Tensor::zeros(&device, &[1, 4, 4, 1]).unwrap();
        assert!(to_i420(&x, 1.0, 0.0).is_err(), "one channel");
        let none = Tensor::zeros(&device, &[0, 4, 4, 3]).unwrap();
        assert!(to_i420(&none, 1.0, 0.0).unwrap().into_vec().unwrap().is_empty());
        let bytes = Tensor::from_u8(&device, &[1, 24], &[128; 24]).unwrap();
        assert!(to_i420(&bytes.reshape(&[1, 2, 4, 3]).unwrap(), 1.0, 0.0).is_err(), "bytes already");
        assert!(rgb_from_i420(&bytes, [4, 4]).is_ok());
        assert!(rgb_from_i420(&bytes, [4, 5]).is_err());
        assert!(rgb_from_i420(&bytes, [0, 0]).is_err());
        assert!(rgb_from_i420(&x.reshape(&[1, 16]).unwrap(), [2, 5]).is_err(), "numbers");
    }
}
