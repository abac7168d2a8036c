//! Pictures in larger frames.

use crate::{Device, Result, Tensor, cpu::RowKernel, error::ensure_shape, tensor::shape_of};

/// Pictures `[frames, height, width, channels]` continued with zeros at the bottom and the right to `[height, width]`.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` is no such pictures or larger already.
pub fn pad(x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "padding";
    struct Kernel<'a> {
        x: &'a [f32],
        height: usize,
        source_height: usize,
        source_row: usize,
        row: usize,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            for (index, row) in rows.chunks_exact_mut(self.row).enumerate() {
                let (frame, y) = ((first + index) / self.height, (first + index) % self.height);
                let kept = if y < self.source_height { self.source_row } else { 0 };
                let start = (frame * self.source_height + y) * self.source_row;
                let (inside, outside) = row.split_at_mut(kept);
                if kept > 0 {
                    inside.copy_from_slice(&self.x[start..start + kept]);
                }
                outside.fill(0.0);
            }
        }
    }
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 4 && shape[1] <= height && shape[2] <= width,
        OP,
        "{shape} to {height} × {width} pixels"
    );
    if shape[1..3] == [height, width] {
        return Ok(x.clone());
    }
    if let Device::Cuda(cuda) = x.device() {
        return cuda.window(OP, x, [0, 0], [height, width]);
    }
    let channels = shape[3];
    let mut out = Tensor::empty(&x.device(), shape_of(OP, &[shape[0], height, width, channels])?)?;
    let row = width * channels;
    let kernel =
        Kernel { x: x.f32s(OP)?, height, source_height: shape[1], source_row: shape[2] * channels, row };
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(out.f32s_mut(OP)?, row, row, &kernel);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn pictures_are_continued_at_the_bottom_and_the_right() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let x = Tensor::from_f32(&device, &[2, 1, 2, 1], &[1.0, 2.0, 3.0, 4.0]).expect("pictures");
        let padded = pad(&x, [2, 3]).expect("pictures");
        assert_eq!(padded.to_vec(), [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(pad(&x, [2, 1]).is_err());
    }
}
