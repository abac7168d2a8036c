use super::FLOW;
use crate::{
    DType, Error, Result, Shape, Tensor,
    cuda::{
        Cost, Cuda,
        launch::{Argument, Grid, launch},
    },
    tensor::shape_of,
};

/// Resolutions that a kernel takes; as in the source.
const MAX_LEVELS: usize = 8;

#[derive(Clone, Copy)]
#[repr(C)]
struct Levels {
    count: i32,
    padding: i32,
    pictures: [u64; MAX_LEVELS],
    heights: [i32; MAX_LEVELS],
    widths: [i32; MAX_LEVELS],
}

impl Argument for Levels {}

impl Cuda {
    /// Pictures at half the size.
    pub(crate) fn halve(&self, op: &'static str, x: &Tensor, shape: Shape) -> Result<Tensor> {
        let x = self.activations(op, x)?;
        let out = self.empty(shape)?;
        let count = shape.numel();
        if count > 0 {
            let (source, target) = (self.address(op, &x)?, self.address(op, &out)?);
            let sizes = [x.dim(1), x.dim(2), shape[1], shape[2], shape[3]].map(|size| size as i32);
            launch!(
                self,
                FLOW,
                "halve",
                Grid::over(count),
                [source, target, count as i64, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]],
                Cost::moving([&x, &out])
            )?;
        }
        Ok(out)
    }

    /// What pictures of several resolutions say of the surroundings of places.
    pub(crate) fn surroundings(
        &self,
        op: &'static str,
        levels: &[Tensor],
        flow: &Tensor,
        radius: usize,
    ) -> Result<Tensor> {
        if levels.len() > MAX_LEVELS {
            let detail = format!("{} levels; {MAX_LEVELS} are the most", levels.len());
            return Err(Error::Shape { op, detail });
        }
        let flow = self.singles(op, flow)?;
        let mut held = Vec::with_capacity(levels.len());
        let mut kernel = Levels {
            count: levels.len() as i32,
            padding: 0,
            pictures: [0; MAX_LEVELS],
            heights: [0; MAX_LEVELS],
            widths: [0; MAX_LEVELS],
        };
        for (index, level) in levels.iter().enumerate() {
            let level = self.activations(op, level)?;
            kernel.pictures[index] = self.address(op, &level)?;
            kernel.heights[index] = level.dim(1) as i32;
            kernel.widths[index] = level.dim(2) as i32;
            held.push(level);
        }
        let channels = levels.len() * (2 * radius + 1).pow(2);
        let out = self.empty(shape_of(op, &[1, flow.dim(1), flow.dim(2), channels])?)?;
        let count = out.shape().numel();
        if count > 0 {
            let (places, target) = (self.address(op, &flow)?, self.address(op, &out)?);
            let (width, radius) = (flow.dim(2) as i32, radius as i32);
            let grid = Grid::over(count);
            launch!(
                self,
                FLOW,
                "surroundings",
                grid,
                [kernel, places, target, count as i64, width, radius],
                Cost::moving(held.iter().chain([&flow, &out]))
            )?;
        }
        Ok(out)
    }

    /// Flow at several times its resolution, in `f32`.
    pub(crate) fn enlarge_flow(
        &self,
        op: &'static str,
        flow: &Tensor,
        mask: &Tensor,
        factor: usize,
    ) -> Result<Tensor> {
        let flow = self.singles(op, flow)?;
        let mask = self.activations(op, mask)?;
        let [height, width] = [flow.dim(1), flow.dim(2)];
        let out = self.empty_of(DType::F32, shape_of(op, &[1, height * factor, width * factor, 2])?)?;
        let count = out.shape().numel() / 2;
        if count > 0 {
            let addresses = [self.address(op, &flow)?, self.address(op, &mask)?, self.address(op, &out)?];
            let [height, width, factor] = [height, width, factor].map(|size| size as i32);
            launch!(
                self,
                FLOW,
                "enlarge_flow",
                Grid::over(count),
                [addresses[0], addresses[1], addresses[2], count as i64, height, width, factor],
                Cost::moving([&flow, &mask, &out])
            )?;
        }
        Ok(out)
    }
}
