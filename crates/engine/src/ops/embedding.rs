//! Tables of vectors, looked up by number.

use std::sync::Arc;

use half::bf16;

use crate::{Device, Result, Tensor, convert::f32_from_f8e4m3, error::ensure_shape, ops::Weights};

/// A table of vectors. It stays in host memory on every device: of a text encoder's quarter of a million rows a
/// sentence needs a few, and they are copied over when they are looked up.
#[derive(Clone)]
pub struct Embedding {
    rows: usize,
    features: usize,
    table: Table,
    device: Device,
}

#[derive(Clone)]
enum Table {
    F32(Arc<[f32]>),
    Bf16(Arc<[bf16]>),
    F8E4M3(Arc<[u8]>),
}

impl Embedding {
    /// The table `[rows, features]`, whose vectors are used on `device`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the weights or their scales have another length.
    pub fn new(device: &Device, weights: Weights<'_>, [rows, features]: [usize; 2]) -> Result<Self> {
        ensure_shape!(
            rows.checked_mul(features) == Some(weights.len()),
            "embedding",
            "{} weights for {rows} rows of {features}",
            weights.len()
        );
        ensure_shape!(weights.has_scales(rows), "embedding", "not one scale for each of {rows} rows");
        let table = match weights {
            Weights::F32(values) => Table::F32(values.into()),
            Weights::Bf16(values) => Table::Bf16(values.into()),
            Weights::F8E4M3(values) => Table::F8E4M3(values.into()),
            Weights::Int8 { values, scales } => {
                let rows = values.chunks_exact(features.max(1)).zip(scales);
                Table::F32(
                    rows.flat_map(|(row, scale)| row.iter().map(move |&value| f32::from(value) * scale))
                        .collect(),
                )
            }
        };
        Ok(Self { rows, features, table, device: device.clone() })
    }

    /// Number of vectors.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a vector.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedding({} x {})", self.rows, self.features)
    }
}

/// The vectors of these numbers: `[ids, features]`.
///
/// # Errors
/// [`crate::Error::Shape`] when a number lies beyond the table.
pub fn embedding(table: &Embedding, ids: &[u32]) -> Result<Tensor> {
    const OP: &str = "embedding";
    let features = table.features;
    for &id in ids {
        ensure_shape!((id as usize) < table.rows, OP, "row {id} of a table of {} rows", table.rows);
    }
    Tensor::from_fn(&table.device, &[ids.len(), features], |rows| table.copy(ids, rows))
}

impl Embedding {
    /// The vectors of numbers that lie in the table, one after the other.
    fn copy(&self, ids: &[u32], rows: &mut [f32]) {
        let features = self.features;
        for (target, &id) in rows.chunks_exact_mut(features.max(1)).zip(ids) {
            let range = id as usize * features..(id as usize + 1) * features;
            match &self.table {
                Table::F32(values) => target.copy_from_slice(&values[range]),
                Table::Bf16(values) => {
                    for (target, value) in target.iter_mut().zip(&values[range]) {
                        *target = value.to_f32();
                    }
                }
                Table::F8E4M3(values) => {
                    for (target, &value) in target.iter_mut().zip(&values[range]) {
                        *target = f32_from_f8e4m3(value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, convert::f8e4m3_from_f32};

    #[test]
    fn rows_come_in_the_order_of_their_numbers() {
        let device = Cpu::new(None).unwrap().into();
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let halves: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
        let bytes: Vec<u8> = values.iter().map(|&v| f8e4m3_from_f32(v)).collect();
        for weights in [Weights::F32(&values), Weights::Bf16(&halves), Weights::F8E4M3(&bytes)] {
            let table = Embedding::new(&device, weights, [4, 3]).unwrap();
            let rows = embedding(&table, &[3, 0, 3]).unwrap();
            assert_eq!(*rows.shape(), [3, 3]);
            assert_eq!(rows.to_vec(), [9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 9.0, 10.0, 11.0]);
            assert!(embedding(&table, &[4]).is_err());
            assert_eq!(*embedding(&table, &[]).unwrap().shape(), [0, 3]);
        }
        assert!(Embedding::new(&device, Weights::F32(&values), [4, 4]).is_err());
    }
}
