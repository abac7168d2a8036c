//! Channels of pictures: joining them, choosing among them, and keeping pixels by a mask.

use crate::{Device, Result, Tensor, cpu::RowKernel, error::ensure_shape};

/// Tensors that differ in their last dimension alone, joined along it.
///
/// # Errors
/// [`crate::Error::Shape`] when there is none or the other dimensions differ.
pub fn concat_channels(parts: &[&Tensor]) -> Result<Tensor> {
    const OP: &str = "channel concat";
    struct Kernel<'a> {
        x: &'a [f32],
        channels: usize,
        offset: usize,
        total: usize,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            let x = &self.x[first * self.channels..];
            for (pixel, x) in rows.chunks_exact_mut(self.total).zip(x.chunks_exact(self.channels)) {
                pixel[self.offset..self.offset + self.channels].copy_from_slice(x);
            }
        }
    }
    let Some(first) = parts.first().filter(|part| !part.shape().is_empty()) else {
        return Err(crate::Error::Shape { op: OP, detail: "nothing to join".to_owned() });
    };
    let mut shape = first.shape();
    let last = shape.len() - 1;
    let mut total = 0;
    for part in parts {
        let fits =
            part.shape().len() == last + 1 && part.shape()[..last] == shape[..last] && part.dim(last) > 0;
        ensure_shape!(fits, OP, "{} beside {shape}", part.shape());
        total += part.dim(last);
    }
    shape.set_last(total);
    if let Device::Cuda(cuda) = first.device() {
        return cuda.concat_channels(OP, parts, shape);
    }
    let mut joined = Tensor::empty(&first.device(), shape)?;
    let cpu = first.device().cpu(OP)?;
    let target = joined.f32s_mut(OP)?;
    let mut offset = 0;
    for part in parts {
        let channels = part.dim(last);
        cpu.for_rows(target, total, channels, &Kernel { x: part.f32s(OP)?, channels, offset, total });
        offset += channels;
    }
    Ok(joined)
}

/// Elements `start..start + count` of the innermost dimension.
///
/// # Errors
/// [`crate::Error::Shape`] when the range ends beyond the dimension.
pub fn take_channels(x: &Tensor, start: usize, count: usize) -> Result<Tensor> {
    const OP: &str = "choice of channels";
    struct Kernel<'a> {
        x: &'a [f32],
        channels: usize,
        start: usize,
        count: usize,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            let source = self.x[first * self.channels..].chunks_exact(self.channels);
            for (row, values) in rows.chunks_exact_mut(self.count).zip(source) {
                for (out, &value) in row.iter_mut().zip(&values[self.start..]) {
                    *out = value;
                }
            }
        }
    }
    let mut shape = x.shape();
    let channels = shape.last().copied().unwrap_or(0);
    ensure_shape!(
        start.checked_add(count).is_some_and(|end| end <= channels),
        OP,
        "channels {start}..{start}+{count} of {shape}"
    );
    shape.set_last(count);
    if let Device::Cuda(cuda) = x.device() {
        return cuda.take_channels(OP, x, start, shape);
    }
    let mut out = Tensor::empty(&x.device(), shape)?;
    let cpu = x.device().cpu(OP)?;
    let kernel = Kernel { x: x.f32s(OP)?, channels, start, count };
    cpu.for_rows(out.f32s_mut(OP)?, count, 2 * count, &kernel);
    Ok(out)
}

