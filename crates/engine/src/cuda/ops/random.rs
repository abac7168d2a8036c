use super::RANDOM;
use crate::{
    DType, Result, Shape, Tensor,
    cuda::{
        Cost, Cuda,
        launch::{Grid, launch},
    },
};

impl Cuda {
    /// Normal numbers from block `first` of a seed on, in `f32`: those that the CPU makes.
    pub(crate) fn normal(&self, op: &'static str, shape: Shape, seed: u64, first: u64) -> Result<Tensor> {
        let out = self.empty_of(DType::F32, shape)?;
        let count = shape.numel();
        if count > 0 {
            let target = self.address(op, &out)?;
            let arguments = (count as i64, seed.cast_signed(), first.cast_signed());
            launch!(
                self,
                RANDOM,
                "normal",
                Grid::over(count.div_ceil(4)),
                [target, arguments.0, arguments.1, arguments.2],
                Cost::moving([&out])
            )?;
        }
        Ok(out)
    }
}
