use super::RESAMPLE;
use crate::{
    DType, Result, Tensor,
    cuda::{
        Cost, Cuda,
        launch::{Argument, Grid, launch},
    },
    tensor::shape_of,
};

#[derive(Clone, Copy)]
#[repr(C)]
struct Sizes {
    source_height: i32,
    source_width: i32,
    height: i32,
    width: i32,
    channels: i32,
}

impl Argument for Sizes {}

impl Sizes {
    fn of(x: &Tensor, [height, width]: [usize; 2]) -> Self {
        let [source_height, source_width, channels] = [x.dim(1) as i32, x.dim(2) as i32, x.dim(3) as i32];
        Self { source_height, source_width, height: height as i32, width: width as i32, channels }
    }
}

/// Four source pixels of a target pixel and the share of each, as kernels read them.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct KernelTap {
    pub(crate) pixels: [i32; 4],
    pub(crate) shares: [f32; 4],
}

impl Cuda {
    fn resized(&self, op: &'static str, x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
        self.empty(shape_of(op, &[x.dim(0), height, width, x.dim(3)])?)
    }

    /// Pictures interpolated between four pixels each.
    pub(crate) fn resize(
        &self,
        op: &'static str,
        x: &Tensor,
        size: [usize; 2],
        corners: bool,
    ) -> Result<Tensor> {
        let x = self.activations(op, x)?;
        let out = self.resized(op, &x, size)?;
        let count = out.shape().numel();
        if count > 0 {
            let (source, target) = (self.address(op, &x)?, self.address(op, &out)?);
            let sizes = Sizes::of(&x, size);
            let grid = Grid::over(count);
            launch!(
                self,
                RESAMPLE,
                "resize",
                grid,
                [source, target, count as i64, sizes, i32::from(corners)],
                Cost::moving([&x, &out])
            )?;
        }
        Ok(out)
    }

    /// Pictures of bytes as numbers between two bounds, resized.
    pub(crate) fn resize_bytes(
        &self,
        op: &'static str,
        x: &Tensor,
        size: [usize; 2],
        [low, high]: [f32; 2],
    ) -> Result<Tensor> {
        let out = self.resized(op, x, size)?;
        let count = out.shape().numel();
        let source = self.address_of(op, DType::U8, x)?;
        if count > 0 {
            let target = self.address(op, &out)?;
            let sizes = Sizes::of(x, size);
            let grid = Grid::over(count);
            let (count, cost) = (count as i64, Cost::moving([x, &out]));
            launch!(self, RESAMPLE, "resize_bytes", grid, [source, target, count, sizes, low, high], cost)?;
        }
        Ok(out)
    }

    /// Pictures made of sixteen pixels each, with the taps of every row and column.
    pub(crate) fn resize_cubic(
        &self,
        op: &'static str,
        x: &Tensor,
        rows: &[KernelTap],
        columns: &[KernelTap],
    ) -> Result<Tensor> {
        let x = self.activations(op, x)?;
        let size = [rows.len(), columns.len()];
        let out = self.resized(op, &x, size)?;
        let count = out.shape().numel();
        let taps = |taps: &[KernelTap]| {
            let words: &[f32] = bytemuck::cast_slice(taps);
            Tensor::from_f32(&self.clone().into(), &[words.len()], words)
        };
        let (rows, columns) = (taps(rows)?, taps(columns)?);
        if count > 0 {
            let (source, target) = (self.address(op, &x)?, self.address(op, &out)?);
            let (down, across) = (self.address(op, &rows)?, self.address(op, &columns)?);
            let sizes = Sizes::of(&x, size);
            let grid = Grid::over(count);
            launch!(
                self,
                RESAMPLE,
                "resize_cubic",
                grid,
                [source, target, down, across, count as i64, sizes],
                Cost::moving([&x, &out])
            )?;
        }
        Ok(out)
    }

    /// Pixels fetched from where a flow points.
    pub(crate) fn warp(
        &self,
        op: &'static str,
        pictures: &Tensor,
        flow: &Tensor,
        channel: usize,
    ) -> Result<Tensor> {
        let pictures = self.activations(op, pictures)?;
        let flow = self.singles(op, flow)?;
        let out = self.empty(pictures.shape())?;
        let count = out.shape().numel();
        if count > 0 {
            let addresses = [self.address(op, &pictures)?, self.address(op, &flow)?, self.address(op, &out)?];
            let [height, width, channels, of_flow] =
                [pictures.dim(1), pictures.dim(2), pictures.dim(3), flow.dim(3)].map(|dim| dim as i32);
            launch!(
                self,
                RESAMPLE,
                "warp",
                Grid::over(count),
                [
                    addresses[0],
                    addresses[1],
                    addresses[2],
                    count as i64,
                    height,
                    width,
                    channels,
                    of_flow,
                    channel as i32
                ],
                Cost::moving([&pictures, &flow, &out])
            )?;
        }
        Ok(out)
    }
}
