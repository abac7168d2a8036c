use super::{INSTANCE, activation_code};
use crate::{
    DType, Result, Tensor,
    cuda::{
        Cost, Cuda,
        launch::{Grid, launch},
    },
    ops::Activation,
    tensor::shape_of,
};

/// Pixels whose sums a block makes; as in the kernel.
const RUN: usize = 1024;

impl Cuda {
    /// Groups of channels of each picture to zero mean and unit variance, then weight, bias and activation.
    pub(crate) fn group_norm(
        &self,
        op: &'static str,
        x: &Tensor,
        groups: usize,
        affine: Option<(&Tensor, &Tensor)>,
        eps: f32,
        activation: Activation,
    ) -> Result<Tensor> {
        let x = self.activations(op, x)?;
        let shape = x.shape();
        let [frames, height, width, channels] = [shape[0], shape[1], shape[2], shape[3]];
        let pixels = height * width;
        let runs = pixels.div_ceil(RUN);
        let partial = self.empty_of(DType::F32, shape_of(op, &[frames, runs, groups, 3])?)?;
        let moments = self.empty_of(DType::F32, shape_of(op, &[frames, groups, 2])?)?;
        let out = self.empty(shape)?;
        let (source, target) = (self.address(op, &x)?, self.address(op, &out)?);
        let (sums, means) = (self.address(op, &partial)?, self.address(op, &moments)?);
        let grid =
            Grid { blocks: [runs as u32, groups as u32, frames as u32], threads: 256, shared_bytes: 0 };
        let [channels_i, groups_i] = [channels as i32, groups as i32];
        let (pixels_i, cost) = (pixels as i64, Cost::moving([&x]));
        launch!(self, INSTANCE, "statistics", grid, [source, sums, pixels_i, channels_i, groups_i], cost)?;
        let grid = Grid::over(frames * groups);
        launch!(self, INSTANCE, "combine", grid, [sums, means, runs as i32, groups_i, frames as i32, eps])?;
        let affine = match affine {
            None => None,
            Some((weight, bias)) => Some((self.singles(op, weight)?, self.singles(op, bias)?)),
        };
        let [weight, bias] = match &affine {
            None => [0, 0],
            Some((weight, bias)) => [self.address(op, weight)?, self.address(op, bias)?],
        };
        let (code, slope) = activation_code(activation);
        let count = shape.numel();
        launch!(
            self,
            INSTANCE,
            "apply",
            Grid::over(count),
            [source, target, means, weight, bias, count as i64, pixels_i, channels_i, groups_i, code, slope],
            Cost::moving([&x, &out])
        )?;
        Ok(out)
    }
}
