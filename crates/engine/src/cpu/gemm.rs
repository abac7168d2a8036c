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

use crate::Result;

use super::{
    Cpu, Lines, Tiling, math,
    tile::{Cells, Halves, Plain, Stretch, Sums, multiply, multiply_on},
};

/// Columns of a panel are two vectors wide.
pub(crate) const VECTORS: usize = 2;

/// Tiles of rows that share one pass over the panels.
pub(crate) const TILES: usize = 8;

/// Segments of a tile that are found once for all panels: those of a 3×3 kernel at the edge of a picture, or of a 3×3×3
/// kernel inside.
const STRETCHES: usize = 9;

/// Rows of a panel that are used for all tiles before the next: they and the elements for them stay in the second cache.
const NEAR: usize = 3072;

/// Memory to work with, for `T` tiles.
struct Desk<'a, S: Simd, const MR: usize, const T: usize> {
    /// Their first segments.
    stretches: [[Stretch<'a, MR>; STRETCHES]; T],
    /// Their sums, for a panel of [`VECTORS`] and one of a single vector.
    sums: [Sums<S, MR, VECTORS>; T],
    narrow: [Sums<S, MR, 1>; T],
}

impl<S: Simd, const MR: usize, const T: usize> Desk<'_, S, MR, T> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        let zero = simd.splat_f32s(0.0);
        Self {
            stretches: [[Stretch::EMPTY; STRETCHES]; T],
            sums: [Sums([[zero; VECTORS]; MR]); T],
            narrow: [Sums([[zero]; MR]); T],
        }
    }
}

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
    F32(Arc<Lines<f32>>),
    /// A 32-bit lane holds column `j` in its lower half and column `j + width/2` in its upper half.
    Bf16(Arc<Lines<u32>>),
}

// Rows of a tile, with 32 vector registers and with fewer. Accumulators take two registers a row; two more hold the panel's
// columns, one or two the row's element. To widen columns takes two registers more.
const F32_ROWS: usize = 14;
const FEW_F32_ROWS: usize = 6;
const BF16_ROWS: usize = 12;
const FEW_BF16_ROWS: usize = 4;

/// Rows of a smaller tile for what is left over.
pub(crate) const FEW_ROWS: usize = 4;

impl PanelData {
    #[inline(always)]
    fn tile_rows<S: Simd>(&self) -> usize {
        match (self, S::REGISTER_COUNT >= 32) {
            (Self::F32(_), true) => F32_ROWS,
            (Self::F32(_), false) => FEW_F32_ROWS,
            (Self::Bf16(_), true) => BF16_ROWS,
            (Self::Bf16(_), false) => FEW_BF16_ROWS,
        }
    }
}

impl Panels {
    /// Lays out `weights[column * depth + k]`. A last panel of no more columns than one vector is one vector wide.
    pub(crate) fn from_f32(cpu: &Cpu, weights: &[f32], columns: usize, depth: usize) -> Result<Self> {
        let width = panel_columns(cpu);
        let vector = width / VECTORS;
        let mut data = cpu.lines(columns.div_ceil(vector) * vector * depth)?;
        lay_out(&mut data, width, columns, depth, 1, |at, lane, column, k| {
            at[lane] = weights[column * depth + k];
        });
        Ok(Self { columns, depth, width, data: PanelData::F32(Arc::new(data)) })
    }

    /// Lays out `weights[column * depth + k]`, kept in bf16.
    pub(crate) fn from_bf16(cpu: &Cpu, weights: &[bf16], columns: usize, depth: usize) -> Result<Self> {
        let width = panel_columns(cpu);
        let half = width / VECTORS;
        let mut data = cpu.lines::<u32>(columns.div_ceil(width) * half * depth)?;
        lay_out(&mut data, width, columns, depth, VECTORS, |at, lane, column, k| {
            let bits = u32::from(weights[column * depth + k].to_bits());
            at[lane % half] |= if lane < half { bits } else { bits << 16 };
        });
        Ok(Self { columns, depth, width, data: PanelData::Bf16(Arc::new(data)) })
    }

