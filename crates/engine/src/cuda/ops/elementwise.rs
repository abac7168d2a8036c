use super::{ELEMENTWISE, activation_code};
use crate::{
    DType, Result, Shape, Tensor,
    cuda::{
        Cost, Cuda, Download,
        launch::{Grid, launch},
        tensor::kernel_type,
    },
    ops::{Activation, i420_len},
    tensor::shape_of,
};

impl Cuda {
    pub(crate) fn activate(&self, op: &'static str, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let (code, slope) = activation_code(activation);
        if code == 0 {
            return Ok(x.clone());
        }
        let out = self.reuse(x)?;
        let count = x.shape().numel();
        if count > 0 {
            let (source, target) = (self.address(op, x)?, self.address(op, &out)?);
            let arguments = (count as i64, kernel_type(x.dtype()));
            launch!(
                self,
                ELEMENTWISE,
                "activate_all",
                Grid::over(count),
                [source, target, arguments.0, arguments.1, code, slope],
                Cost::moving([x, &out])
            )?;
        }
        Ok(out)
    }

    /// `a · x + b · y`, with `y` repeated.
    pub(crate) fn mix(&self, op: &'static str, x: &Tensor, a: f32, y: &Tensor, b: f32) -> Result<Tensor> {
        let out = self.reuse(x)?;
        let (count, y_count) = (x.shape().numel(), y.shape().numel());
        if count > 0 {
            let addresses = [self.address(op, x)?, self.address(op, y)?, self.address(op, &out)?];
            let counts = [count as i64, y_count as i64];
            let types = [kernel_type(x.dtype()), kernel_type(y.dtype())];
            launch!(
                self,
                ELEMENTWISE,
                "mix",
                Grid::over(count),
                [addresses[0], addresses[1], addresses[2], counts[0], counts[1], a, b, types[0], types[1]],
                Cost::moving([x, y, &out])
            )?;
        }
        Ok(out)
    }

    pub(crate) fn multiply(&self, op: &'static str, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let out = self.reuse(x)?;
        let (count, y_count) = (x.shape().numel(), y.shape().numel());
        if count > 0 {
            let addresses = [self.address(op, x)?, self.address(op, y)?, self.address(op, &out)?];
            let counts = [count as i64, y_count as i64];
            let types = [kernel_type(x.dtype()), kernel_type(y.dtype())];
            launch!(
                self,
                ELEMENTWISE,
                "multiply",
                Grid::over(count),
                [addresses[0], addresses[1], addresses[2], counts[0], counts[1], types[0], types[1]],
                Cost::moving([x, y, &out])
            )?;
        }
        Ok(out)
    }

    /// `scale · x + shift` between two bounds.
    pub(crate) fn affine_clamped(
        &self,
        op: &'static str,
        x: &Tensor,
        [scale, shift]: [f32; 2],
        [low, high]: [f32; 2],
    ) -> Result<Tensor> {
        let out = self.reuse(x)?;
        let count = x.shape().numel();
        if count > 0 {
            let addresses = [self.address(op, x)?, self.address(op, &out)?];
            launch!(
                self,
                ELEMENTWISE,
                "affine_clamped",
                Grid::over(count),
                [addresses[0], addresses[1], count as i64, kernel_type(x.dtype()), scale, shift, low, high],
                Cost::moving([x, &out])
            )?;
        }
        Ok(out)
    }

    /// `scale · x + shift` as bytes, on their way to host memory.
    pub(crate) fn to_bytes(&self, op: &'static str, x: &Tensor, scale: f32, shift: f32) -> Result<Download> {
        let bytes = self.empty_of(DType::U8, x.shape())?;
        let count = x.shape().numel();
        let addresses = [self.address(op, x)?, self.address(op, &bytes)?];
        if count > 0 {
            launch!(
                self,
                ELEMENTWISE,
                "to_bytes",
                Grid::over(count),
                [addresses[0], addresses[1], count as i64, kernel_type(x.dtype()), scale, shift],
                Cost::moving([x, &bytes])
            )?;
        }
        self.memory().begin_download(addresses[1], count)
    }

    /// Pictures in RGB as I420 bytes, on their way to host memory.
    pub(crate) fn to_i420(&self, op: &'static str, x: &Tensor, scale: f32, shift: f32) -> Result<Download> {
        let [frames, height, width] = [x.dim(0), x.dim(1), x.dim(2)];
        let bytes = self.empty_of(DType::U8, shape_of(op, &[frames, i420_len([height, width])])?)?;
        let count = frames * height.div_ceil(2) * width.div_ceil(2);
        let addresses = [self.address(op, x)?, self.address(op, &bytes)?];
        if count > 0 {
            let size = [height as i32, width as i32];
            launch!(
                self,
                ELEMENTWISE,
                "to_i420",
                Grid::over(count),
                [
                    addresses[0],
                    addresses[1],
                    count as i64,
                    size[0],
                    size[1],
                    kernel_type(x.dtype()),
                    scale,
                    shift
                ],
                Cost::moving([x, &bytes])
            )?;
        }
        self.memory().begin_download(addresses[1], bytes.shape().numel())
    }