/// `x · share + y · (1 - share)` for pictures `x` and `y`, where `share` has one channel and their other dimensions.
///
/// # Errors
/// [`crate::Error::Shape`] when the shapes don't fit.
pub fn blend(x: &Tensor, y: &Tensor, share: &Tensor) -> Result<Tensor> {
    const OP: &str = "blend";
    struct Kernel<'a> {
        x: &'a [f32],
        y: &'a [f32],
        share: &'a [f32],
        channels: usize,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            let start = first * self.channels;
            let sources =
                self.x[start..].chunks_exact(self.channels).zip(self.y[start..].chunks_exact(self.channels));
            let pixels = rows.chunks_exact_mut(self.channels).zip(sources);
            for ((out, (x, y)), &share) in pixels.zip(&self.share[first..]) {
                for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
                    *out = (x - y).mul_add(share, y);
                }
            }
        }
    }
    let shape = x.shape();
    let mut expected = shape;
    expected.set_last(1);
    let channels = shape.last().copied().unwrap_or(0);
    ensure_shape!(
        y.shape() == shape && share.shape() == expected && channels > 0,
        OP,
        "{shape} and {} by {}",
        y.shape(),
        share.shape()
    );
    if let Device::Cuda(cuda) = x.device() {
        return cuda.blend(OP, x, y, share);
    }
    let mut out = Tensor::empty(&x.device(), shape)?;
    let cpu = x.device().cpu(OP)?;
    let kernel = Kernel { x: x.f32s(OP)?, y: y.f32s(OP)?, share: share.f32s(OP)?, channels };
    cpu.for_rows(out.f32s_mut(OP)?, channels, 3 * channels, &kernel);
    Ok(out)
}

/// The pixels of `x` where the mask is white (above 0.5) or, with `white` false, where it is black; zeros elsewhere. The
/// mask has one channel and the other dimensions of `x`.
///
/// # Errors
/// [`crate::Error::Shape`] when it has not.
pub fn masked(mut x: Tensor, mask: &Tensor, white: bool) -> Result<Tensor> {
    const OP: &str = "mask";
    struct Kernel<'a> {
        mask: &'a [f32],
        channels: usize,
        white: bool,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            for (pixel, &mask) in rows.chunks_exact_mut(self.channels).zip(&self.mask[first..]) {
                if (mask > 0.5) != self.white {
                    pixel.fill(0.0);
                }
            }
        }
    }
    let shape = x.shape();
    let last = shape.len().saturating_sub(1);
    let fits =
        mask.shape().len() == shape.len() && !shape.is_empty() && mask.dim(last) == 1 && shape[last] > 0;
    ensure_shape!(
        fits && mask.shape()[..last] == shape[..last],
        OP,
        "a mask of {} for {shape}",
        mask.shape()
    );
    if let Device::Cuda(cuda) = x.device() {
        return cuda.masked(OP, &x, mask, white);
    }
    let channels = shape[last];
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(x.f32s_mut(OP)?, channels, channels, &Kernel { mask: mask.f32s(OP)?, channels, white });
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn channels_are_joined_and_masked_pixel_by_pixel() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let tensor =
            |shape: &[usize], data: &[f32]| Tensor::from_f32(&device, shape, data).expect("a tensor");
        let a = tensor(&[2, 1], &[1.0, 2.0]);
        let b = tensor(&[2, 2], &[3.0, 4.0, 5.0, 6.0]);
        let joined = concat_channels(&[&a, &b]).expect("joined");
        assert_eq!(joined.to_vec(), [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
        let mask = tensor(&[2, 1], &[0.5, 0.6]);
        assert_eq!(masked(b.clone(), &mask, true).expect("masked").to_vec(), [0.0, 0.0, 5.0, 6.0]);
        assert_eq!(masked(b.clone(), &mask, false).expect("masked").to_vec(), [3.0, 4.0, 0.0, 0.0]);
        assert!(masked(b.clone(), &tensor(&[1, 1], &[0.0]), true).is_err());
        assert!(concat_channels(&[&a, &tensor(&[3, 1], &[0.0; 3])]).is_err());
        assert_eq!(take_channels(&joined, 1, 2).expect("channels").to_vec(), [3.0, 4.0, 5.0, 6.0]);
        assert!(take_channels(&joined, 2, 2).is_err());
        let share = tensor(&[2, 1], &[1.0, 0.25]);
        let other = tensor(&[2, 2], &[0.0, 0.0, 1.0, 2.0]);
        assert_eq!(blend(&b, &other, &share).expect("blended").to_vec(), [3.0, 4.0, 2.0, 3.0]);
        assert!(blend(&b, &other, &b).is_err());
    }
}
