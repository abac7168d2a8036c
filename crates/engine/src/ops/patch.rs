//! Pictures to tokens and back: a token is a square of pixels, row by row, channels innermost.

use crate::{Device, Result, Tensor, cpu::RowKernel, error::ensure_shape, tensor::shape_of};

/// Turns `[frames, height, width, channels]` into `[frames · height/size · width/size, size · size · channels]`.
///
/// # Errors
/// [`crate::Error::Shape`] unless `x` has four dimensions and height and width are multiples of `size`.
pub fn patchify(x: &Tensor, size: usize) -> Result<Tensor> {
    const OP: &str = "patchify";
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 4 && size > 0 && shape[1].is_multiple_of(size) && shape[2].is_multiple_of(size),
        OP,
        "{shape} in patches of {size}"
    );
    let layout = Layout { rows: shape[1] / size, columns: shape[2] / size, size, channels: shape[3] };
    let tokens = shape_of(OP, &[shape[0] * layout.rows * layout.columns, layout.token()])?;
    if let Device::Cuda(cuda) = x.device() {
        return cuda.patches(
            OP,
            x,
            tokens,
            [shape[0] * layout.rows, layout.columns, size, size * shape[3]],
            true,
        );
    }
    let mut out = Tensor::empty(&x.device(), tokens)?;
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(out.f32s_mut(OP)?, layout.token(), layout.token(), &ToTokens { x: x.f32s(OP)?, layout });
    Ok(out)
}

/// The reverse of [`patchify`]: `tokens` become pictures of `shape`, `[frames, height, width, channels]`.
///
/// # Errors
/// [`crate::Error::Shape`] when the tokens don't fill the pictures.
pub fn unpatchify(tokens: &Tensor, size: usize, shape: [usize; 4]) -> Result<Tensor> {
    const OP: &str = "unpatchify";
    let [frames, height, width, channels] = shape;
    let layout = Layout { rows: height / size.max(1), columns: width / size.max(1), size, channels };
    ensure_shape!(
        size > 0
            && height.is_multiple_of(size)
            && width.is_multiple_of(size)
            && tokens.shape()[..] == [frames * layout.rows * layout.columns, layout.token()],
        OP,
        "tokens {} for {shape:?} in patches of {size}",
        tokens.shape()
    );
    if let Device::Cuda(cuda) = tokens.device() {
        return cuda.patches(
            OP,
            tokens,
            shape_of(OP, &shape)?,
            [frames * layout.rows, layout.columns, size, size * channels],
            false,
        );
    }
    let mut out = Tensor::empty(&tokens.device(), shape_of(OP, &shape)?)?;
    let cpu = tokens.device().cpu(OP)?;
    let row = width * channels;
    cpu.for_rows(out.f32s_mut(OP)?, row, row, &ToPixels { tokens: tokens.f32s(OP)?, layout });
    Ok(out)
}

/// The part of pictures `[frames, height, width, channels]` of `[height, width]` that begins at row and column `from`.
///
/// # Errors
/// [`crate::Error::Shape`] when it does not lie in the pictures.
pub fn crop(x: &Tensor, from: [usize; 2], size: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "crop";
    struct Kernel<'a> {
        x: &'a [f32],
        from: [usize; 2],
        height: usize,
        old_height: usize,
        old_row: usize,
        channels: usize,
        row: usize,
    }
    impl RowKernel<f32> for Kernel<'_> {
        #[inline(always)]
        fn run(&self, first: usize, rows: &mut [f32]) {
            for (index, row) in rows.chunks_exact_mut(self.row).enumerate() {
                let (frame, y) = ((first + index) / self.height, (first + index) % self.height);
                let old = (frame * self.old_height + self.from[0] + y) * self.old_row
                    + self.from[1] * self.channels;
                row.copy_from_slice(&self.x[old..old + self.row]);
            }
        }
    }
    let shape = x.shape();
    let inside = |axis: usize| {
        from[axis].checked_add(size[axis]).is_some_and(|end| end <= x.dim(1 + axis) && size[axis] > 0)
    };
    ensure_shape!(shape.len() == 4 && inside(0) && inside(1), OP, "{size:?} from {from:?} on of {shape}");
    if let Device::Cuda(cuda) = x.device() {
        return cuda.window(OP, x, from, size);
    }
    let channels = shape[3];
    let row = size[1] * channels;
    let mut out = Tensor::empty(&x.device(), shape_of(OP, &[shape[0], size[0], size[1], channels])?)?;
    let cpu = x.device().cpu(OP)?;
    let kernel = Kernel {
        x: x.f32s(OP)?,
        from,
        height: size[0],
        old_height: shape[1],
        old_row: shape[2] * channels,
        channels,
        row,
    };
    cpu.for_rows(out.f32s_mut(OP)?, row, row, &kernel);
    Ok(out)
}

