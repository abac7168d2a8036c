//! Rotary position embedding in three dimensions: time, height and width (Su et al. 2021; axes split as in Wan2.1).

use crate::{Device, Result, Tensor, cpu::RowKernel, error::ensure_shape};

/// Cosines and sines of every position of every axis for one head dimension.
#[derive(Clone, Debug)]
pub struct RopeTable {
    /// Complex columns of time, height and width: together half the head dimension.
    columns: [usize; 3],
    positions: usize,
    /// `[positions, columns, 2]` of each axis: cosine, sine.
    axes: [Vec<[f32; 2]>; 3],
}

impl RopeTable {
    /// The table of `positions` positions with base `theta` (10 000 in Wan2.1). Of the `head_dim / 2` complex columns, a
    /// third each, rounded down, belong to height and width and the others to time.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when `head_dim` is odd or zero.
    pub fn new(head_dim: usize, positions: usize, theta: f64) -> Result<Self> {
        ensure_shape!(
            head_dim > 0 && head_dim.is_multiple_of(2),
            "rotary embedding",
            "a head of {head_dim} features"
        );
        let total = head_dim / 2;
        let columns = [total - 2 * (total / 3), total / 3, total / 3];
        let axes = columns.map(|count| {
            let entries =
                (0..positions).flat_map(|position| (0..count).map(move |column| (position, column)));
            entries
                .map(|(position, column)| {
                    let angle = position as f64 / theta.powf(column as f64 / count as f64);
                    [angle.cos() as f32, angle.sin() as f32]
                })
                .collect()
        });
        Ok(Self { columns, positions, axes })
    }

    /// Features of a head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        2 * self.columns.iter().sum::<usize>()
    }

    /// Positions along each axis.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Cosine and sine of each complex column at a position in time, height and width, or `None` beyond the table.
    #[must_use]
    pub fn row(&self, position: [usize; 3]) -> Option<Vec<[f32; 2]>> {
        let mut row = Vec::with_capacity(self.head_dim() / 2);
        for (axis, position) in position.into_iter().enumerate() {
            row.extend_from_slice(self.axis(axis, position)?);
        }
        Some(row)
    }

    fn axis(&self, axis: usize, position: usize) -> Option<&[[f32; 2]]> {
        let columns = self.columns[axis];
        self.axes[axis].get(position * columns..(position + 1) * columns)
    }
}

/// Where tokens are: frame by frame, row by row, from frame `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    /// Position in time of the first frame.
    pub start: usize,
    /// Frames.
    pub frames: usize,
    /// Rows of tokens of a frame.
    pub height: usize,
    /// Tokens of a row.
    pub width: usize,
}

impl TokenGrid {
    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.frames * self.height * self.width
    }
}

/// Rotates neighbouring pairs of features of every head by the angles of each token's position. `x` is
/// `[tokens, heads, head_dim]`.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` is not of the grid's tokens and the table's head dimension, or the grid reaches beyond
/// the table.
pub fn rope(mut x: Tensor, table: &RopeTable, grid: TokenGrid) -> Result<Tensor> {
    const OP: &str = "rotary embedding";
    let shape = x.shape();
    ensure_shape!(
        shape.len() == 3 && shape[0] == grid.tokens() && shape[2] == table.head_dim(),
        OP,
        "{shape} for {grid:?} and heads of {}",
        table.head_dim()
    );
    let reach = (grid.start + grid.frames).max(grid.height).max(grid.width);
    ensure_shape!(reach <= table.positions, OP, "{grid:?} in a table of {} positions", table.positions);
    let row = shape[1] * shape[2];
    let Device::Cpu(cpu) = x.device();
    cpu.for_rows(x.f32s_mut(OP)?, row, 4 * row, &Rotate { table, grid, row });
    Ok(x)
}

struct Rotate<'a> {
    table: &'a RopeTable,
    grid: TokenGrid,
    row: usize,
}

impl RowKernel<f32> for Rotate<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let Self { table, grid, row } = *self;
        let half = table.head_dim() / 2;
        for (index, tokens) in rows.chunks_exact_mut(row).enumerate() {
            let token = first + index;
            let position = [
                grid.start + token / (grid.height * grid.width),
                token / grid.width % grid.height,
                token % grid.width,
            ];
            for head in tokens.as_chunks_mut::<2>().0.chunks_exact_mut(half) {
                let mut rest = head;
                for (axis, &position) in position.iter().enumerate() {
                    let columns = table.columns[axis];
                    let (here, others) = rest.split_at_mut(columns);
                    let angles = &table.axes[axis][position * columns..][..columns];
                    for (pair, &[cos, sin]) in here.iter_mut().zip(angles) {
                        let [real, imaginary] = *pair;
                        *pair = [real * cos - imaginary * sin, real * sin + imaginary * cos];
                    }
                    rest = others;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn the_columns_of_a_head_are_split_as_in_wan() {
        let table = RopeTable::new(128, 1024, 10_000.0).expect("table");
        assert_eq!(table.columns, [22, 21, 21]);
        assert_eq!(table.head_dim(), 128);
        let row = table.row([3, 5, 7]).expect("in the table");
        let angle = |position: f64, column: f64, count: f64| position / 10_000f64.powf(column / count);
        assert_eq!(row[1], [angle(3.0, 1.0, 22.0).cos() as f32, angle(3.0, 1.0, 22.0).sin() as f32]);
        assert_eq!(row[22 + 2], [angle(5.0, 2.0, 21.0).cos() as f32, angle(5.0, 2.0, 21.0).sin() as f32]);
        assert_eq!(row[43], [7f64.cos() as f32, 7f64.sin() as f32]);
        assert!(table.row([1024, 0, 0]).is_none());
    }

    #[test]
    fn rotation_keeps_lengths_and_depends_on_differences_alone() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let table = RopeTable::new(24, 64, 10_000.0).expect("table");
        let grid = |start| TokenGrid { start, frames: 2, height: 2, width: 3 };
        let data: Vec<f32> = (0..12 * 2 * 24).map(|i| (i as f32 * 0.37).sin()).collect();
        let x = Tensor::from_f32(&device, &[12, 2, 24], &data).expect("x");
        let dots = |start| {
            let rotated = rope(x.clone(), &table, grid(start)).expect("rope").to_vec();
            let (a, b) = (rotated[..48].to_vec(), rotated[11 * 48..].to_vec());
            (a.iter().map(|v| v * v).sum::<f32>(), a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>())
        };
        let ((length, dot), (moved_length, moved_dot)) = (dots(0), dots(40));
        assert!((length - moved_length).abs() < 1e-4 && (dot - moved_dot).abs() < 1e-4);
        assert!(rope(x.clone(), &table, grid(63)).is_err(), "beyond the table");
        assert!(rope(x, &RopeTable::new(48, 64, 1e4).expect("table"), grid(0)).is_err(), "other heads");
    }
}
