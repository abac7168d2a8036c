//! Matrix multiplication on registers: one kernel for linear layers and convolutions.
//!
//! The right-hand matrix (weights) is laid out once, when it is loaded, in panels of two vectors of output columns.
//! The left-hand rows are read where they are: a row is a list of *segments* (one for a linear layer, one per tap of a
//! convolution), so that an implicit GEMM copies no pixel. A tile of `MR` rows by one panel stays in registers over the
//! whole inner dimension; weights kept in bf16 are widened there, two columns from each 32-bit lane.

use std::sync::Arc;

use half::bf16;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Cpu, math};

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
    /// Lays out `weights[column * depth + k]`.
    pub(crate) fn from_f32(cpu: &Cpu, weights: &[f32], columns: usize, depth: usize) -> Self {
        let width = panel_columns(cpu);
        let mut data = vec![0.0; columns.div_ceil(width) * width * depth];
        lay_out(&mut data, width, width, depth, columns, |at, lane, column, k| {
            at[lane] = weights[column * depth + k]
        });
        Self { columns, depth, width, data: PanelData::F32(data.into()) }
    }

    /// Lays out `weights[column * depth + k]`, kept in bf16.
    pub(crate) fn from_bf16(cpu: &Cpu, weights: &[bf16], columns: usize, depth: usize) -> Self {
        let width = panel_columns(cpu);
        let half = width / VECTORS;
        let mut data = vec![0; columns.div_ceil(width) * half * depth];
        lay_out(&mut data, width, half, depth, columns, |at, lane, column, k| {
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

/// Calls `put(cells, lane, column, k)` for every weight; `cells` is row `k` of the panel that holds the column.
fn lay_out<T>(
    data: &mut [T],
    width: usize,
    cells: usize,
    depth: usize,
    columns: usize,
    put: impl Fn(&mut [T], usize, usize, usize),
) {
    for (panel, data) in data.chunks_exact_mut((cells * depth).max(1)).enumerate() {
        let first = panel * width;
        for (k, at) in data.chunks_exact_mut(cells).enumerate() {
            for lane in 0..width.min(columns - first) {
                put(at, lane, first + lane, k);
            }
        }
    }
}

/// The left-hand side: rows as lists of segments.
pub(crate) trait Rows: Sync {
    /// What locates a row.
    type Place: Copy;

    /// Number of segments of every row.
    fn segments(&self) -> usize;

    /// Elements of a segment.
    fn segment_len(&self, segment: usize) -> usize;

    /// Locates row `row`.
    fn place(&self, row: usize) -> Self::Place;

    /// A segment of a row, [`Rows::segment_len`] elements long.
    fn segment(&self, place: Self::Place, segment: usize) -> &[f32];
}

/// Row-major rows without gaps.
pub(crate) struct Dense<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) depth: usize,
}

impl Rows for Dense<'_> {
    type Place = usize;

    #[inline(always)]
    fn segments(&self) -> usize {
        1
    }

    #[inline(always)]
    fn segment_len(&self, _: usize) -> usize {
        self.depth
    }

    #[inline(always)]
    fn place(&self, row: usize) -> usize {
        row * self.depth
    }

    #[inline(always)]
    fn segment(&self, place: usize, _: usize) -> &[f32] {
        &self.data[place..place + self.depth]
    }
}

/// What happens to a finished row of a panel: `finish(row, first_column, values)` stores or changes the values in place.
pub(crate) trait Finish: Sync {
    /// `out` holds sums (with the bias) of the columns from `column` on; it becomes the result.
    fn finish(&self, row: usize, column: usize, out: &mut [f32]);
}

/// The sums as they are.
pub(crate) struct Store;

impl Finish for Store {
    #[inline(always)]
    fn finish(&self, _: usize, _: usize, _: &mut [f32]) {}
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

impl Finish for Activate {
    #[inline(always)]
    fn finish(&self, _: usize, _: usize, out: &mut [f32]) {
        self.apply(out);
    }
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
        arch.dispatch(Block { rows, panels, bias, finish, first: 0, out });
        return;
    }
    cpu.install(|| {
        out.par_chunks_mut(block * columns).enumerate().for_each(|(index, out)| {
            arch.dispatch(Block { rows, panels, bias, finish, first: index * block, out });
        });
    });
}