    /// How the kernel goes through rows.
    pub(crate) fn tiling(&self, cpu: &Cpu) -> Tiling {
        struct TileRows<'a>(&'a PanelData);
        impl WithSimd for TileRows<'_> {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> usize {
                self.0.tile_rows::<S>()
            }
        }
        Tiling { rows: cpu.arch().dispatch(TileRows(&self.data)), rest: FEW_ROWS }
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

    /// The elements of a segment of several rows.
    #[inline(always)]
    fn gather<'a, const MR: usize>(
        &'a self,
        places: &[Self::Place; MR],
        segment: Self::Segment,
        rows: &mut [&'a [f32]; MR],
    ) {
        for (elements, &place) in rows.iter_mut().zip(places) {
            *elements = self.elements(place, segment);
        }
    }

    /// Are the elements of a segment zero in all these rows?
    fn zero(&self, places: &[Self::Place], segment: Self::Segment) -> bool;
}

/// Rows of `depth` elements, `stride` apart.
pub(crate) struct Dense<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) depth: usize,
    pub(crate) stride: usize,
}

impl Dense<'_> {
    /// All elements of row `row`.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.stride..][..self.depth]
    }
}

/// Long rows come in pieces.
impl Rows for Dense<'_> {
    type Place = usize;
    type Segment = usize;

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
    fn first(&self, _: bool) -> Option<usize> {
        Some(0)
    }

    #[inline(always)]
    fn following(&self, start: usize, _: bool) -> Option<usize> {
        let next = start + NEAR;
        (next < self.depth).then_some(next)
    }

    #[inline(always)]
    fn range(&self, start: usize) -> Range<usize> {
        start..self.depth.min(start + NEAR)
    }

    #[inline(always)]
    fn elements(&self, place: usize, start: usize) -> &[f32] {
        &self.data[place..place + self.depth][self.range(start)]
    }

    #[inline(always)]
    fn zero(&self, _: &[usize], _: usize) -> bool {
        false
    }
}

/// What happens to sums on their way to the result. Each kind of [`Rows`] has one of these, not several: the kernel is
/// compiled for every pair.
pub(crate) trait Finish: Sync {
    /// What becomes of `count` sums (with the bias) of row `row` of the result, from column `column` on. The lanes beyond
    /// them mean nothing.
    fn finish<S: Simd>(&self, simd: S, row: usize, column: usize, count: usize, sums: S::f32s) -> S::f32s;
}

/// `count` numbers from `start` on, at most a vector.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, values: &[f32], start: usize, count: usize) -> S::f32s {
    let values = &values[start..start + count];
    match S::as_simd_f32s(values).0.first() {
        Some(&vector) => vector,
        None => simd.partial_load_f32s(values),
    }
}

/// Stores `out.len()` numbers, at most a vector.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, out: &mut [f32], values: S::f32s) {
    match S::as_mut_simd_f32s(out).0.first_mut() {
        Some(out) => *out = values,
        None => simd.partial_store_f32s(out, values),
    }
}

