//! Tensor shapes: up to six dimensions, stored inline so that making a tensor allocates nothing.

use std::{fmt, ops::Deref};

/// Highest number of dimensions of a tensor.
pub const MAX_RANK: usize = 6;

/// Dimensions, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape with these dimensions, or `None` if there are more than [`MAX_RANK`] or their product overflows.
    #[must_use]
    pub fn new(dims: &[usize]) -> Option<Self> {
        let mut stored = [1; MAX_RANK];
        stored.get_mut(..dims.len())?.copy_from_slice(dims);
        dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))?;
        // The rank fits: it is at most MAX_RANK.
        Some(Self { dims: stored, rank: dims.len() as u8 })
    }

    /// Replaces the outermost dimension.
    pub(crate) fn set_outer(&mut self, dim: usize) {
        debug_assert!(self.rank > 0);
        self.dims[0] = dim;
    }

    /// Replaces the innermost dimension.
    pub(crate) fn set_last(&mut self, dim: usize) {
        if let Some(last) = self.dims[..usize::from(self.rank)].last_mut() {
            *last = dim;
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.iter().product()
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.dims[..usize::from(self.rank)]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
