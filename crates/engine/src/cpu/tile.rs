//! The innermost loop of matrix products: a tile of rows times a panel of columns.
//!
//! It is a function of its own, compiled for the machine's instruction set once for each shape of tile, however many
//! kinds of rows there are. Inlined into them, it would share its registers with whatever else goes on there.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

/// Steps along the inner dimension that are taken at a time.
const CHUNK: usize = 4;

/// How a row of a panel is stored.
pub(crate) trait Cells<S: Simd, const V: usize> {
    /// A row.
    type Cell;

    /// Its columns.
    fn widen(simd: S, cell: &Self::Cell) -> [S::f32s; V];
}

/// As numbers.
pub(crate) struct Plain;

impl<S: Simd, const V: usize> Cells<S, V> for Plain {
    type Cell = [S::f32s; V];

    #[inline(always)]
    fn widen(_: S, cell: &[S::f32s; V]) -> [S::f32s; V] {
        *cell
    }
}

/// In bf16: a 32-bit lane holds one column in its lower half and another in its upper half.
pub(crate) struct Halves;

impl<S: Simd> Cells<S, 2> for Halves {
    type Cell = S::u32s;

    #[inline(always)]
    fn widen(simd: S, lanes: &S::u32s) -> [S::f32s; 2] {
        let low = simd.wrapping_dyn_shl_u32s(*lanes, simd.splat_u32s(16));
        let high = simd.and_u32s(*lanes, simd.splat_u32s(0xffff_0000));
        [simd.transmute_f32s_u32s(low), simd.transmute_f32s_u32s(high)]
    }
}

/// A stretch of the inner dimension of `MR` rows.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a, const MR: usize> {
    /// Its elements of each row, as many for all.
    pub(crate) rows: [&'a [f32]; MR],
    /// The row of the panel for the first element.
    pub(crate) first: usize,
}

impl<const MR: usize> Stretch<'_, MR> {
    pub(crate) const EMPTY: Self = Self { rows: [&[]; MR], first: 0 };
}

/// A tile of the result. Vectors that begin at a cache line are read sooner after they were written.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Sums<S: Simd, const MR: usize, const V: usize>(pub(crate) [[S::f32s; V]; MR]);

/// `sums[m] = start + rows[m] · panel` over some stretches of `MR` rows.
#[inline(always)]
pub(crate) fn multiply<S: Simd, C: Cells<S, V>, const MR: usize, const V: usize>(
    simd: S,
    stretches: &[Stretch<'_, MR>],
    panel: &[C::Cell],
    start: &[S::f32s; V],
    sums: &mut Sums<S, MR, V>,
) {
    let cells = PhantomData::<C>;
    simd.vectorize(Multiply::<'_, S, C, MR, V, false> { simd, stretches, panel, start, sums, cells });
}

/// `sums[m] += rows[m] · panel` over some stretches of `MR` rows, in the order in which [`multiply`] would have gone on.
#[inline(always)]
pub(crate) fn multiply_on<S: Simd, C: Cells<S, V>, const MR: usize, const V: usize>(
    simd: S,
    stretches: &[Stretch<'_, MR>],
    panel: &[C::Cell],
    sums: &mut Sums<S, MR, V>,
) {
    let (cells, start) = (PhantomData::<C>, &[simd.splat_f32s(0.0); V]);
    simd.vectorize(Multiply::<'_, S, C, MR, V, true> { simd, stretches, panel, start, sums, cells });
}

struct Multiply<'a, S: Simd, C: Cells<S, V>, const MR: usize, const V: usize, const ON: bool> {
    simd: S,
    stretches: &'a [Stretch<'a, MR>],
    panel: &'a [C::Cell],
    /// What the sums begin with, unless they are there already.
    start: &'a [S::f32s; V],
    sums: &'a mut Sums<S, MR, V>,
    cells: PhantomData<C>,
}

impl<S: Simd, C: Cells<S, V>, const MR: usize, const V: usize, const ON: bool> WithSimd
    for Multiply<'_, S, C, MR, V, ON>
{
    type Output = ();

    // The type given here is `S`, but the compiler does not know it.
    #[inline(always)]
    fn with_simd<Same: Simd>(self, _: Same) {
        let simd = self.simd;
        // They stay in registers over all stretches.
        let mut sums = if ON { self.sums.0 } else { [*self.start; MR] };
        for Stretch { rows, first } in self.stretches {
            let panel = &self.panel[*first..][..rows[0].len()];
            // Arrays of known length need no check at each element, which would keep the sums out of the registers.
            let (chunks, rest) = panel.as_chunks::<CHUNK>();
            let mut row_chunks: [&[[f32; CHUNK]]; MR] = [&[]; MR];
            let mut row_rests: [&[f32]; MR] = [&[]; MR];
            for m in 0..MR {
                let (chunk, rest) = rows[m][..panel.len()].as_chunks();
                row_chunks[m] = &chunk[..chunks.len()];
                row_rests[m] = rest;
            }
            for (index, cells) in chunks.iter().enumerate() {
                let mut elements = [&[0.0; CHUNK]; MR];
                for m in 0..MR {
                    elements[m] = &row_chunks[m][index];
                }
                for k in 0..CHUNK {
                    let columns = C::widen(simd, &cells[k]);
                    for m in 0..MR {
                        let element = simd.splat_f32s(elements[m][k]);
                        for v in 0..V {
                            sums[m][v] = simd.mul_add_f32s(element, columns[v], sums[m][v]);
                        }
                    }
                }
            }
            for (k, cell) in rest.iter().enumerate() {
                let columns = C::widen(simd, cell);
                for m in 0..MR {
                    let element = simd.splat_f32s(row_rests[m][k]);
                    for v in 0..V {
                        sums[m][v] = simd.mul_add_f32s(element, columns[v], sums[m][v]);
                    }
                }
            }
        }
        self.sums.0 = sums;
    }
}