/// An activation function of each sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activate {
    Gelu,
    GeluErf,
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
            Self::GeluErf => each(values, math::gelu_erf),
            Self::Silu => each(values, math::silu),
            Self::Relu => each(values, |v| math::max(v, 0.0)),
            Self::LeakyRelu(slope) => each(values, |v| if v > 0.0 { v } else { v * slope }),
            Self::Sigmoid => each(values, math::sigmoid),
            Self::Tanh => each(values, math::tanh),
        }
    }

    /// The activation of every lane.
    #[inline(always)]
    pub(crate) fn lanes<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::Gelu => math::gelu_lanes(simd, x),
            Self::GeluErf => math::gelu_erf_lanes(simd, x),
            Self::Silu => math::silu_lanes(simd, x),
            Self::Relu => simd.max_f32s(x, simd.splat_f32s(0.0)),
            Self::LeakyRelu(slope) => {
                let below = simd.mul_f32s(x, simd.splat_f32s(slope));
                simd.select_f32s(simd.less_than_f32s(simd.splat_f32s(0.0), x), x, below)
            }
            Self::Sigmoid => math::sigmoid_lanes(simd, x),
            Self::Tanh => math::tanh_lanes(simd, x),
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
    let block = cpu.block_of_tiles(count, work_per_row, panels.tiling(cpu));
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
        match (&self.panels.data, self.panels.data.tile_rows::<S>()) {
            (PanelData::F32(_), F32_ROWS) => self.run::<S, F32_ROWS, false>(simd),
            (PanelData::F32(_), _) => self.run::<S, FEW_F32_ROWS, false>(simd),
            (PanelData::Bf16(_), BF16_ROWS) => self.run::<S, BF16_ROWS, true>(simd),
            (PanelData::Bf16(_), _) => self.run::<S, FEW_BF16_ROWS, true>(simd),
        }
    }
}

impl<'a, R: Rows, F: Finish> Block<'a, R, F> {
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const BF16: bool>(mut self, simd: S) {
        let count = self.count;
        let mut row = 0;
        let mut desk = Desk::<S, MR, TILES>::new(simd);
        while count - row >= MR {
            let tiles = ((count - row) / MR).min(TILES);
            self.tiles::<S, MR, TILES, BF16>(simd, row, tiles, MR, &mut desk);
            row += tiles * MR;
        }
        // Few rows leave the arithmetic units waiting for each other's results: a tile that repeats its last row
        // takes no longer than its rows one by one.
        match count - row {
            0 => {}
            1 => self.tiles::<S, 1, 1, BF16>(simd, row, 1, 1, &mut Desk::new(simd)),
            live @ 2..=FEW_ROWS => {
                self.tiles::<S, FEW_ROWS, 1, BF16>(simd, row, 1, live, &mut Desk::new(simd));
            }
            live => self.tiles::<S, MR, TILES, BF16>(simd, row, 1, live, &mut desk),
        }
    }

    /// All panels for `used` tiles of `MR` rows each, from `row` on: a panel is used for all tiles while it is near. Of
    /// the last tile, `live` rows are there; the others repeat the last of them. `BF16` tells the kind of panels, for one
    /// kind is compiled at a time.
    #[inline(always)]
    fn tiles<S: Simd, const MR: usize, const T: usize, const BF16: bool>(
        &mut self,
        simd: S,
        row: usize,
        used: usize,
        live: usize,
        desk: &mut Desk<'a, S, MR, T>,
    ) {
        let Panels { columns, depth, width, .. } = *self.panels;
        let rows = self.rows;
        let Desk { stretches, sums, narrow } = desk;
        let mut places = [[rows.place(self.first + row); MR]; T];
        locate(rows, places[..used].as_flattened_mut(), (used - 1) * MR + live);
        let mut gathered = [(0, None); T];
        for ((gathered, places), stretches) in gathered.iter_mut().zip(&places[..used]).zip(&mut *stretches) {
            *gathered = gather(rows, places, rows.first(rows.whole(places)), stretches);
        }
        let tiles: [Segments<'_, 'a, R, MR>; T] = std::array::from_fn(|tile| {
            let (count, following) = gathered[tile];
            Segments { rows, places: &places[tile], stretches: &stretches[tile][..count], following }
        });
        let tiles = Tiles { tiles: &tiles[..used], row: self.first + row, live };
        for panel in 0..columns.div_ceil(width) {
            let column = panel * width;
            let columns = column..columns.min(column + width);
            match &self.panels.data {
                PanelData::F32(data) if !BF16 && columns.len() <= S::F32_LANES => {
                    let data = S::as_simd_f32s(&data[column * depth..][..S::F32_LANES * depth]).0;
                    self.panel::<S, Plain, MR, 1>(simd, &tiles, data.as_chunks().0, columns, narrow);
                }
                PanelData::F32(data) if !BF16 => {
                    let data = S::as_simd_f32s(&data[column * depth..][..width * depth]).0;
                    self.panel::<S, Plain, MR, VECTORS>(simd, &tiles, data.as_chunks().0, columns, sums);
                }
                PanelData::Bf16(data) if BF16 => {
                    let half = width / VECTORS;
                    let data = S::as_simd_u32s(&data[panel * half * depth..][..half * depth]).0;
                    self.panel::<S, Halves, MR, VECTORS>(simd, &tiles, data, columns, sums);
                }
                _ => {}
            }
        }
    }

