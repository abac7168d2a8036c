//! Matrix multiplication on registers: one kernel for linear layers and convolutions.
//!
//! The right-hand matrix (weights) is laid out once, when it is loaded, in panels of two vectors of output columns.
//! The left-hand rows are read where they are: a row is a list of *segments* (one for a linear layer, one per tap of a
//! convolution), so that an implicit GEMM copies no pixel. A tile of `MR` rows by one panel stays in registers over the
//! whole inner dimension; weights kept in bf16 are widened there, two columns from each 32-bit lane.

use std::{ops::Range, sync::Arc};

use half::bf16;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{
    Cpu, math,
    tile::{Cells, Halves, Plain, multiply},
};

/// Columns of a panel are two vectors wide.
pub(crate) const VECTORS: usize = 2;

/// Tiles of rows that share one pass over the panels.
const TILES: usize = 8;

/// Width of a panel in columns on this machine.
pub(crate) fn panel_columns(cpu: &Cpu) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    VECTORS * cpu.arch().dispatch(Lanes)
}

/// A weight matrix `[columns, depth]` in panels: for each panel, for each `k`, its columns.
#[derive(Clone)]
pub(crate) struct Panels {
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    width: usize,
    data: PanelData,
}

#[derive(Clone)]
enum PanelData {
    F32(Arc<[f32]>),
    /// A 32-bit lane holds column `j` in its lower half and column `j + width/2` in its upper half.
    Bf16(Arc<[u32]>),
}

impl Panels {
    /// Lays out `weights[column * depth + k]`. A last panel of no more columns than one vector is one vector wide.
    pub(crate) fn from_f32(cpu: &Cpu, weights: &[f32], columns: usize, depth: usize) -> Self {
        let width = panel_columns(cpu);
        let vector = width / VECTORS;
        let mut data = vec![0.0; columns.div_ceil(vector) * vector * depth];
        lay_out(&mut data, width, columns, depth, 1, |at, lane, column, k| {
            at[lane] = weights[column * depth + k];
        });
        Self { columns, depth, width, data: PanelData::F32(data.into()) }
    }

    /// Lays out `weights[column * depth + k]`, kept in bf16.
    pub(crate) fn from_bf16(cpu: &Cpu, weights: &[bf16], columns: usize, depth: usize) -> Self {
        let width = panel_columns(cpu);
        let half = width / VECTORS;
        let mut data = vec![0; columns.div_ceil(width) * half * depth];
        lay_out(&mut data, width, columns, depth, VECTORS, |at, lane, column, k| {
            let bits = u32::from(weights[column * depth + k].to_bits());
            at[lane % half] |= if lane < half { bits } else { bits << 16 };
        });
        Self { columns, depth, width, data: PanelData::Bf16(data.into()) }
    }

    /// Bytes of the weights as stored.
    pub(crate) fn bytes(&self) -> usize {
        match &self.data {
            PanelData::F32(data) => data.len() * 4,
            PanelData::Bf16(data) => data.len() * 4,
        }
    }
}

/// Calls `put(cells, lane, column, k)` for every weight; `cells` is row `k` of the panel that holds the column, with
/// `per_cell` columns in a cell.
fn lay_out<T>(
    data: &mut [T],
    width: usize,
    columns: usize,
    depth: usize,
    per_cell: usize,
    put: impl Fn(&mut [T], usize, usize, usize),
) {
    if depth == 0 {
        return;
    }
    for (panel, data) in data.chunks_mut(width / per_cell * depth).enumerate() {
        let first = panel * width;
        let cells = data.len() / depth;
        for (k, at) in data.chunks_exact_mut(cells).enumerate() {
            for lane in 0..width.min(columns - first) {
                put(at, lane, first + lane, k);
            }
        }
    }
}

/// The left-hand side: rows as lists of segments. Rows that have nothing special about them may be read in fewer,
/// longer segments than the others ("whole").
pub(crate) trait Rows: Sync {
    /// What locates a row.
    type Place: Copy;

    /// A segment of every row.
    type Segment: Copy;

    /// Locates row `row`.
    fn place(&self, row: usize) -> Self::Place;

    /// Locates the row after the one at `place`.
    fn next(&self, place: Self::Place) -> Self::Place;

    /// The row of the result that belongs to row `row`.
    fn target(&self, row: usize) -> usize;

    /// Can all these rows be read in long segments?
    fn whole(&self, places: &[Self::Place]) -> bool;

    /// The first segment, if there is one.
    fn first(&self, whole: bool) -> Option<Self::Segment>;

    /// The segment after `segment`, if there is one.
    fn following(&self, segment: Self::Segment, whole: bool) -> Option<Self::Segment>;

    /// The run of the inner dimension that a segment holds.
    fn range(&self, segment: Self::Segment) -> Range<usize>;

    /// The elements of a segment of the row at `place`.
    fn elements(&self, place: Self::Place, segment: Self::Segment) -> &[f32];
}

