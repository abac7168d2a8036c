//! Operators of optical flow: how much places in two pictures are alike, and flow at a higher resolution.

use crate::{
    Device, Result, Tensor,
    cpu::{RowKernel, math},
    error::ensure_shape,
    ops::{Activation, Linear, linear, scale},
    tensor::shape_of,
};

/// Pictures `[frames, height, width, channels]` at half the size: each pixel is the mean of four. The last row or column
/// of an odd number is left out.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` is no such pictures or has fewer than two rows or columns.
pub fn halve(x: &Tensor) -> Result<Tensor> {
    const OP: &str = "halving";
    struct Kernel<'a> {
        x: &'a [f32],
        source: [usize; 2],
        size: [usize; 2],
        channels: usize,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            let ([height, width], channels) = (self.size, self.channels);
            let row_len = self.source[1] * channels;
            for (index, row) in rows.chunks_exact_mut(width * channels).enumerate() {
                let (frame, y) = ((first + index) / height, (first + index) % height);
                let above = &self.x[(frame * self.source[0] + 2 * y) * row_len..][..2 * row_len];
                let (above, below) = above.split_at(row_len);
                let pairs = above.chunks_exact(2 * channels).zip(below.chunks_exact(2 * channels));
                for (out, (above, below)) in row.chunks_exact_mut(channels).zip(pairs) {
                    for (c, out) in out.iter_mut().enumerate() {
                        *out = 0.25 * ((above[c] + above[channels + c]) + (below[c] + below[channels + c]));
                    }
                }
            }
        }
    }
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 4 && shape[1] > 1 && shape[2] > 1 && shape[3] > 0,
        OP,
        "{shape} is not [frames, height, width, channels] of two pixels a side"
    );
    let (size, channels) = ([shape[1] / 2, shape[2] / 2], shape[3]);
    if let Device::Cuda(cuda) = x.device() {
        return cuda.halve(OP, x, shape_of(OP, &[shape[0], size[0], size[1], channels])?);
    }
    let mut out = Tensor::empty(&x.device(), shape_of(OP, &[shape[0], size[0], size[1], channels])?)?;
    let row = size[1] * channels;
    let cpu = x.device().cpu(OP)?;
    let kernel = Kernel { x: x.f32s(OP)?, source: [shape[1], shape[2]], size, channels };
    cpu.for_rows(out.f32s_mut(OP)?, row, 4 * row, &kernel);
    Ok(out)
}

/// The product of every pixel of `x` with every pixel of `y` over their channels, divided by the square root of their
/// number: `[1, h, w, channels]` and `[1, h', w', channels]` become `[h · w, h', w']` (Teed & Deng 2020, equation 1).
///
/// # Errors
/// [`crate::Error::Shape`] when they are not two such pictures.
pub fn correlation(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    const OP: &str = "correlation";
    let (shape, other) = (x.shape(), y.shape());
    let channels = x.dim(3);
    ensure_shape!(
        shape.len() == 4 && other.len() == 4 && shape[0] == 1 && other[0] == 1 && other[3] == channels,
        OP,
        "of {shape} and {other}"
    );
    let (pixels, others) = (shape[1] * shape[2], other[1] * other[2]);
    // One of the two is laid out as weights are.
    let layer = Linear::of(&y.reshape(&[others, channels])?)?;
    let scaled = scale(x.reshape(&[pixels, channels])?, 1.0 / (channels as f32).sqrt())?;
    linear(&scaled, &layer, Activation::None)?.reshape(&[pixels, other[1], other[2]])
}

/// What `levels` say of the surroundings of the places that `flow` leads to (Teed & Deng 2020, section 3.2).
///
/// `flow` is `[1, h, w, 2]`, pixels to the right and down. Each level is `[h · w, h', w']`: for each pixel a picture, that
/// of level `l` being `2^l` times smaller. For each pixel and level come the values at whole pixels' distance from
/// `(x + flow) / 2^l`, up to `radius` both ways, interpolated between four; beyond the edges there are zeros. The result
/// is `[1, h, w, levels · (2 · radius + 1)²]`, the distance to the right going before that down.
///
/// # Errors
/// [`crate::Error::Shape`] when a level has not as many pictures as the flow has pixels.
pub fn surroundings(levels: &[Tensor], flow: &Tensor, radius: usize) -> Result<Tensor> {
    const OP: &str = "surroundings";
    let shape = flow.shape();
    ensure_shape!(
        shape.len() == 4 && shape[0] == 1 && shape[3] == 2,
        OP,
        "of {shape}, not [1, height, width, 2]"
    );
    let mut pictures = Vec::with_capacity(levels.len());
    for level in levels {
        let fits = level.shape().len() == 3 && level.dim(0) == shape[1] * shape[2];
        ensure_shape!(
            fits && level.dim(1) > 0 && level.dim(2) > 0,
            OP,
            "{} for a flow {shape}",
            level.shape()
        );
    }
    if let Device::Cuda(cuda) = flow.device() {
        return cuda.surroundings(OP, levels, flow, radius);
    }
    for level in levels {
        pictures.push((level.f32s(OP)?, [level.dim(1), level.dim(2)]));
    }
    let channels = levels.len() * (2 * radius + 1).pow(2);
    let mut out = Tensor::empty(&flow.device(), shape_of(OP, &[1, shape[1], shape[2], channels])?)?;
    let cpu = flow.device().cpu(OP)?;
    let kernel =
        Surroundings { pictures: &pictures, flow: flow.f32s(OP)?, width: shape[2], radius, channels };
    cpu.for_rows(out.f32s_mut(OP)?, channels, 8 * channels, &kernel);
    Ok(out)
}

