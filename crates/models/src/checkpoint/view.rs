//! A tensor inside a mapped file.

use super::{CheckpointProblem, FileDType, decode};
use half::slice::HalfBitsSliceExt;
use std::borrow::Cow;
use std::fmt;

/// A tensor in a checkpoint: its description, and its bytes where they lie in the file. Reading it for the first time
/// makes the operating system read the file.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    pub(super) name: &'a str,
    pub(super) dtype: FileDType,
    pub(super) shape: &'a [usize],
    /// Distance of neighbours along each axis, in elements; `None` when the elements lie in row-major order.
    pub(super) strides: Option<&'a [usize]>,
    /// From the first element to the last.
    pub(super) data: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// The name, after the selection's changes.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// How the file stores one element.
    #[must_use]
    pub fn dtype(&self) -> FileDType {
        self.dtype
    }

    /// The extents, outermost first. A scalar has none.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// How many elements there are.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The little-endian bytes in row-major order: borrowed from the file, except for a tensor that was stored
    /// transposed or with gaps, which is copied into order. The copy is never larger than what the file holds. The
    /// bytes have no particular alignment.
    #[must_use]
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        match self.strides {
            None => Cow::Borrowed(self.data),
            Some(strides) => Cow::Owned(gather(self.data, self.dtype.size_bytes(), self.shape, strides)),
        }
    }

    /// The elements as `f32`, in row-major order. Exact for every float type up to 32 bits and integers up to 24;
    /// wider ones are rounded to the nearest, ties to even.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        decode::to_f32(self.dtype, &self.bytes())
    }

    /// The elements as `bf16`, in row-major order, wider types rounded to the nearest, ties to even.
    #[must_use]
    pub fn to_bf16(&self) -> Vec<half::bf16> {
        decode::to_bf16(self.dtype, &self.bytes())
    }

    /// The elements where they lie in the file, if they are `bf16` in row-major order at an address that can be read so.
    #[must_use]
    pub fn bf16s(&self) -> Option<&'a [half::bf16]> {
        let as_in_file = self.dtype == FileDType::Bf16 && self.strides.is_none();
        let bits: &[u16] = bytemuck::try_cast_slice(self.data)
            .ok()
            .filter(|_| as_in_file && cfg!(target_endian = "little"))?;
        Some(bits.reinterpret_cast())
    }

    /// The elements of a tensor of whole numbers, in row-major order.
    ///
    /// # Errors
    ///
    /// The tensor holds floats, or a number that 32 bits cannot hold.
    pub fn to_i32(&self) -> Result<Vec<i32>, CheckpointProblem> {
        decode::to_i32(self.dtype, &self.bytes())
            .ok_or_else(|| CheckpointProblem::NotInteger { name: super::shown(self.name), dtype: self.dtype })
    }
}

impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {:?}", self.name, self.dtype, self.shape)
    }
}

/// Copies the elements at `strides` into row-major order. The reader has checked that the last one lies inside `data`.
fn gather(data: &[u8], element_bytes: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let elements: usize = shape.iter().product();
    let mut out = Vec::with_capacity(elements * element_bytes);
    let mut position = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..elements {
        out.extend_from_slice(&data[at * element_bytes..][..element_bytes]);
        // Counts up like an odometer: the last axis first, carrying into the one before.
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            at += strides[axis];
            if position[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            position[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_tensor_is_read_in_row_major_order() {
        let data = [0, 1, 2, 3, 4, 5];
        assert_eq!(gather(&data, 1, &[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(gather(&data, 2, &[2, 1], &[2, 7]), [0, 1, 4, 5]);
        assert!(gather(&[], 1, &[0, 2], &[1, 1]).is_empty());
        // Channels last: [1, 2, 1, 3] stored as [1, 1, 3, 2].
        assert_eq!(gather(&data, 1, &[1, 2, 1, 3], &[6, 1, 6, 2]), [0, 2, 4, 1, 3, 5]);
    }
}
