//! Numbers to picture values, and the difference of pictures.

use crate::{
    Device, Result, Tensor,
    cpu::{RowKernel, math},
    cuda::Download,
    error::ensure_shape,
};

/// `scale · x + shift`, held between `low` and `high`; written over `x` where nobody else holds it.
///
/// # Errors
/// [`crate::Error::DType`] unless `x` is `f32`.
pub fn affine_clamped(mut x: Tensor, scale: f32, shift: f32, [low, high]: [f32; 2]) -> Result<Tensor> {
    const OP: &str = "clamped affine map";
    struct Kernel {
        scale: f32,
        shift: f32,
        low: f32,
        high: f32,
    }
    impl RowKernel<f32> for Kernel {
        #[inline(always)]
        fn run(&self, _: usize, rows: &mut [f32]) {
            for x in rows {
                *x = math::min(math::max(x.mul_add(self.scale, self.shift), self.low), self.high);
            }
        }
    }
    if let Device::Cuda(cuda) = x.device() {
        return cuda.affine_clamped(OP, &x, [scale, shift], [low, high]);
    }
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(x.f32s_mut(OP)?, 1, 4, &Kernel { scale, shift, low, high });
    Ok(x)
}

/// Bytes that are on their way to host memory, or there.
#[must_use = "they come only to those who wait"]
pub struct PendingBytes(Way);

enum Way {
    There(Vec<u8>),
    FromGpu(Download),
}

impl PendingBytes {
    pub(super) const fn there(bytes: Vec<u8>) -> Self {
        Self(Way::There(bytes))
    }

    pub(super) const fn from_gpu(download: Download) -> Self {
        Self(Way::FromGpu(download))
    }

    /// The bytes, once everything that they were made from is done.
    ///
    /// # Errors
    /// [`crate::Error::Gpu`] when something of it failed.
    pub fn wait(&self) -> Result<&[u8]> {
        match &self.0 {
            Way::There(bytes) => Ok(bytes),
            Way::FromGpu(download) => download.wait(),
        }
    }

    /// The same as bytes of the caller's own.
    ///
    /// # Errors
    /// As [`PendingBytes::wait`].
    pub fn into_vec(self) -> Result<Vec<u8>> {
        match self.0 {
            Way::There(bytes) => Ok(bytes),
            Way::FromGpu(download) => download.wait().map(<[u8]>::to_vec),
        }
    }
}

impl std::fmt::Debug for PendingBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingBytes")
    }
}

/// `scale · x + shift` as bytes in host memory: held between 0 and 255, then truncated; NaN is 0. On a GPU this returns at
/// once, and what is begun meanwhile runs behind it.
///
/// # Errors
/// [`crate::Error::DType`] unless `x` is `f32`.
pub fn to_bytes(x: &Tensor, scale: f32, shift: f32) -> Result<PendingBytes> {
    const OP: &str = "conversion to bytes";
    struct Kernel<'a> {
        x: &'a [f32],
        scale: f32,
        shift: f32,
    }
    impl RowKernel<u8> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [u8]) {
            for (out, &x) in rows.iter_mut().zip(&self.x[first..]) {
                // The cast saturates and truncates.
                *out = x.mul_add(self.scale, self.shift) as u8;
            }
        }
    }
    if let Device::Cuda(cuda) = x.device() {
        return cuda.to_bytes(OP, x, scale, shift).map(PendingBytes::from_gpu);
    }
    let mut out = vec![0; x.shape().numel()];
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(&mut out, 1, 4, &Kernel { x: x.f32s(OP)?, scale, shift });
    Ok(PendingBytes::there(out))
}

/// For each entry of the outermost dimension, the mean over its elements of `(x - y)²`.
///
/// # Errors
/// [`crate::Error::Shape`] when the shapes differ or hold no element.
pub fn mean_square_difference(x: &Tensor, y: &Tensor) -> Result<Vec<f32>> {
    /// Elements whose sum is taken in `f32`; the sums of such runs are added in `f64`.
    const RUN: usize = 4096;
    struct Kernel<'a> {
        x: &'a [f32],
        y: &'a [f32],
        len: usize,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            for (index, out) in rows.iter_mut().enumerate() {
                let range = (first + index) * self.len..(first + index + 1) * self.len;
                let (x, y) = (&self.x[range.clone()], &self.y[range]);
                let mut differences = [0.0; RUN];
                let mut sum = 0.0;
                for (x, y) in x.chunks(RUN).zip(y.chunks(RUN)) {
                    for ((difference, x), y) in differences.iter_mut().zip(x).zip(y) {
                        *difference = x - y;
                    }
                    sum += f64::from(math::sum(&differences[..x.len()], |v| v * v));
                }
                *out = (sum / self.len as f64) as f32;
            }
        }
    }
    const OP: &str = "mean square difference";
    ensure_shape!(
        x.shape() == y.shape() && x.shape().numel() > 0,
        OP,
        "between {} and {}",
        x.shape(),
        y.shape()
    );
    if let Device::Cuda(cuda) = x.device() {
        return cuda.mean_square_difference(OP, x, y);
    }
    let entries = x.dim(0);
    let len = x.shape().numel() / entries;
    let mut out = vec![0.0; entries];
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(&mut out, 1, 4 * len, &Kernel { x: x.f32s(OP)?, y: y.f32s(OP)?, len });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    fn tensor(shape: &[usize], f: impl Fn(usize) -> f32) -> Tensor {
        let device = Cpu::new(None).unwrap().into();
        let values: Vec<f32> = (0..shape.iter().product()).map(f).collect();
        Tensor::from_f32(&device, shape, &values).unwrap()
    }

    #[test]
    fn clamping_leaves_other_holders_their_values() {
        let x = tensor(&[5], |i| i as f32);
        let y = affine_clamped(x.clone(), 2.0, -1.0, [0.0, 6.0]).unwrap();
        assert_eq!(y.to_vec(), [0.0, 1.0, 3.0, 5.0, 6.0]);
        assert_eq!(x.to_vec(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn bytes_truncate_and_saturate() {
        let x = tensor(&[4], |i| [-0.5, 0.999, 1.5, f32::NAN][i]);
        assert_eq!(to_bytes(&x, 255.0, 0.0).unwrap().wait().unwrap(), [0, 254, 255, 0]);
        let large = tensor(&[700, 1000], |i| (i % 256) as f32);
        let bytes = to_bytes(&large, 1.0, 0.0).unwrap().into_vec().unwrap();
        assert!(bytes.iter().enumerate().all(|(i, &byte)| usize::from(byte) == i % 256));
    }

    #[test]
    fn differences_are_averaged_entry_by_entry() {
        let x = tensor(&[3, 4, 2500], |i| (i / 10_000) as f32);
        let y = tensor(&[3, 4, 2500], |_| 0.0);
        assert_eq!(mean_square_difference(&x, &y).unwrap(), [0.0, 1.0, 4.0]);
        assert!(mean_square_difference(&x, &x.narrow(0, 2).unwrap()).is_err());
        assert!(mean_square_difference(&x.narrow(0, 0).unwrap(), &y.narrow(0, 0).unwrap()).is_err());
    }
}