struct Surroundings<'a> {
    pictures: &'a [(&'a [f32], [usize; 2])],
    flow: &'a [f32],
    width: usize,
    radius: usize,
    channels: usize,
}

impl RowKernel<f32> for Surroundings<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let side = 2 * self.radius + 1;
        // One more both ways than there are results: each lies between four.
        let mut near = vec![0.0; (side + 1) * (side + 1)];
        for (index, out) in rows.chunks_exact_mut(self.channels).enumerate() {
            let pixel = first + index;
            let (x, y) = ((pixel % self.width) as f32, (pixel / self.width) as f32);
            let mut at = [x + self.flow[2 * pixel], y + self.flow[2 * pixel + 1]];
            for ((level, size), out) in self.pictures.iter().zip(out.chunks_exact_mut(side * side)) {
                let picture = &level[pixel * size[0] * size[1]..][..size[0] * size[1]];
                let (left, across) = corner(at[0], self.radius, size[1]);
                let (top, down) = corner(at[1], self.radius, size[0]);
                for (row, near) in near.chunks_exact_mut(side + 1).enumerate() {
                    let y = top + row as isize;
                    let line = usize::try_from(y).ok().filter(|y| *y < size[0]);
                    let line = line.map_or(&[][..], |y| &picture[y * size[1]..][..size[1]]);
                    for (column, near) in near.iter_mut().enumerate() {
                        let x = usize::try_from(left + column as isize).ok();
                        *near = x.and_then(|x| line.get(x)).copied().unwrap_or(0.0);
                    }
                }
                for (column, out) in out.chunks_exact_mut(side).enumerate() {
                    for (row, out) in out.iter_mut().enumerate() {
                        let near = |y: usize, x: usize| near[(row + y) * (side + 1) + column + x];
                        let above = (near(0, 1) - near(0, 0)).mul_add(across, near(0, 0));
                        let below = (near(1, 1) - near(1, 0)).mul_add(across, near(1, 0));
                        *out = (below - above).mul_add(down, above);
                    }
                }
                at = at.map(|at| at / 2.0);
            }
        }
    }
}

/// The first pixel of the surroundings of a place along one axis, and how far from it towards the next the first value
/// lies. Places from which no pixel can be seen are brought near.
#[inline(always)]
fn corner(at: f32, radius: usize, size: usize) -> (isize, f32) {
    let far = (radius + 2) as f32;
    // A comparison with NaN is false: it ends up outside.
    let at = math::min(math::max(at, -far), size as f32 + far);
    let low = at.floor();
    (low as isize - radius as isize, at - low)
}

/// Flow at `factor` times its resolution: each pixel is a mean of the nine around it, with the weights that softmax makes
/// of `mask` (Teed & Deng 2020, section 3.3). `flow` is `[1, h, w, 2]` in its own pixels, `mask` is `[1, h, w, 9 · factor²]`:
/// for each neighbour, row by row, a weight for each of the finer pixels. The result is in finer pixels; beyond the edges
/// nothing moves.
///
/// # Errors
/// [`crate::Error::Shape`] when the shapes are others.
pub fn enlarge_flow(flow: &Tensor, mask: &Tensor, factor: usize) -> Result<Tensor> {
    const OP: &str = "enlarging of flow";
    let (shape, weights) = (flow.shape(), mask.shape());
    ensure_shape!(
        shape.len() == 4
            && shape[0] == 1
            && shape[3] == 2
            && factor > 0
            && weights[..] == [1, shape[1], shape[2], NEIGHBOURS * factor * factor],
        OP,
        "{shape} by a mask {weights} to {factor} times the size"
    );
    let [height, width] = [shape[1], shape[2]];
    if let Device::Cuda(cuda) = flow.device() {
        return cuda.enlarge_flow(OP, flow, mask, factor);
    }
    let mut out = Tensor::empty(&flow.device(), shape_of(OP, &[1, height * factor, width * factor, 2])?)?;
    // A row of the kernel is one of coarse pixels.
    let row = factor * factor * width * 2;
    let cpu = flow.device().cpu(OP)?;
    let kernel = Enlarge { flow: flow.f32s(OP)?, mask: mask.f32s(OP)?, size: [height, width], factor };
    cpu.for_rows(out.f32s_mut(OP)?, row, 20 * NEIGHBOURS * row, &kernel);
    Ok(out)
}