/// A run of whole output rows, on one thread.
struct Block<'a, R, F> {
    rows: &'a R,
    panels: &'a Panels,
    bias: Option<&'a [f32]>,
    finish: &'a F,
    first: usize,
    out: &'a mut [f32],
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
        let count = self.out.len() / self.panels.columns;
        let mut row = 0;
        while count - row >= MR {
            let tiles = ((count - row) / MR).min(TILES);
            self.tiles::<S, MR>(simd, row, tiles);
            row += tiles * MR;
        }
        if count - row >= 8 && MR > 8 {
            self.tiles::<S, 8>(simd, row, 1);
            row += 8;
        }
        if count - row >= 4 {
            self.tiles::<S, 4>(simd, row, 1);
            row += 4;
        }
        while row < count {
            self.tiles::<S, 1>(simd, row, 1);
            row += 1;
        }
    }

    /// All panels for `tiles` tiles of `MR` rows each, from `row` on: a panel is used for all tiles while it is near.
    #[inline(always)]
    fn tiles<S: Simd, const MR: usize>(&mut self, simd: S, row: usize, tiles: usize) {
        let Panels { columns, depth, width, .. } = *self.panels;
        let mut places = [[self.rows.place(self.first + row); MR]; TILES];
        for (tile, places) in places[..tiles].iter_mut().enumerate() {
            *places = std::array::from_fn(|m| self.rows.place(self.first + row + tile * MR + m));
        }
        for panel in 0..columns.div_ceil(width) {
            let column = panel * width;
            let valid = width.min(columns - column);
            for (tile, places) in places[..tiles].iter().enumerate() {
                let mut acc = [bias_of_panel(simd, self.bias, column, valid); MR];
                match &self.panels.data {
                    PanelData::F32(data) => {
                        let data = S::as_simd_f32s(&data[column * depth..][..width * depth]).0;
                        accumulate(
                            simd,
                            self.rows,
                            places,
                            data.as_chunks::<VECTORS>().0,
                            |pair| *pair,
                            &mut acc,
                        );
                    }
                    PanelData::Bf16(data) => {
                        let half = width / VECTORS;
                        let data = &data[panel * half * depth..][..half * depth];
                        let widen = |lanes: &S::u32s| {
                            let low = simd.wrapping_dyn_shl_u32s(*lanes, simd.splat_u32s(16));
                            let high = simd.and_u32s(*lanes, simd.splat_u32s(0xffff_0000));
                            [simd.transmute_f32s_u32s(low), simd.transmute_f32s_u32s(high)]
                        };
                        accumulate(simd, self.rows, places, S::as_simd_u32s(data).0, widen, &mut acc);
                    }
                }
                for (m, acc) in acc.iter().enumerate() {
                    let row = row + tile * MR + m;
                    let out = &mut self.out[row * columns + column..][..valid];
                    store(simd, *acc, out);
                    self.finish.finish(self.first + row, column, out);
                }
            }
        }
    }
}

#[inline(always)]
fn bias_of_panel<S: Simd>(simd: S, bias: Option<&[f32]>, column: usize, valid: usize) -> [S::f32s; VECTORS] {
    let Some(bias) = bias else { return [simd.splat_f32s(0.0); VECTORS] };
    let bias = &bias[column..column + valid];
    let lanes = S::F32_LANES;
    if valid == VECTORS * lanes {
        let vectors = S::as_simd_f32s(bias).0;
        [vectors[0], vectors[1]]
    } else if valid > lanes {
        [simd.partial_load_f32s(&bias[..lanes]), simd.partial_load_f32s(&bias[lanes..])]
    } else {
        [simd.partial_load_f32s(bias), simd.splat_f32s(0.0)]
    }
}

#[inline(always)]
fn store<S: Simd>(simd: S, values: [S::f32s; VECTORS], out: &mut [f32]) {
    let lanes = S::F32_LANES;
    if out.len() == VECTORS * lanes {
        let vectors = S::as_mut_simd_f32s(out).0;
        vectors[0] = values[0];
        vectors[1] = values[1];
    } else if out.len() > lanes {
        let (first, second) = out.split_at_mut(lanes);
        simd.partial_store_f32s(first, values[0]);
        simd.partial_store_f32s(second, values[1]);
    } else {
        simd.partial_store_f32s(out, values[0]);
    }
}

/// Adds all segments of the rows, times the panel, to the accumulators.
#[inline(always)]
pub(crate) fn accumulate<S: Simd, R: Rows, P, const MR: usize>(
    simd: S,
    rows: &R,
    places: &[R::Place; MR],
    panel: &[P],
    widen: impl Fn(&P) -> [S::f32s; VECTORS],
    acc: &mut [[S::f32s; VECTORS]; MR],
) {
    let mut panel = panel;
    for segment in 0..rows.segments() {
        let len = rows.segment_len(segment);
        let (here, rest) = panel.split_at(len);
        panel = rest;
        let rows: [&[f32]; MR] = std::array::from_fn(|m| &rows.segment(places[m], segment)[..len]);
        let mut sums = *acc;
        for k in 0..len {
            let columns = widen(&here[k]);
            for m in 0..MR {
                let element = simd.splat_f32s(rows[m][k]);
                for v in 0..VECTORS {
                    sums[m][v] = simd.mul_add_f32s(element, columns[v], sums[m][v]);
                }
            }
        }
        *acc = sums;
    }
}