    /// One panel, which makes these columns, for all tiles.
    #[inline(always)]
    fn panel<S: Simd, C: Cells<S, V>, const MR: usize, const V: usize>(
        &mut self,
        simd: S,
        tiles: &Tiles<'_, 'a, R, MR>,
        panel: &[C::Cell],
        columns: Range<usize>,
        sums: &mut [Sums<S, MR, V>],
    ) {
        let start = bias_of_panel(simd, self.bias, columns.start, columns.len());
        let Tiles { tiles, row, live } = *tiles;
        let long = panel.len() > NEAR;
        let rows = |tile: usize| if tile + 1 == tiles.len() { live } else { MR };
        for (tile, segments) in tiles.iter().enumerate() {
            let stretches = if long { segments.near(0) } else { segments.stretches };
            let sums = &mut sums[if long { tile } else { 0 }];
            multiply::<S, C, MR, V>(simd, stretches, panel, &start, sums);
            if !long {
                segments.rest::<S, C, V>(simd, panel, sums);
                self.put(simd, row + tile * MR, columns.clone(), &sums.0[..rows(tile)]);
            }
        }
        if !long {
            return;
        }
        for first in (NEAR..panel.len()).step_by(NEAR) {
            for (segments, sums) in tiles.iter().zip(&mut *sums) {
                multiply_on::<S, C, MR, V>(simd, segments.near(first), panel, sums);
            }
        }
        for (tile, (segments, sums)) in tiles.iter().zip(sums).enumerate() {
            segments.rest::<S, C, V>(simd, panel, sums);
            self.put(simd, row + tile * MR, columns.clone(), &sums.0[..rows(tile)]);
        }
    }

    /// Finishes and stores the sums of rows from `row` on.
    #[inline(always)]
    fn put<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        columns: Range<usize>,
        sums: &[[S::f32s; V]],
    ) {
        let Self { rows, finish, base, .. } = *self;
        let stride = self.panels.columns;
        simd.vectorize(Put { simd, rows, finish, sums, row, base, columns, stride, out: self.out });
    }
}

/// Finishes and stores a tile. It is a function of its own, compiled once for all kinds of tiles.
pub(crate) struct Put<'a, S: Simd, R, F, const V: usize> {
    pub(crate) simd: S,
    pub(crate) rows: &'a R,
    pub(crate) finish: &'a F,
    pub(crate) sums: &'a [[S::f32s; V]],
    /// The first row.
    pub(crate) row: usize,
    /// The row of the result with which `out` begins.
    pub(crate) base: usize,
    /// Those of the result that there are sums of.
    pub(crate) columns: Range<usize>,
    /// Columns of the result.
    pub(crate) stride: usize,
    pub(crate) out: &'a mut [f32],
}

