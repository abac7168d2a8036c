use super::MOVEMENT;
use crate::{
    Result, Shape, Tensor,
    cuda::{
        Cost, Cuda,
        launch::{Argument, Grid, launch},
    },
    tensor::shape_of,
};

/// How elements are moved: counts and strides of five axes, outermost first; `x` has `inside` places along the second and
/// third and zeros beyond.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Layout {
    dims: [i64; 5],
    x_strides: [i64; 5],
    out_strides: [i64; 5],
    inside: [i64; 2],
}

impl Argument for Layout {}

impl Layout {
    /// In units of as many elements as divide every run of neighbours and every stride, up to 16 bytes.
    fn in_units(mut self, element_bytes: usize, addresses: [u64; 2]) -> (Self, usize) {
        // The innermost axis is a run of neighbours on both sides, or nothing can be moved together.
        let together = self.x_strides[4] == 1 && self.out_strides[4] == 1;
        let bytes = element_bytes as i64;
        let fits = |unit: i64| {
            let others = self.x_strides[..4].iter().chain(&self.out_strides[..4]).chain([&self.dims[4]]);
            others.into_iter().all(|count| count * bytes % unit == 0)
                && addresses.iter().all(|address| address % unit as u64 == 0)
        };
        let unit = [16, 8, 4, 2, 1].into_iter().find(|&unit| unit <= bytes || (together && fits(unit)));
        let unit = unit.map_or(bytes, |unit| unit.max(bytes));
        if unit > bytes {
            let factor = unit / bytes;
            self.dims[4] /= factor;
            for stride in self.x_strides[..4].iter_mut().chain(&mut self.out_strides[..4]) {
                *stride /= factor;
            }
        }
        (self, unit as usize)
    }
}

/// Strides of a row-major tensor of five dimensions.
fn row_major(dims: [usize; 5]) -> [i64; 5] {
    let mut strides = [1; 5];
    for axis in (0..4).rev() {
        strides[axis] = strides[axis + 1] * dims[axis + 1] as i64;
    }
    strides
}

const EVERYWHERE: [i64; 2] = [i64::MAX; 2];

impl Cuda {
    /// Moves elements from `x`, from element `from` on, to `out`, from element `to` on.
    fn relocate(
        &self,
        op: &'static str,
        (x, from): (&Tensor, usize),
        (out, to): (&Tensor, usize),
        layout: Layout,
    ) -> Result<()> {
        if layout.dims.iter().product::<i64>() == 0 {
            return Ok(());
        }
        let bytes = x.dtype().size_bytes();
        let source = self.address(op, x)? + (from * bytes) as u64;
        let target = self.address(op, out)? + (to * bytes) as u64;
        let (layout, unit) = layout.in_units(bytes, [source, target]);
        let name = match unit {
            16 => "copy_16",
            8 => "copy_8",
            4 => "copy_4",
            2 => "copy_2",
            _ => "copy_1",
        };
        let count = layout.dims.iter().product::<i64>();
        let (grid, cost) = (Grid::over(count as usize), Cost::bytes(2 * count as usize * unit));
        launch!(self, MOVEMENT, name, grid, [source, target, layout, count], cost)
    }

    /// Squares of pixels as tokens, or back: `[rows, y, columns, x · channels]` is `[rows, columns, y, x · channels]`.
    pub(crate) fn patches(
        &self,
        op: &'static str,
        x: &Tensor,
        shape: Shape,
        [rows, columns, size, run]: [usize; 4],
        to_tokens: bool,
    ) -> Result<Tensor> {
        let out = self.empty_of(x.dtype(), shape)?;
        let dims = [1, rows, size, columns, run];
        let pixels = row_major(dims);
        let tokens = row_major([1, rows, columns, size, run]);
        let tokens = [tokens[0], tokens[1], tokens[3], tokens[2], tokens[4]];
        let (x_strides, out_strides) = if to_tokens { (pixels, tokens) } else { (tokens, pixels) };
        let layout = Layout { dims: dims.map(|dim| dim as i64), x_strides, out_strides, inside: EVERYWHERE };
        self.relocate(op, (x, 0), (&out, 0), layout)?;
        Ok(out)
    }