/// Rows of `depth` elements, `stride` apart.
pub(crate) struct Dense<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) depth: usize,
    pub(crate) stride: usize,
}

impl Rows for Dense<'_> {
    type Place = usize;
    type Segment = ();

    #[inline(always)]
    fn place(&self, row: usize) -> usize {
        row * self.stride
    }

    #[inline(always)]
    fn next(&self, place: usize) -> usize {
        place + self.stride
    }

    #[inline(always)]
    fn target(&self, row: usize) -> usize {
        row
    }

    #[inline(always)]
    fn whole(&self, _: &[usize]) -> bool {
        true
    }

    #[inline(always)]
    fn first(&self, _: bool) -> Option<()> {
        Some(())
    }

    #[inline(always)]
    fn following(&self, (): (), _: bool) -> Option<()> {
        None
    }

    #[inline(always)]
    fn range(&self, (): ()) -> Range<usize> {
        0..self.depth
    }

    #[inline(always)]
    fn elements(&self, place: usize, (): ()) -> &[f32] {
        &self.data[place..place + self.depth]
    }
}

/// What happens to a row of sums: it is changed in place while it is near. Each kind of [`Rows`] has one of these, not
/// several: the kernel is compiled for every pair.
pub(crate) trait Finish: Sync {
    /// `out` holds the sums (with the bias) of row `row` of the result; it becomes the result.
    fn finish(&self, row: usize, out: &mut [f32]);
}

/// An activation function of each sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activate {
    Gelu,
    Silu,
    Relu,
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
}

impl Activate {
    /// The activation of every element, in place.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Gelu => each(values, math::gelu_tanh),
            Self::Silu => each(values, math::silu),
            Self::Relu => each(values, |v| math::max(v, 0.0)),
            Self::LeakyRelu(slope) => each(values, |v| if v > 0.0 { v } else { v * slope }),
            Self::Sigmoid => each(values, math::sigmoid),
            Self::Tanh => each(values, math::tanh),
        }
    }
}

#[inline(always)]
fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
    for value in values {
        *value = f(*value);
    }
}

/// `out[row, column] = finish(rows[row] · panels[column] + bias[column])` on all threads of `cpu`.
/// `out` is row-major without gaps; the segments of a row add up to the panels' depth.
pub(crate) fn gemm<R: Rows, F: Finish>(
    cpu: &Cpu,
    rows: &R,
    panels: &Panels,
    bias: Option<&[f32]>,
    finish: &F,
    out: &mut [f32],
) {
    let columns = panels.columns;
    if columns == 0 || out.is_empty() {
        return;
    }
    let count = out.len() / columns;
    let work_per_row = 2 * columns * panels.depth;
    let block = cpu.block_rows(count, work_per_row);
    let arch = cpu.arch();
    if block >= count {
        arch.dispatch(Block { rows, panels, bias, finish, first: 0, count, base: 0, out });
        return;
    }
    cpu.enter(|| {
        out.par_chunks_mut(block * columns).enumerate().for_each(|(index, out)| {
            let (first, count) = (index * block, out.len() / columns);
            arch.dispatch(Block { rows, panels, bias, finish, first, count, base: first, out });
        });
    });
}

/// A run of rows, on one thread.
pub(crate) struct Block<'a, R, F> {
    pub(crate) rows: &'a R,
    pub(crate) panels: &'a Panels,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) finish: &'a F,
    /// The first row.
    pub(crate) first: usize,
    /// Number of rows.
    pub(crate) count: usize,
    /// The row of the result with which `out` begins.
    pub(crate) base: usize,
    pub(crate) out: &'a mut [f32],
}

impl<R: Rows, F: Finish> WithSimd for Block<'_, R, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Accumulators take two registers a row; two more hold the panel's columns, one or two the row's element.
        if S::REGISTER_COUNT >= 32 { self.run::<S, 14>(simd) } else { self.run::<S, 6>(simd) }
    }
}