impl<S: Simd, R: Rows, F: Finish, const V: usize> WithSimd for Put<'_, S, R, F, V> {
    type Output = ();

    // The type given here is `S`, but the compiler does not know it.
    #[inline(always)]
    fn with_simd<Same: Simd>(self, _: Same) {
        let Self { simd, rows, finish, sums, row, base, columns, stride, out } = self;
        for (m, sums) in sums.iter().enumerate() {
            let row = rows.target(row + m);
            let at = (row - base) * stride;
            let out = &mut out[at + columns.start..at + columns.end];
            if columns.len() == V * S::F32_LANES {
                let out = &mut S::as_mut_simd_f32s(out).0[..V];
                for v in 0..V {
                    let column = columns.start + v * S::F32_LANES;
                    out[v] = finish.finish(simd, row, column, S::F32_LANES, sums[v]);
                }
                continue;
            }
            for (v, sums) in sums.iter().enumerate() {
                let start = (v * S::F32_LANES).min(out.len());
                let out = &mut out[start..columns.len().min(start + S::F32_LANES)];
                let values = finish.finish(simd, row, columns.start + start, out.len(), *sums);
                store(simd, out, values);
            }
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
    std::array::from_fn(|v| {
        let start = (v * S::F32_LANES).min(valid);
        load(simd, bias, column + start, (valid - start).min(S::F32_LANES))
    })
}

/// Fills `places`, the first of which is right, with the places of consecutive rows; those from `live` on repeat the last.
fn locate<R: Rows>(rows: &R, places: &mut [R::Place], live: usize) {
    let Some(&first) = places.first() else { return };
    let mut place = first;
    for (index, slot) in places.iter_mut().enumerate().skip(1) {
        if index < live {
            place = rows.next(place);
        }
        *slot = place;
    }
}

/// Finds segments of the rows at `places`, from `segment` on, until there is no room for more; those that are zero need
/// none. Returns how many there are, and the one after them.
fn gather<'a, R: Rows, const MR: usize>(
    rows: &'a R,
    places: &[R::Place; MR],
    segment: Option<R::Segment>,
    stretches: &mut [Stretch<'a, MR>; STRETCHES],
) -> (usize, Option<R::Segment>) {
    let whole = rows.whole(places);
    let mut next = segment;
    let mut count = 0;
    while let (Some(segment), Some(stretch)) = (next, stretches.get_mut(count)) {
        next = rows.following(segment, whole);
        if rows.zero(places, segment) {
            continue;
        }
        stretch.first = rows.range(segment).start;
        rows.gather(places, segment, &mut stretch.rows);
        count += 1;
    }
    (count, next)
}

/// Tiles of rows that follow one another.
struct Tiles<'s, 'a, R: Rows, const MR: usize> {
    tiles: &'s [Segments<'s, 'a, R, MR>],
    /// The first row.
    row: usize,
    /// Rows of the last tile that are there.
    live: usize,
}

/// All segments of a tile's rows: those at hand, and those from `following` on.
struct Segments<'s, 'a, R: Rows, const MR: usize> {
    rows: &'a R,
    places: &'s [R::Place; MR],
    stretches: &'s [Stretch<'a, MR>],
    following: Option<R::Segment>,
}

impl<'s, 'a, R: Rows, const MR: usize> Segments<'s, 'a, R, MR> {
    /// Those at hand that begin at most [`NEAR`] behind `first`.
    #[inline(always)]
    fn near(&self, first: usize) -> &'s [Stretch<'a, MR>] {
        let begin = self.stretches.partition_point(|stretch| stretch.first < first);
        let end = self.stretches.partition_point(|stretch| stretch.first < first + NEAR);
        &self.stretches[begin..end]
    }

    /// Adds the products of the segments that are not at hand.
    #[inline(always)]
    fn rest<S: Simd, C: Cells<S, V>, const V: usize>(
        &self,
        simd: S,
        panel: &[C::Cell],
        sums: &mut Sums<S, MR, V>,
    ) {
        let mut following = self.following;
        while following.is_some() {
            let mut stretches = [Stretch::EMPTY; STRETCHES];
            let (count, next) = gather(self.rows, self.places, following, &mut stretches);
            // In the same order as if all had been at hand, so that no sum depends on its neighbours in the tile.
            multiply_on::<S, C, MR, V>(simd, &stretches[..count], panel, sums);
            following = next;
        }
    }
}
