//! Rotary position embedding in three dimensions: time, height and width (Su et al. 2021; axes split as in Wan2.1).

use smallvec::SmallVec;

use crate::{
    Device, Result, Shape, Tensor,
    cpu::RowKernel,
    cuda::{DeviceTable, RopeParts},
    error::ensure_shape,
};

/// Cosines and sines of every position of every axis for one head dimension.
#[derive(Clone, Debug)]
pub struct RopeTable {
    /// Complex columns of time, height and width: together half the head dimension.
    columns: [usize; 3],
    positions: usize,
    /// `[positions, columns, 2]` of each axis: cosine, sine.
    axes: [Vec<[f32; 2]>; 3],
    on_device: DeviceTable,
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
        Ok(Self { columns, positions, axes, on_device: DeviceTable::default() })
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

    /// Does it fit tokens of this shape, where the grid says?
    pub(super) fn check(&self, op: &'static str, shape: Shape, grid: TokenGrid) -> Result<()> {
        ensure_shape!(
            shape.len() == 3 && shape[0] == grid.tokens() && shape[2] == self.head_dim(),
            op,
            "{shape} for {grid:?} and heads of {}",
            self.head_dim()
        );
        let reach = (grid.start + grid.frames).max(grid.height).max(grid.width);
        ensure_shape!(reach <= self.positions, op, "{grid:?} in a table of {} positions", self.positions);
        Ok(())
    }

    /// The table as GPUs take it.
    pub(super) fn parts(&self) -> RopeParts<'_> {
        (&self.on_device, &self.axes, self.columns)
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
    table.check(OP, shape, grid)?;
    let row = shape[1] * shape[2];
    if let Device::Cuda(cuda) = x.device() {
        return cuda.rope(OP, &x, table.parts(), grid);
    }
    let cpu = x.device().cpu(OP)?;
    cpu.for_rows(x.f32s_mut(OP)?, row, 4 * row, &Rotate { table, grid, frames: &[], row });
    Ok(x)
}

/// A frame of a memory of frames, and where it is in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedFrame {
    /// Which frame of the memory.
    pub slot: usize,
    /// Its position in time.
    pub position: usize,
}

/// Frames of `memory`, which is `[slots · height · width, heads, head_dim]`, one after the other, each rotated as [`rope`] does at
/// its own position in time. On a GPU they are gathered on the way.
///
/// # Errors
/// [`crate::Error::Shape`] when the memory is not of the table's head dimension, a frame lies beyond it or a position beyond the
/// table, or there is none.
pub fn rope_frames(
    memory: &Tensor,
    table: &RopeTable,
    frames: &[PlacedFrame],
    [height, width]: [usize; 2],
) -> Result<Tensor> {
    const OP: &str = "rotary embedding of frames";
    let (shape, tokens) = (memory.shape(), height * width);
    let slots = shape.first().copied().unwrap_or(0) / tokens.max(1);
    let last = frames.iter().map(|frame| frame.position).max();
    ensure_shape!(
        shape.len() == 3
            && shape[2] == table.head_dim()
            && tokens > 0
            && frames.iter().all(|frame| frame.slot < slots)
            && last.is_some_and(|last| last.max(height - 1).max(width - 1) < table.positions),
        OP,
        "{frames:?} of {height} × {width} tokens of {shape}, in a table of {} positions",
        table.positions
    );
    if let Device::Cuda(cuda) = memory.device()
        && let Some(rotated) = cuda.rope_frames(OP, memory, table.parts(), frames, [height, width])?
    {
        return Ok(rotated);
    }
    let mut parts: SmallVec<[Tensor; 16]> = SmallVec::new();
    for frame in frames {
        parts.push(memory.narrow(frame.slot * tokens, tokens)?);
    }
    let mut gathered = Tensor::concat(&parts.iter().collect::<SmallVec<[&Tensor; 16]>>())?;
    drop(parts);
    let row = shape[1] * shape[2];
    if let Device::Cuda(_) = memory.device() {
        let mut rotated: SmallVec<[Tensor; 16]> = SmallVec::new();
        for (index, frame) in frames.iter().enumerate() {
            let grid = TokenGrid { start: frame.position, frames: 1, height, width };
            rotated.push(rope(gathered.narrow(index * tokens, tokens)?, table, grid)?);
        }
        return Tensor::concat(&rotated.iter().collect::<SmallVec<[&Tensor; 16]>>());
    }
    let cpu = memory.device().cpu(OP)?;
    let grid = TokenGrid { start: 0, frames: frames.len(), height, width };
    cpu.for_rows(gathered.f32s_mut(OP)?, row, 4 * row, &Rotate { table, grid, frames, row });
    Ok(gathered)
}

struct Rotate<'a> {
    table: &'a RopeTable,
    grid: TokenGrid,
    /// Where frames are in time, if they don't follow each other.
    frames: &'a [PlacedFrame],
    row: usize,
}

impl RowKernel<f32> for Rotate<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let Self { table, grid, frames, row } = *self;
        let half = table.head_dim() / 2;
        for (index, tokens) in rows.chunks_exact_mut(row).enumerate() {
            let token = first + index;
            let frame = token / (grid.height * grid.width);
            let position = [
                frames.get(frame).map_or(grid.start + frame, |frame| frame.position),
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
    fn frames_are_found_and_rotated_at_their_own_positions() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let table = RopeTable::new(24, 16, 10_000.0).expect("table");
        let data: Vec<f32> = (0..24 * 2 * 24).map(|i| (i as f32 * 0.37).sin()).collect();
        let memory = Tensor::from_f32(&device, &[24, 2, 24], &data).expect("memory");
        let frames = [PlacedFrame { slot: 3, position: 9 }, PlacedFrame { slot: 0, position: 2 }];
        let found = rope_frames(&memory, &table, &frames, [2, 3]).expect("frames");
        for (index, frame) in frames.iter().enumerate() {
            let grid = TokenGrid { start: frame.position, frames: 1, height: 2, width: 3 };
            let expected =
                rope(memory.narrow(6 * frame.slot, 6).expect("a frame"), &table, grid).expect("rope");
            assert_eq!(found.narrow(6 * index, 6).expect("a frame").to_vec(), expected.to_vec());
        }
        assert_eq!(memory.to_vec(), data);
        for wrong in [PlacedFrame { slot: 4, position: 0 }, PlacedFrame { slot: 0, position: 16 }] {
            assert!(rope_frames(&memory, &table, &[wrong], [2, 3]).is_err());
        }
        assert!(rope_frames(&memory, &table, &[], [2, 3]).is_err());
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