const NEIGHBOURS: usize = 9;

struct Enlarge<'a> {
    flow: &'a [f32],
    mask: &'a [f32],
    size: [usize; 2],
    factor: usize,
}

impl RowKernel<f32> for Enlarge<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let ([height, width], factor) = (self.size, self.factor);
        let finer = factor * factor;
        let (mut weights, mut highest, mut total) =
            (vec![0.0; NEIGHBOURS * finer], vec![0.0; finer], vec![0.0; finer]);
        for (index, rows) in rows.chunks_exact_mut(finer * width * 2).enumerate() {
            let y = first + index;
            for x in 0..width {
                let mask = &self.mask[(y * width + x) * NEIGHBOURS * finer..][..NEIGHBOURS * finer];
                highest.copy_from_slice(&mask[..finer]);
                for mask in mask.chunks_exact(finer) {
                    for (highest, &mask) in highest.iter_mut().zip(mask) {
                        *highest = math::max(*highest, mask);
                    }
                }
                total.fill(0.0);
                for (weights, mask) in weights.chunks_exact_mut(finer).zip(mask.chunks_exact(finer)) {
                    for (((weight, &mask), &highest), total) in
                        weights.iter_mut().zip(mask).zip(&highest).zip(&mut total)
                    {
                        *weight = math::exp(mask - highest);
                        *total += *weight;
                    }
                }
                let vectors: [[f32; 2]; NEIGHBOURS] = std::array::from_fn(|neighbour| {
                    let (y, x) = (y + neighbour / 3, x + neighbour % 3);
                    if y == 0 || x == 0 || y > height || x > width {
                        return [0.0; 2];
                    }
                    let at = 2 * ((y - 1) * width + x - 1);
                    [self.flow[at], self.flow[at + 1]]
                });
                for (cell, total) in total.iter().enumerate() {
                    let mut sum = [0.0; 2];
                    for (vector, weights) in vectors.iter().zip(weights.chunks_exact(finer)) {
                        sum = [0, 1].map(|axis| vector[axis].mul_add(weights[cell], sum[axis]));
                    }
                    let at = 2 * ((cell / factor * width + x) * factor + cell % factor);
                    rows[at..at + 2].copy_from_slice(&sum.map(|sum| factor as f32 * sum / total));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Cpu;

    fn device() -> Device {
        Cpu::new(std::num::NonZero::new(2)).expect("threads").into()
    }

    fn noise(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|index| ((index + seed) * 7919 % 613) as f32 / 100.0 - 3.0).collect()
    }

    #[test]
    fn halves_are_means_of_four_without_what_is_left_over() {
        let values: Vec<f32> = (0..2 * 3 * 5 * 2).map(|value| value as f32).collect();
        let x = Tensor::from_f32(&device(), &[2, 3, 5, 2], &values).expect("pictures");
        let half = halve(&x).expect("halves");
        assert_eq!(half.shape()[..], [2, 1, 2, 2]);
        assert_eq!(half.to_vec(), [6.0, 7.0, 10.0, 11.0, 36.0, 37.0, 40.0, 41.0]);
        assert!(halve(&x.reshape(&[2, 1, 15, 2]).expect("lines")).is_err());
    }

    #[test]
    fn pixels_are_compared_with_all_others() {
        let (x, y) = (noise(6 * 4, 1), noise(10 * 4, 2));
        let first = Tensor::from_f32(&device(), &[1, 2, 3, 4], &x).expect("x");
        let second = Tensor::from_f32(&device(), &[1, 5, 2, 4], &y).expect("y");
        let all = correlation(&first, &second).expect("correlation");
        assert_eq!(all.shape()[..], [6, 5, 2]);
        for (index, got) in all.to_vec().into_iter().enumerate() {
            let (a, b) = (&x[index / 10 * 4..][..4], &y[index % 10 * 4..][..4]);
            let expected: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / 2.0;
            assert!((got - expected).abs() < 1e-4, "[{index}]: {got} for {expected}");
        }
        assert!(correlation(&first, &second.reshape(&[1, 4, 5, 2]).expect("other channels")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn surroundings_are_interpolated_and_zero_outside(
            (height, width) in (1usize..5, 1usize..6),
            sizes in prop::collection::vec((1usize..6, 1usize..6), 1..4),
            radius in 0usize..3,
            flows in prop::collection::vec(-9.0f32..9.0, 2 * 4 * 5),
        ) {
            let device = device();
            let pixels = height * width;
            let values: Vec<Vec<f32>> = sizes.iter().map(|&(h, w)| noise(pixels * h * w, h)).collect();
            let levels: Vec<Tensor> = sizes
                .iter()
                .zip(&values)
                .map(|(&(h, w), values)| Tensor::from_f32(&device, &[pixels, h, w], values).expect("a level"))
                .collect();
            let flow = Tensor::from_f32(&device, &[1, height, width, 2], &flows[..2 * pixels]).expect("flow");
            let got = surroundings(&levels, &flow, radius).expect("surroundings").to_vec();
            let side = 2 * radius + 1;
            for (index, got) in got.into_iter().enumerate() {
                let (offset, rest) = (index % (side * side), index / (side * side));
                let (level, pixel) = (rest % sizes.len(), rest / sizes.len());
                let (h, w) = sizes[level];
                let scale = f64::from(1u32 << level);
                let x = ((pixel % width) as f64 + f64::from(flows[2 * pixel])) / scale + (offset / side) as f64 - radius as f64;
                let y = ((pixel / width) as f64 + f64::from(flows[2 * pixel + 1])) / scale + (offset % side) as f64 - radius as f64;
                let at = |y: f64, x: f64| {
                    let inside = y >= 0.0 && x >= 0.0 && y < h as f64 && x < w as f64;
                    if inside { f64::from(values[level][(pixel * h + y as usize) * w + x as usize]) } else { 0.0 }
                };
                let (x0, y0) = (x.floor(), y.floor());
                let (u, v) = (x - x0, y - y0);
                let expected = (1.0 - v) * ((1.0 - u) * at(y0, x0) + u * at(y0, x0 + 1.0))
                    + v * ((1.0 - u) * at(y0 + 1.0, x0) + u * at(y0 + 1.0, x0 + 1.0));
                prop_assert!((f64::from(got) - expected).abs() < 1e-4, "[{}]: {} for {}", index, got, expected);
            }
        }
    }

    #[test]
    fn flow_that_leads_nowhere_sees_nothing() {
        let level = Tensor::from_f32(&device(), &[3, 2, 2], &[1.0; 12]).expect("a level");
        let flow = [f32::NAN, 0.0, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30];
        let flow = Tensor::from_f32(&device(), &[1, 1, 3, 2], &flow).expect("flow");
        let seen = surroundings(std::slice::from_ref(&level), &flow, 1).expect("surroundings");
        assert!(seen.to_vec().iter().all(|value| *value == 0.0), "{:?}", seen.to_vec());
        assert!(surroundings(&[level], &flow.reshape(&[1, 1, 1, 6]).expect("no flow"), 1).is_err());
    }

    #[test]
    fn enlarged_flow_is_a_mean_of_neighbours_in_finer_pixels() {
        let device = device();
        let (height, width, factor) = (2, 3, 2);
        let flow = noise(height * width * 2, 5);
        let mask = noise(height * width * NEIGHBOURS * factor * factor, 9);
        let flow_tensor = Tensor::from_f32(&device, &[1, height, width, 2], &flow).expect("flow");
        let mask_tensor = Tensor::from_f32(&device, &[1, height, width, 36], &mask).expect("a mask");
        let got = enlarge_flow(&flow_tensor, &mask_tensor, factor).expect("enlarged");
        assert_eq!(got.shape()[..], [1, 4, 6, 2]);
        for (index, got) in got.to_vec().into_iter().enumerate() {
            let (axis, x, y) = (index % 2, index / 2 % 6, index / 12);
            let weight = |neighbour: usize| {
                let cell = y % factor * factor + x % factor;
                let pixel = y / factor * width + x / factor;
                f64::from(mask[(pixel * NEIGHBOURS + neighbour) * factor * factor + cell]).exp()
            };
            let at = |neighbour: usize| {
                let (y, x) = (
                    (y / factor + neighbour / 3).checked_sub(1),
                    (x / factor + neighbour % 3).checked_sub(1),
                );
                match (y, x) {
                    (Some(y), Some(x)) if y < height && x < width => {
                        f64::from(flow[2 * (y * width + x) + axis])
                    }
                    _ => 0.0,
                }
            };
            let total: f64 = (0..NEIGHBOURS).map(weight).sum();
            let sum: f64 = (0..NEIGHBOURS).map(|neighbour| weight(neighbour) * at(neighbour)).sum();
            let expected = factor as f64 * sum / total;
            assert!((f64::from(got) - expected).abs() < 1e-5, "[{index}]: {got} for {expected}");
        }
        assert!(enlarge_flow(&flow_tensor, &mask_tensor, 3).is_err());
    }
}