    /// I420 bytes as pictures in RGB of this shape.
    pub(crate) fn rgb_from_i420(&self, op: &'static str, x: &Tensor, shape: Shape) -> Result<Tensor> {
        let out = self.empty_of(DType::U8, shape)?;
        let [frames, height, width] = [out.dim(0), out.dim(1), out.dim(2)];
        let count = frames * height.div_ceil(2) * width.div_ceil(2);
        let source = self.address_of(op, DType::U8, x)?;
        if count > 0 {
            let (target, size) = (self.address(op, &out)?, [height as i32, width as i32]);
            launch!(
                self,
                ELEMENTWISE,
                "rgb_from_i420",
                Grid::over(count),
                [source, target, count as i64, size[0], size[1]],
                Cost::moving([x, &out])
            )?;
        }
        Ok(out)
    }

    pub(crate) fn blend(&self, op: &'static str, x: &Tensor, y: &Tensor, share: &Tensor) -> Result<Tensor> {
        let out = self.empty_of(x.dtype(), x.shape())?;
        let shape = x.shape();
        let (count, channels) = (shape.numel(), shape.last().copied().unwrap_or(1));
        if count > 0 {
            let inputs = [self.address(op, x)?, self.address(op, y)?, self.address(op, share)?];
            let types = [x, y, share].map(|tensor| kernel_type(tensor.dtype()));
            let target = self.address(op, &out)?;
            launch!(
                self,
                ELEMENTWISE,
                "blend",
                Grid::over(count),
                [
                    inputs[0],
                    inputs[1],
                    inputs[2],
                    target,
                    count as i64,
                    channels as i32,
                    types[0],
                    types[1],
                    types[2]
                ],
                Cost::moving([x, y, share, &out])
            )?;
        }
        Ok(out)
    }

    pub(crate) fn masked(&self, op: &'static str, x: &Tensor, mask: &Tensor, white: bool) -> Result<Tensor> {
        let out = self.reuse(x)?;
        let shape = x.shape();
        let (count, channels) = (shape.numel(), shape.last().copied().unwrap_or(1));
        if count > 0 {
            let addresses = [self.address(op, x)?, self.address(op, mask)?, self.address(op, &out)?];
            let types = [kernel_type(x.dtype()), kernel_type(mask.dtype())];
            launch!(
                self,
                ELEMENTWISE,
                "masked",
                Grid::over(count),
                [
                    addresses[0],
                    addresses[1],
                    addresses[2],
                    count as i64,
                    channels as i32,
                    i32::from(white),
                    types[0],
                    types[1]
                ],
                Cost::moving([x, mask, &out])
            )?;
        }
        Ok(out)
    }

    pub(crate) fn mean_square_difference(
        &self,
        op: &'static str,
        x: &Tensor,
        y: &Tensor,
    ) -> Result<Vec<f32>> {
        /// A power of two: sums are halved.
        const THREADS: u32 = 256;
        /// Blocks for an entry.
        const SHARES: u32 = 64;
        let entries = x.dim(0);
        let out = self.empty_of(DType::F32, crate::tensor::shape_of(op, &[entries])?)?;
        // Numbers in f64, as pairs of another type.
        let parts =
            self.empty_of(DType::F32, crate::tensor::shape_of(op, &[entries, 2 * SHARES as usize])?)?;
        let [a, b, parts, mean] =
            [self.address(op, x)?, self.address(op, y)?, self.address(op, &parts)?, self.address(op, &out)?];
        let types = [kernel_type(x.dtype()), kernel_type(y.dtype())];
        let len = (x.shape().numel() / entries.max(1)) as i64;
        let each = Grid::blocks(entries, THREADS);
        let shares = Grid { blocks: [each.blocks[0], SHARES, 1], ..each };
        let cost = Cost::moving([x, y]);
        launch!(
            self,
            ELEMENTWISE,
            "square_differences",
            shares,
            [a, b, parts, len, types[0], types[1]],
            cost
        )?;
        launch!(self, ELEMENTWISE, "mean_of_parts", each, [parts, mean, len, SHARES as i32])?;
        self.to_vec(&out)
    }
}
