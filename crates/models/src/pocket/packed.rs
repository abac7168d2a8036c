//! Weights of one byte each.

use crate::{
    checkpoint::{Checkpoint, FileDType, shown},
    weights::{TensorSource, WeightError},
};

/// What the name of a tensor of scales ends with.
const SCALE: &str = ".scale";

/// The tensors of one network in any number of files. A tensor `name` of signed bytes has a tensor `name.scale` beside it,
/// one factor for each of its outermost rows; others are as they are.
#[derive(Clone, Debug, Default)]
pub struct PackedWeights(Vec<Checkpoint>);

impl PackedWeights {
    /// The tensors of these files together.
    #[must_use]
    pub fn new(parts: Vec<Checkpoint>) -> Self {
        Self(parts)
    }

    /// Is there no tensor?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Checkpoint::is_empty)
    }

    pub(super) fn push(&mut self, part: Checkpoint) {
        self.0.push(part);
    }
}

impl TensorSource for PackedWeights {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.iter().find_map(|part| part.shape(name))
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightError> {
        let missing = || WeightError::Missing(shown(name));
        let tensor = self.0.iter().find_map(|part| part.find(name)).ok_or_else(missing)?;
        let mut values = tensor.to_f32();
        if tensor.dtype() != FileDType::I8 {
            return Ok(values);
        }
        let unreadable =
            |reason: &str| WeightError::Unreadable { name: shown(name), reason: reason.to_owned() };
        let scale = self.0.iter().find_map(|part| part.find(&format!("{name}{SCALE}")));
        let scales = scale.ok_or_else(|| unreadable("its bytes have no scales beside them"))?.to_f32();
        let rows = tensor.shape().first().copied().unwrap_or(1);
        if scales.len() != rows || rows == 0 {
            return Err(unreadable("it has not one scale for each row"));
        }
        let row = (values.len() / rows).max(1);
        for (row, scale) in values.chunks_exact_mut(row).zip(scales) {
            row.iter_mut().for_each(|value| *value *= scale);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use safetensors::{Dtype, tensor::TensorView};

    use super::*;

    fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Checkpoint {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        Checkpoint::from_bytes("part.safetensors", bytes).unwrap()
    }

    #[test]
    fn bytes_are_multiplied_row_by_row_and_other_tensors_are_left_alone() {
        let scales: Vec<u8> = [0.5f32, 2.0].iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let weights = PackedWeights::new(vec![
            file(&[("w", Dtype::I8, &[2, 2], &[1, 255, 127, 128])]),
            file(&[("w.scale", Dtype::F32, &[2], &scales), ("b", Dtype::F32, &[1], &1.5f32.to_le_bytes())]),
        ]);
        assert_eq!(weights.shape("w").unwrap(), [2, 2]);
        assert_eq!(weights.read("w").unwrap(), [0.5, -0.5, 254.0, -256.0]);
        assert_eq!(weights.read("b").unwrap(), [1.5]);
        assert!(matches!(weights.read("c"), Err(WeightError::Missing(_))));
    }

    #[test]
    fn bytes_without_a_scale_for_each_row_are_refused() {
        let one = 1f32.to_le_bytes();
        for parts in [
            vec![file(&[("w", Dtype::I8, &[2], &[1, 2])])],
            vec![file(&[("w", Dtype::I8, &[2], &[1, 2]), ("w.scale", Dtype::F32, &[1], &one)])],
            vec![file(&[("w", Dtype::I8, &[0], &[]), ("w.scale", Dtype::F32, &[0], &[])])],
        ] {
            let read = PackedWeights::new(parts).read("w");
            assert!(matches!(read, Err(WeightError::Unreadable { .. })), "{read:?}");
        }
    }
}
