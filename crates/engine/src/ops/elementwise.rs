//! Operators on single elements. They write over their first operand where nobody else holds it.

use crate::{Device, Result, Tensor, cpu::RowKernel, error::ensure_shape, ops::Activation};

/// `activation(x)` for every element.
///
/// # Errors
/// [`crate::Error::DType`] unless `x` is `f32`.
pub fn activate(mut x: Tensor, activation: Activation) -> Result<Tensor> {
    const OP: &str = "activation";
    struct Kernel(crate::cpu::gemm::Activate);
    impl RowKernel<f32> for Kernel {
        #[inline(always)]
        fn run(&self, _: usize, rows: &mut [f32]) {
            self.0.apply(rows);
        }
    }
    if let Device::Cuda(cuda) = x.device() {
        return cuda.activate(OP, &x, activation);
    }
    if let Some(activate) = activation.on_cpu() {
        let cpu = x.device().cpu(OP)?;
        cpu.for_rows(x.f32s_mut(OP)?, 1, 20, &Kernel(activate));
    }
    Ok(x)
}

/// `x + y`, where `y` is repeated along the outer dimensions that it lacks: its elements number those of some of the
/// innermost dimensions of `x`.
///
/// # Errors
/// [`crate::Error::Shape`] when the elements of `x` are not a multiple of those of `y`.
pub fn add(x: Tensor, y: &Tensor) -> Result<Tensor> {
    mix(x, 1.0, y, 1.0)
}

/// `a · x + b · y`, with `y` repeated along the outer dimensions that it lacks, as in [`add`].
///
/// # Errors
/// [`crate::Error::Shape`] when the elements of `x` are not a multiple of those of `y`.
pub fn mix(mut x: Tensor, a: f32, y: &Tensor, b: f32) -> Result<Tensor> {
    const OP: &str = "sum";
    struct Kernel<'a> {
        y: &'a [f32],
        a: f32,
        b: f32,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, _: usize, rows: &mut [f32]) {
            for row in rows.chunks_exact_mut(self.y.len()) {
                for (x, &y) in row.iter_mut().zip(self.y) {
                    *x = self.a.mul_add(*x, self.b * y);
                }
            }
        }
    }
    struct Same<'a>(Kernel<'a>);
    impl RowKernel<f32> for Same<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            for (x, &y) in rows.iter_mut().zip(&self.0.y[first..]) {
                *x = self.0.a.mul_add(*x, self.0.b * y);
            }
        }
    }
    let (count, len) = (x.shape().numel(), y.shape().numel());
    ensure_shape!(len > 0 && count.is_multiple_of(len), OP, "{} and {}", x.shape(), y.shape());
    if let Device::Cuda(cuda) = x.device() {
        return cuda.mix(OP, &x, a, y, b);
    }
    let cpu = x.device().cpu(OP)?;
    let kernel = Kernel { y: y.f32s(OP)?, a, b };
    let target = x.f32s_mut(OP)?;
    if len == count {
        cpu.for_rows(target, 1, 4, &Same(kernel));
    } else {
        cpu.for_rows(target, len, 4 * len, &kernel);
    }
    Ok(x)
}

/// `a · x`.
///
/// # Errors
/// [`crate::Error::DType`] unless `x` is `f32`.
pub fn scale(mut x: Tensor, a: f32) -> Result<Tensor> {
    const OP: &str = "scale";
    struct Kernel(f32);
    impl RowKernel<f32> for Kernel {
        #[inline(always)]
        fn run(&self, _: usize, rows: &mut [f32]) {
            for x in rows {
                *x *= self.0;
            }
        }
    }
    if let Device::Cuda(cuda) = x.device() {
        return cuda.affine_clamped(OP, &x, [a, 0.0], [f32::NEG_INFINITY, f32::INFINITY]);
    }
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(x.f32s_mut(OP)?, 1, 4, &Kernel(a));
    Ok(x)
}

/// `x · y` element by element, with `y` repeated along the outer dimensions that it lacks, as in [`add`].
///
/// # Errors
/// [`crate::Error::Shape`] when the elements of `x` are not a multiple of those of `y`.
pub fn multiply(mut x: Tensor, y: &Tensor) -> Result<Tensor> {
    const OP: &str = "product";
    struct Kernel<'a>(&'a [f32]);
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            // Rows are single elements; `first` counts them through all repetitions.
            let mut at = first % self.0.len();
            let mut rows = rows;
            while !rows.is_empty() {
                let len = rows.len().min(self.0.len() - at);
                let (here, rest) = rows.split_at_mut(len);
                for (x, &y) in here.iter_mut().zip(&self.0[at..]) {
                    *x *= y;
                }
                (rows, at) = (rest, 0);
            }
        }
    }
    let (count, len) = (x.shape().numel(), y.shape().numel());
    ensure_shape!(len > 0 && count.is_multiple_of(len), OP, "{} and {}", x.shape(), y.shape());
    if let Device::Cuda(cuda) = x.device() {
        return cuda.multiply(OP, &x, y);
    }
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(x.f32s_mut(OP)?, 1, 4, &Kernel(y.f32s(OP)?));
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    fn tensor(device: &Device, shape: &[usize], data: &[f32]) -> Tensor {
        Tensor::from_f32(device, shape, data).expect("a tensor")
    }

    #[test]
    fn a_smaller_operand_is_repeated_and_shared_memory_stays() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let x = tensor(&device, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let y = tensor(&device, &[2], &[10.0, 20.0]);
        assert_eq!(add(x.clone(), &y).expect("sum").to_vec(), [11.0, 22.0, 13.0, 24.0]);
        assert_eq!(multiply(x.clone(), &y).expect("product").to_vec(), [10.0, 40.0, 30.0, 80.0]);
        assert_eq!(mix(x.clone(), 2.0, &x, -1.0).expect("mix").to_vec(), x.to_vec());
        assert_eq!(x.to_vec(), [1.0, 2.0, 3.0, 4.0]);
        assert!(add(y, &x).is_err());
    }

    #[test]
    fn large_operands_are_shared_among_threads_without_gaps() {
        let device = Device::from(Cpu::new(std::num::NonZero::new(2)).expect("threads"));
        let count = 999_999;
        let x = tensor(&device, &[count], &vec![1.0; count]);
        let ramp: Vec<f32> = (0..count).map(|i| (i % 1000) as f32).collect();
        let y = tensor(&device, &[count], &ramp);
        assert!(add(x.clone(), &y).expect("sum").to_vec().iter().zip(&ramp).all(|(sum, y)| *sum == y + 1.0));
        assert_eq!(multiply(x, &y).expect("product").to_vec(), ramp);
    }
}