impl<R: Rows, F: Finish> Block<'_, R, F> {
    #[inline(always)]
    fn run<S: Simd, const MR: usize>(mut self, simd: S) {
        let count = self.count;
        let mut row = 0;
        while count - row >= MR {
            let tiles = ((count - row) / MR).min(TILES);
            self.tiles::<S, MR>(simd, row, tiles, MR);
            self.finish(row, tiles * MR);
            row += tiles * MR;
        }
        // Few rows leave the arithmetic units waiting for each other's results: a tile that repeats its last row
        // takes no longer than its rows one by one.
        match count - row {
            0 => return,
            1 => self.tiles::<S, 1>(simd, row, 1, 1),
            live @ 2..=4 => self.tiles::<S, 4>(simd, row, 1, live),
            live => self.tiles::<S, MR>(simd, row, 1, live),
        }
        self.finish(row, count - row);
    }

    /// All panels for `tiles` tiles of `MR` rows each, from `row` on: a panel is used for all tiles while it is near. Of
    /// the last tile, `live` rows are there; the others repeat the last of them.
    #[inline(always)]
    fn tiles<S: Simd, const MR: usize>(&mut self, simd: S, row: usize, tiles: usize, live: usize) {
        let Panels { columns, depth, width, .. } = *self.panels;
        let mut place = self.rows.place(self.first + row);
        let mut places = [[place; MR]; TILES];
        let last = (tiles - 1) * MR + live - 1;
        for (index, slot) in places[..tiles].as_flattened_mut().iter_mut().enumerate() {
            *slot = place;
            if index < last {
                place = self.rows.next(place);
            }
        }
        for panel in 0..columns.div_ceil(width) {
            let column = panel * width;
            let valid = width.min(columns - column);
            for (tile, places) in places[..tiles].iter().enumerate() {
                let row = self.first + row + tile * MR;
                let live = if tile + 1 == tiles { live } else { MR };
                match &self.panels.data {
                    PanelData::F32(data) if valid <= S::F32_LANES => {
                        let data = S::as_simd_f32s(&data[column * depth..][..S::F32_LANES * depth]).0;
                        let data = data.as_chunks::<1>().0;
                        let mut acc = [bias_of_panel(simd, self.bias, column, valid); MR];
                        accumulate::<S, R, Plain, MR, 1>(simd, self.rows, places, data, &mut acc);
                        self.put(simd, row, column..column + valid, &acc[..live]);
                    }
                    PanelData::F32(data) => {
                        let data = S::as_simd_f32s(&data[column * depth..][..width * depth]).0;
                        let data = data.as_chunks::<VECTORS>().0;
                        let mut acc = [bias_of_panel(simd, self.bias, column, valid); MR];
                        accumulate::<S, R, Plain, MR, VECTORS>(simd, self.rows, places, data, &mut acc);
                        self.put(simd, row, column..column + valid, &acc[..live]);
                    }
                    PanelData::Bf16(data) => {
                        let half = width / VECTORS;
                        let data = S::as_simd_u32s(&data[panel * half * depth..][..half * depth]).0;
                        let mut acc = [bias_of_panel(simd, self.bias, column, valid); MR];
                        accumulate::<S, R, Halves, MR, VECTORS>(simd, self.rows, places, data, &mut acc);
                        self.put(simd, row, column..column + valid, &acc[..live]);
                    }
                }
            }
        }
    }

    /// Stores the sums of rows from `row` on.
    #[inline(always)]
    fn put<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        columns: Range<usize>,
        acc: &[[S::f32s; V]],
    ) {
        for (m, acc) in acc.iter().enumerate() {
            let at = (self.rows.target(row + m) - self.base) * self.panels.columns;
            let out = &mut self.out[at + columns.start..at + columns.end];
            if out.len() == V * S::F32_LANES {
                for (out, value) in S::as_mut_simd_f32s(out).0.iter_mut().zip(*acc) {
                    *out = value;
                }
            } else {
                for (out, value) in out.chunks_mut(S::F32_LANES).zip(*acc) {
                    simd.partial_store_f32s(out, value);
                }
            }
        }
    }

    /// Finishes `count` rows from `row` on, while they are near.
    #[inline(always)]
    fn finish(&mut self, row: usize, count: usize) {
        let columns = self.panels.columns;
        for row in self.first + row..self.first + row + count {
            let target = self.rows.target(row);
            self.finish.finish(target, &mut self.out[(target - self.base) * columns..][..columns]);
        }
    }
}

/// The bias of up to `V` vectors of columns.
#[inline(always)]
fn bias_of_panel<S: Simd, const V: usize>(
    simd: S,
    bias: Option<&[f32]>,
    column: usize,
    valid: usize,
) -> [S::f32s; V] {
    let Some(bias) = bias else { return [simd.splat_f32s(0.0); V] };
    let bias = &bias[column..column + valid];
    std::array::from_fn(|v| {
        let start = (v * S::F32_LANES).min(valid);
        let end = (start + S::F32_LANES).min(valid);
        simd.partial_load_f32s(&bias[start..end])
    })
}

/// Adds all segments of the rows, times the panel, to the accumulators.
#[inline(always)]
pub(crate) fn accumulate<S: Simd, R: Rows, C: Cells<S, V>, const MR: usize, const V: usize>(
    simd: S,
    rows: &R,
    places: &[R::Place; MR],
    panel: &[C::Cell],
    sums: &mut [[S::f32s; V]; MR],
) {
    let whole = rows.whole(places);
    let mut next = rows.first(whole);
    while let Some(segment) = next {
        next = rows.following(segment, whole);
        let mut elements: [&[f32]; MR] = [&[]; MR];
        for m in 0..MR {
            elements[m] = rows.elements(places[m], segment);
        }
        multiply::<S, C, MR, V>(simd, &elements, &panel[rows.range(segment)], sums);
    }
}