#[derive(Clone, Copy)]
struct Layout {
    /// Rows of tokens.
    rows: usize,
    /// Tokens of a row.
    columns: usize,
    size: usize,
    channels: usize,
}

impl Layout {
    fn token(self) -> usize {
        self.size * self.size * self.channels
    }
}

struct ToTokens<'a> {
    x: &'a [f32],
    layout: Layout,
}

impl RowKernel<f32> for ToTokens<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let Layout { columns, size, channels, .. } = self.layout;
        let run = size * channels;
        for (index, token) in rows.chunks_exact_mut(self.layout.token()).enumerate() {
            // Rows of tokens count through all frames, and so do rows of pixels.
            let (row, column) = ((first + index) / columns, (first + index) % columns);
            for (y, pixels) in token.chunks_exact_mut(run).enumerate() {
                let at = (row * size + y) * columns * run + column * run;
                pixels.copy_from_slice(&self.x[at..at + run]);
            }
        }
    }
}

struct ToPixels<'a> {
    tokens: &'a [f32],
    layout: Layout,
}

impl RowKernel<f32> for ToPixels<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let Layout { columns, size, channels, .. } = self.layout;
        let run = size * channels;
        for (index, pixels) in rows.chunks_exact_mut(columns * run).enumerate() {
            let (row, y) = ((first + index) / size, (first + index) % size);
            for (column, pixels) in pixels.chunks_exact_mut(run).enumerate() {
                let at = (row * columns + column) * self.layout.token() + y * run;
                pixels.copy_from_slice(&self.tokens[at..at + run]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn a_crop_keeps_rows_and_columns_in_place() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let data: Vec<f32> = (0..2 * 3 * 4).map(|i| i as f32).collect();
        let x = Tensor::from_f32(&device, &[2, 3, 4, 1], &data).expect("x");
        assert_eq!(
            crop(&x, [1, 2], [2, 2]).expect("inside").to_vec(),
            [6.0, 7.0, 10.0, 11.0, 18.0, 19.0, 22.0, 23.0]
        );
        assert!(crop(&x, [2, 0], [2, 2]).is_err());
        assert!(crop(&x, [usize::MAX, 0], [2, 2]).is_err());
    }

    #[test]
    fn tokens_hold_their_square_row_by_row_and_go_back() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let data: Vec<f32> = (0..2 * 4 * 6 * 3).map(|i| i as f32).collect();
        let x = Tensor::from_f32(&device, &[2, 4, 6, 3], &data).expect("x");
        let tokens = patchify(&x, 2).expect("tokens");
        assert_eq!(tokens.shape()[..], [12, 12]);
        // Token (frame 1, row 1, column 2): pixels (2, 4), (2, 5), (3, 4), (3, 5) of the second frame.
        let pixel = |y: usize, x: usize| ((24 + y * 6 + x) * 3) as f32;
        let token = &tokens.to_vec()[11 * 12..];
        assert_eq!(
            [token[0], token[3], token[6], token[9]],
            [pixel(2, 4), pixel(2, 5), pixel(3, 4), pixel(3, 5)]
        );
        assert_eq!(unpatchify(&tokens, 2, [2, 4, 6, 3]).expect("pixels").to_vec(), data);
        assert!(patchify(&x, 5).is_err());
        assert!(unpatchify(&tokens, 2, [2, 4, 8, 3]).is_err());
    }
}