    /// A part of pictures, from a row and column on; beyond the pictures there are zeros.
    pub(crate) fn window(
        &self,
        op: &'static str,
        x: &Tensor,
        [top, left]: [usize; 2],
        [height, width]: [usize; 2],
    ) -> Result<Tensor> {
        let shape = x.shape();
        let [frames, old_height, old_width, channels] = [shape[0], shape[1], shape[2], shape[3]];
        let out = self.empty_of(x.dtype(), shape_of(op, &[frames, height, width, channels])?)?;
        let dims = [frames, height, width, 1, channels];
        let layout = Layout {
            dims: dims.map(|dim| dim as i64),
            x_strides: row_major([frames, old_height, old_width, 1, channels]),
            out_strides: row_major(dims),
            inside: [old_height.saturating_sub(top) as i64, old_width.saturating_sub(left) as i64],
        };
        self.relocate(op, (x, (top * old_width + left) * channels), (&out, 0), layout)?;
        Ok(out)
    }

    /// Channels `from..from + count` of rows of `x` to channels `to` on of rows of `out`.
    fn move_channels(
        &self,
        op: &'static str,
        (x, from): (&Tensor, usize),
        (out, to): (&Tensor, usize),
        count: usize,
    ) -> Result<()> {
        let [channels, total] = [x, out].map(|tensor| tensor.shape().last().copied().unwrap_or(1));
        let rows = x.shape().numel() / channels.max(1);
        let layout = Layout {
            dims: [1, 1, 1, rows as i64, count as i64],
            x_strides: [0, 0, 0, channels as i64, 1],
            out_strides: [0, 0, 0, total as i64, 1],
            inside: EVERYWHERE,
        };
        self.relocate(op, (x, from), (out, to), layout)
    }

    pub(crate) fn concat_channels(
        &self,
        op: &'static str,
        parts: &[&Tensor],
        shape: Shape,
    ) -> Result<Tensor> {
        let dtype = if parts.windows(2).all(|pair| pair[0].dtype() == pair[1].dtype()) {
            parts.first().map_or(self.dtype(), |part| part.dtype())
        } else {
            crate::DType::F32
        };
        let joined = self.empty_of(dtype, shape)?;
        let mut offset = 0;
        for part in parts {
            let part = self.cast(op, part, dtype)?;
            let channels = part.shape().last().copied().unwrap_or(0);
            self.move_channels(op, (&part, 0), (&joined, offset), channels)?;
            offset += channels;
        }
        Ok(joined)
    }

    pub(crate) fn take_channels(
        &self,
        op: &'static str,
        x: &Tensor,
        start: usize,
        shape: Shape,
    ) -> Result<Tensor> {
        let out = self.empty_of(x.dtype(), shape)?;
        let count = shape.last().copied().unwrap_or(0);
        self.move_channels(op, (x, start), (&out, 0), count)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_moved_together_where_every_place_allows_it() {
        let layout = Layout {
            dims: [1, 2, 3, 4, 24],
            x_strides: [0, 960, 320, 24, 1],
            out_strides: [0, 288, 96, 24, 1],
            inside: EVERYWHERE,
        };
        let (units, bytes) = layout.in_units(2, [256, 512]);
        assert_eq!((units.dims[4], units.x_strides, bytes), (3, [0, 120, 40, 3, 1], 16));
        let (units, bytes) = layout.in_units(2, [256 + 4, 512]);
        assert_eq!((units.dims[4], bytes), (12, 4));
        let odd = Layout { dims: [1, 2, 3, 4, 23], ..layout };
        assert_eq!(odd.in_units(4, [256, 512]), (odd, 4));
        let apart = Layout { x_strides: [0, 960, 320, 24, 2], ..layout };
        assert_eq!(apart.in_units(2, [256, 512]), (apart, 2));
        assert_eq!(row_major([2, 3, 4, 5, 6]), [360, 120, 30, 6, 1]);
    }
}
