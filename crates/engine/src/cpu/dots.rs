//! Matrix products with very few columns, as dot products: the vector lanes run along the inner dimension, where a
//! panel of columns would stay almost empty.

use pulp::{Simd, WithSimd};

use super::{
    Tiling,
    gemm::{Finish, Rows, load, store},
};

/// Most columns for which this is the faster way.
pub(crate) const MAX_COLUMNS: usize = 4;

/// The number of rows that the kernel makes at a time divides this, whatever the number of columns; none may be left over, for
/// at the borders of pictures sums depend on a tile's other rows.
pub(crate) const TILING: Tiling = Tiling { rows: 24, rest: 0 };

/// A weight matrix `[columns, depth]` of at most [`MAX_COLUMNS`] columns, row-major.
#[derive(Clone)]
pub(crate) struct Dots {
    pub(crate) data: std::sync::Arc<[f32]>,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
}

/// A run of rows, on one thread; the fields are those of [`super::gemm::Block`].
pub(crate) struct Block<'a, R, F> {
    pub(crate) rows: &'a R,
    pub(crate) dots: &'a Dots,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) finish: &'a F,
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) base: usize,
    pub(crate) out: &'a mut [f32],
}

impl<R: Rows, F: Finish> WithSimd for Block<'_, R, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let many = S::REGISTER_COUNT >= 32;
        match self.dots.columns {
            1 if many => self.run::<S, 1, 8>(simd),
            2 if many => self.run::<S, 2, 8>(simd),
            3 if many => self.run::<S, 3, 8>(simd),
            4 if many => self.run::<S, 4, 6>(simd),
            1 => self.run::<S, 1, 8>(simd),
            2 => self.run::<S, 2, 4>(simd),
            3 => self.run::<S, 3, 3>(simd),
            4 => self.run::<S, 4, 2>(simd),
            // No such matrix is made.
            _ => {}
        }
    }
}

impl<R: Rows, F: Finish> Block<'_, R, F> {
    #[inline(always)]
    fn run<S: Simd, const N: usize, const MR: usize>(mut self, simd: S) {
        let mut row = 0;
        while self.count - row >= MR {
            self.tile::<S, N, MR>(simd, self.first + row);
            row += MR;
        }
        while row < self.count {
            self.tile::<S, N, 1>(simd, self.first + row);
            row += 1;
        }
    }

    /// `MR` rows from `row` on, all columns.
    #[inline(always)]
    fn tile<S: Simd, const N: usize, const MR: usize>(&mut self, simd: S, row: usize) {
        let mut place = self.rows.place(row);
        let mut places = [place; MR];
        for slot in &mut places {
            *slot = place;
            place = self.rows.next(place);
        }
        let depth = self.dots.depth;
        let mut acc = [[simd.splat_f32s(0.0); N]; MR];
        let whole = self.rows.whole(&places);
        let mut next = self.rows.first(whole);
        while let Some(segment) = next {
            next = self.rows.following(segment, whole);
            let range = self.rows.range(segment);
            let len = range.len();
            let full = len / S::F32_LANES;
            let mut rows: [&[f32]; MR] = [&[]; MR];
            let mut row_vectors: [&[S::f32s]; MR] = [&[]; MR];
            for m in 0..MR {
                rows[m] = &self.rows.elements(places[m], segment)[..len];
                row_vectors[m] = &S::as_simd_f32s(rows[m]).0[..full];
            }
            let mut weights: [&[f32]; N] = [&[]; N];
            let mut weight_vectors: [&[S::f32s]; N] = [&[]; N];
            for n in 0..N {
                weights[n] = &self.dots.data[n * depth + range.start..][..len];
                weight_vectors[n] = &S::as_simd_f32s(weights[n]).0[..full];
            }
            // Sums that only this loop knows stay in registers.
            let mut sums = acc;
            for k in 0..full {
                for m in 0..MR {
                    for n in 0..N {
                        sums[m][n] = simd.mul_add_f32s(row_vectors[m][k], weight_vectors[n][k], sums[m][n]);
                    }
                }
            }
            acc = sums;
            let done = full * S::F32_LANES;
            if done < len {
                for n in 0..N {
                    let weights = simd.partial_load_f32s(&weights[n][done..]);
                    for m in 0..MR {
                        let elements = simd.partial_load_f32s(&rows[m][done..]);
                        acc[m][n] = simd.mul_add_f32s(elements, weights, acc[m][n]);
                    }
                }
            }
        }
        for (m, acc) in acc.iter().enumerate() {
            let target = self.rows.target(row + m);
            let out = &mut self.out[(target - self.base) * N..][..N];
            let mut sums = [0.0; N];
            for (n, (sum, &acc)) in sums.iter_mut().zip(acc).enumerate() {
                *sum = simd.reduce_sum_f32s(acc) + self.bias.map_or(0.0, |bias| bias[n]);
            }
            for (index, (out, sums)) in
                out.chunks_mut(S::F32_LANES).zip(sums.chunks(S::F32_LANES)).enumerate()
            {
                let sums = load(simd, sums, 0, out.len());
                let values = self.finish.finish(simd, target, index * S::F32_LANES, out.len(), sums);
                store(simd, out, values);
            }
        }
    }
}
