//! Matrix products with weights in 8-bit integers.
//!
//! Each row of the weights has a scale. Each row of the input is rounded to integers when it is used, under a scale of
//! its own; products are added up in 32 bits, exactly, and scaled at the end. The machines' instruction multiplies 16-bit
//! integers in pairs (`pmaddwd`, with VNNI `vpdpwssd`), so inputs keep up to 15 bits and a sign: as many as can't overflow
//! the sums. Rounding the inputs therefore costs next to nothing, and every instruction set gives the same bits.

use std::sync::Arc;

use bytemuck::Pod;
use pulp::{NullaryFnOnce, Simd};
use rayon::prelude::*;

use crate::Result;

use super::{
    Cpu, Lines, Tiling,
    gemm::{Dense, FEW_ROWS, Finish, Put, TILES, VECTORS, load, panel_columns},
    tile::Sums,
};

/// Largest inner dimension: inputs then still have 7 bits and a sign.
pub(crate) const MAX_DEPTH: usize = 1 << 17;

/// Rows of the largest tile.
const MOST_ROWS: usize = 14;

/// Pairs of the inner dimension that are taken at a time.
const CHUNK: usize = 4;

/// A weight matrix `[columns, depth]` in panels: for each panel, for each pair of `k`, its columns.
#[derive(Clone)]
pub(crate) struct Panels {
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    width: usize,
    data: Arc<Lines<i8>>,
    /// One for each column; the last panel is filled up.
    scales: Arc<Lines<f32>>,
}

impl Panels {
    /// Lays out `weights[column * depth + k]`, which mean as many times `scales[column]`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub(crate) fn new(cpu: &Cpu, weights: &[i8], scales: &[f32], depth: usize) -> Result<Self> {
        Self::of_width(cpu, panel_columns(cpu), weights, scales, depth)
    }

    fn of_width(cpu: &Cpu, width: usize, weights: &[i8], scales: &[f32], depth: usize) -> Result<Self> {
        let columns = scales.len();
        let pairs = depth.div_ceil(2);
        let mut data = cpu.lines(columns.next_multiple_of(width) * pairs * 2)?;
        for column in 0..columns {
            let (panel, lane) = (column / width, column % width);
            for (k, &weight) in weights[column * depth..][..depth].iter().enumerate() {
                data[((panel * pairs + k / 2) * width + lane) * 2 + k % 2] = weight;
            }
        }
        let mut padded = cpu.lines(columns.next_multiple_of(width))?;
        padded[..columns].copy_from_slice(scales);
        Ok(Self { columns, depth, width, data: Arc::new(data), scales: Arc::new(padded) })
    }

    /// Bytes of the weights as stored.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + 4 * self.scales.len()
    }

    /// The largest integer to which inputs are rounded: sums of `depth` products with −128 can't overflow.
    fn limit(&self) -> f32 {
        (i32::MAX as usize / (128 * self.depth.max(1))).min(i16::MAX as usize) as f32
    }
}

/// Rounds a row to integers from `-limit` to `limit`, two to a word, and returns their scale. A row with something in it
/// that is not finite has the scale NaN, and so have all its results.
#[inline(always)]
fn quantise(row: &[f32], limit: f32, out: &mut [u32]) -> f32 {
    /// Added, leaves the integer in the lowest bits: 1.5 · 2^23.
    const ROUND: f32 = 12_582_912.0;
    // Without the sign, bits grow with the number, and those of NaN are the largest.
    let bits = row.iter().fold(0, |bits, value| (value.to_bits() & 0x7fff_ffff).max(bits));
    let largest = f32::from_bits(bits);
    let scale = largest / limit;
    if !largest.is_finite() || scale < f32::MIN_POSITIVE {
        out.fill(0);
        return if largest.is_finite() { 0.0 } else { f32::NAN };
    }
    let inverse = limit / largest;
    if let Some(last) = out.last_mut() {
        *last = 0;
    }
    for (out, &value) in bytemuck::cast_slice_mut::<u32, i16>(out).iter_mut().zip(row) {
        *out = (value * inverse + ROUND).to_bits() as i16;
    }
    scale
}

/// The instructions of a machine for products of integers.
pub(crate) trait Dot: Copy + Send + Sync {
    /// Its vectors of `f32`, of as many lanes as sums.
    type S: Simd;
    /// A vector of 32-bit sums.
    type Sums: Copy;
    /// Two weights for each of them.
    type Packed: Pod;
    /// Two 16-bit integers for each of them.
    type Words: Copy;

    fn simd(self) -> Self::S;
    fn zeros(self) -> Self::Sums;
    fn widen(self, packed: Self::Packed) -> Self::Words;
    /// The same two for all sums.
    fn splat(self, pair: u32) -> Self::Words;
    /// `sums + a₀ b₀ + a₁ b₁`
    fn add(self, sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums;
    fn floats(self, sums: Self::Sums) -> <Self::S as Simd>::f32s;
    /// Runs `f` compiled for the machine.
    fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output;
}

/// What every machine has, in vectors of `N`.
#[derive(Clone, Copy)]
struct Portable<S, const N: usize>(S);

macro_rules! portable {
    ($lanes: literal) => {
        impl<S: Simd> Dot for Portable<S, $lanes> {
            type S = S;
            type Sums = [i32; $lanes];
            type Packed = [[i8; 2]; $lanes];
            type Words = [[i16; 2]; $lanes];

            #[inline(always)]
            fn simd(self) -> S {
                self.0
            }

            #[inline(always)]
            fn zeros(self) -> Self::Sums {
                [0; $lanes]
            }

            #[inline(always)]
            fn widen(self, packed: Self::Packed) -> Self::Words {
                packed.map(|pair| pair.map(i16::from))
            }

            #[inline(always)]
            fn splat(self, pair: u32) -> Self::Words {
                [bytemuck::cast(pair); $lanes]
            }

            #[inline(always)]
            fn add(self, sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums {
                std::array::from_fn(|lane| {
                    let product = |k: usize| i32::from(a[lane][k]) * i32::from(b[lane][k]);
                    sums[lane] + (product(0) + product(1))
                })
            }

            #[inline(always)]
            fn floats(self, sums: Self::Sums) -> S::f32s {
                load(self.0, &sums.map(|sum| sum as f32), 0, $lanes)
            }

            #[inline(always)]
            fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output {
                struct Run<F>(F);
                impl<F: NullaryFnOnce> pulp::WithSimd for Run<F> {
                    type Output = F::Output;
                    #[inline(always)]
                    fn with_simd<S: Simd>(self, _: S) -> F::Output {
                        self.0.call()
                    }
                }
                self.0.vectorize(Run(f))
            }
        }
    };
}

portable!(1);
portable!(4);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use bytemuck::cast;
    use core::arch::x86_64::{__m256i, __m512i};
    use pulp::{NullaryFnOnce, f32x8, f32x16, x86::V3, x86::V4};

    use super::Dot;

    pulp::simd_type!({
        /// AVX-512 with VNNI.
        pub(super) struct Vnni {
            pub(super) avx512f: f!("avx512f"),
            pub(super) avx512bw: f!("avx512bw"),
            pub(super) avx512cd: f!("avx512cd"),
            pub(super) avx512dq: f!("avx512dq"),
            pub(super) avx512vl: f!("avx512vl"),
            pub(super) avx512vnni: f!("avx512vnni"),
            pub(super) fma: f!("fma"),
            pub(super) bmi1: f!("bmi1"),
            pub(super) bmi2: f!("bmi2"),
        }
    });

    /// AVX-512. Compiled with VNNI, the compiler makes one instruction of product and sum.
    #[derive(Clone, Copy)]
    pub(super) struct Wide {
        pub(super) v4: V4,
        pub(super) vnni: Option<Vnni>,
    }

    impl Dot for Wide {
        type S = V4;
        type Sums = __m512i;
        type Packed = [i8; 32];
        type Words = __m512i;

        #[inline(always)]
        fn simd(self) -> V4 {
            self.v4
        }

        #[inline(always)]
        fn zeros(self) -> __m512i {
            self.v4.avx512f._mm512_setzero_si512()
        }

        #[inline(always)]
        fn widen(self, packed: [i8; 32]) -> __m512i {
            self.v4.avx512bw._mm512_cvtepi8_epi16(cast::<_, __m256i>(packed))
        }

        #[inline(always)]
        fn splat(self, pair: u32) -> __m512i {
            self.v4.avx512f._mm512_set1_epi32(pair as i32)
        }

        #[inline(always)]
        fn add(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
            self.v4.avx512f._mm512_add_epi32(sums, self.v4.avx512bw._mm512_madd_epi16(a, b))
        }

        #[inline(always)]
        fn floats(self, sums: __m512i) -> f32x16 {
            cast(self.v4.avx512f._mm512_cvtepi32_ps(sums))
        }

        #[inline(always)]
        fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output {
            match self.vnni {
                Some(vnni) => vnni.vectorize(f),
                None => self.v4.vectorize(f),
            }
        }
    }

    /// AVX2.
    #[derive(Clone, Copy)]
    pub(super) struct Narrow(pub(super) V3);

    impl Dot for Narrow {
        type S = V3;
        type Sums = __m256i;
        type Packed = [i8; 16];
        type Words = __m256i;

        #[inline(always)]
        fn simd(self) -> V3 {
            self.0
        }

        #[inline(always)]
        fn zeros(self) -> __m256i {
            self.0.avx._mm256_setzero_si256()
        }

        #[inline(always)]
        fn widen(self, packed: [i8; 16]) -> __m256i {
            self.0.avx2._mm256_cvtepi8_epi16(cast(packed))
        }

        #[inline(always)]
        fn splat(self, pair: u32) -> __m256i {
            self.0.avx._mm256_set1_epi32(pair as i32)
        }

        #[inline(always)]
        fn add(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
            self.0.avx2._mm256_add_epi32(sums, self.0.avx2._mm256_madd_epi16(a, b))
        }

        #[inline(always)]
        fn floats(self, sums: __m256i) -> f32x8 {
            cast(self.0.avx._mm256_cvtepi32_ps(sums))
        }

        #[inline(always)]
        fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output {
            self.0.vectorize(f)
        }
    }
}

/// `out[row, column] = finish(rows[row] · panels[column] + bias[column])` on all threads of `cpu`. `out` is row-major
/// without gaps.
pub(crate) fn gemm<F: Finish>(
    cpu: &Cpu,
    rows: &Dense<'_>,
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
    // An operation takes half as long as with `f32`.
    let tiling = Tiling { rows: MOST_ROWS, rest: FEW_ROWS };
    let block = cpu.block_of_tiles(count, columns * panels.depth, tiling);
    let task = |index: usize, out: &mut [f32]| {
        run(cpu, Block { rows, panels, bias, finish, first: index * block, out });
    };
    if block >= count {
        task(0, out);
    } else {
        cpu.enter(|| {
            out.par_chunks_mut(block * columns).enumerate().for_each(|(index, out)| task(index, out));
        });
    }
}

/// A run of rows, on one thread.
struct Block<'a, F> {
    rows: &'a Dense<'a>,
    panels: &'a Panels,
    bias: Option<&'a [f32]>,
    finish: &'a F,
    /// The first row, with which `out` begins.
    first: usize,
    out: &'a mut [f32],
}

/// Runs a block with the best instructions of the machine that fit the panels.
fn run<F: Finish>(cpu: &Cpu, block: Block<'_, F>) {
    struct Generic<'a, F>(&'a Cpu, Block<'a, F>);
    impl<F: Finish> pulp::WithSimd for Generic<'_, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            if S::F32_LANES == 4 {
                self.1.run(self.0, Portable::<S, 4>(simd));
            } else {
                self.1.run(self.0, Portable::<pulp::Scalar, 1>(pulp::Scalar));
            }
        }
    }
    match cpu.arch() {
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(v4) => block.run(cpu, x86::Wide { v4, vnni: x86::Vnni::try_new() }),
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V3(v3) => block.run(cpu, x86::Narrow(v3)),
        arch => arch.dispatch(Generic(cpu, block)),
    }
}

impl<F: Finish> Block<'_, F> {
    fn run<D: Dot>(self, cpu: &Cpu, dot: D) {
        // Sums take two registers a row; besides there are two of weights, the row's element and a product.
        if D::S::REGISTER_COUNT >= 32 {
            self.tiles::<D, MOST_ROWS>(cpu, dot);
        } else {
            self.tiles::<D, 4>(cpu, dot);
        }
    }

    fn tiles<D: Dot, const MR: usize>(mut self, cpu: &Cpu, dot: D) {
        let (depth, columns) = (self.panels.depth, self.panels.columns);
        let pairs = depth.div_ceil(2);
        let count = self.out.len() / columns;
        let group = TILES * MR;
        let mut words = cpu.u32s().scratch(group * pairs);
        // Fresh from the pool, it is not shared.
        let Some(words) = words.unique() else { return };
        let mut scales = [0.0; TILES * MOST_ROWS];
        for start in (0..count).step_by(group) {
            let count = group.min(count - start);
            let first = self.first + start;
            dot.vectorize(Quantise {
                rows: self.rows,
                first,
                limit: self.panels.limit(),
                words: &mut words[..count * pairs],
                pairs,
                scales: &mut scales[..count],
            });
            let mut row = 0;
            let tiles = count / MR;
            self.panels::<D, MR>(dot, first, &words[..tiles * MR * pairs], &scales);
            row += tiles * MR;
            let rest = &mut words[row * pairs..];
            let scales = &scales[row..];
            // A tile whose last rows mean nothing takes no longer than its rows one by one.
            match count - row {
                0 => {}
                1 => self.panels::<D, 1>(dot, first + row, &rest[..pairs], scales),
                live @ 2..=FEW_ROWS => {
                    self.panels::<D, FEW_ROWS>(dot, first + row, &rest[..FEW_ROWS * pairs], &scales[..live]);
                }
                live => self.panels::<D, MR>(dot, first + row, &rest[..MR * pairs], &scales[..live]),
            }
        }
    }

    /// All panels for tiles of `MR` rows of `words`, the first of which is row `first`. Only rows with a scale are stored.
    fn panels<D: Dot, const MR: usize>(&mut self, dot: D, first: usize, words: &[u32], scales: &[f32]) {
        let Panels { columns, depth, width, .. } = *self.panels;
        let pairs = depth.div_ceil(2);
        let simd = dot.simd();
        let lanes = D::S::F32_LANES;
        let mut totals = Totals::<D, MR>([[dot.zeros(); VECTORS]; MR]);
        let mut sums = Sums::<D::S, MR, VECTORS>([[simd.splat_f32s(0.0); VECTORS]; MR]);
        for panel in 0..columns.div_ceil(width) {
            let column = panel * width;
            let valid = width.min(columns - column);
            let data = &self.panels.data[column * pairs * 2..][..width * pairs * 2];
            let column_scales =
                std::array::from_fn(|v| load(simd, &self.panels.scales, column + v * lanes, lanes));
            let bias = std::array::from_fn(|v| {
                let start = (v * lanes).min(valid);
                match self.bias {
                    Some(bias) => load(simd, bias, column + start, (valid - start).min(lanes)),
                    None => simd.splat_f32s(0.0),
                }
            });
            for tile in 0..words.len() / (MR * pairs).max(1) {
                let row = tile * MR;
                let live = MR.min(scales.len() - row);
                let words = &words[row * pairs..][..MR * pairs];
                dot.vectorize(Tile { dot, words, panel: bytemuck::cast_slice(data), sums: &mut totals });
                dot.vectorize(Scale {
                    dot,
                    totals: &totals.0,
                    scales: &scales[row..][..live],
                    column_scales: &column_scales,
                    bias: &bias,
                    sums: &mut sums.0,
                });
                simd.vectorize(Put {
                    simd,
                    rows: self.rows,
                    finish: self.finish,
                    sums: &sums.0[..live],
                    row: first + row,
                    base: self.first,
                    columns: column..column + valid,
                    stride: columns,
                    out: self.out,
                });
            }
        }
    }
}

/// Rounds rows from `first` on.
struct Quantise<'a> {
    rows: &'a Dense<'a>,
    first: usize,
    limit: f32,
    words: &'a mut [u32],
    pairs: usize,
    scales: &'a mut [f32],
}

impl NullaryFnOnce for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, first, limit, words, pairs, scales } = self;
        if pairs == 0 {
            scales.fill(0.0);
            return;
        }
        for (index, (words, scale)) in words.chunks_exact_mut(pairs).zip(scales).enumerate() {
            let row = &rows.data[(first + index) * rows.stride..][..rows.depth];
            *scale = quantise(row, limit, words);
        }
    }
}

/// A tile of `MR` rows times a panel. It is a function of its own: its sums fill the registers.
struct Tile<'a, D: Dot, const MR: usize> {
    dot: D,
    /// Rows of pairs.
    words: &'a [u32],
    panel: &'a [[D::Packed; VECTORS]],
    sums: &'a mut Totals<D, MR>,
}

/// Sums of a tile.
#[repr(align(64))]
struct Totals<D: Dot, const MR: usize>([[D::Sums; VECTORS]; MR]);

/// Scales a tile and adds the bias.
struct Scale<'a, D: Dot> {
    dot: D,
    totals: &'a [[D::Sums; VECTORS]],
    /// Of the rows.
    scales: &'a [f32],
    column_scales: &'a [<D::S as Simd>::f32s; VECTORS],
    bias: &'a [<D::S as Simd>::f32s; VECTORS],
    sums: &'a mut [[<D::S as Simd>::f32s; VECTORS]],
}

impl<D: Dot> NullaryFnOnce for Scale<'_, D> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { dot, totals, scales, column_scales, bias, sums } = self;
        let simd = dot.simd();
        for ((totals, &scale), sums) in totals.iter().zip(scales).zip(sums) {
            let scale = simd.splat_f32s(scale);
            for v in 0..VECTORS {
                let scale = simd.mul_f32s(scale, column_scales[v]);
                let product = simd.mul_f32s(dot.floats(totals[v]), scale);
                sums[v] = simd.add_f32s(product, bias[v]);
            }
        }
    }
}

impl<D: Dot, const MR: usize> NullaryFnOnce for Tile<'_, D, MR> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { dot, words, panel, .. } = self;
        let pairs = panel.len();
        let (chunks, rest) = panel.as_chunks::<CHUNK>();
        let mut row_chunks: [&[[u32; CHUNK]]; MR] = [&[]; MR];
        let mut row_rests: [&[u32]; MR] = [&[]; MR];
        for m in 0..MR {
            let (chunk, rest) = words[m * pairs..][..pairs].as_chunks();
            row_chunks[m] = &chunk[..chunks.len()];
            row_rests[m] = rest;
        }
        let mut totals = [[dot.zeros(); VECTORS]; MR];
        for (index, cells) in chunks.iter().enumerate() {
            let mut elements = [&[0; CHUNK]; MR];
            for m in 0..MR {
                elements[m] = &row_chunks[m][index];
            }
            for k in 0..CHUNK {
                let columns = [dot.widen(cells[k][0]), dot.widen(cells[k][1])];
                for m in 0..MR {
                    let element = dot.splat(elements[m][k]);
                    for v in 0..VECTORS {
                        totals[m][v] = dot.add(totals[m][v], element, columns[v]);
                    }
                }
            }
        }
        for (k, cell) in rest.iter().enumerate() {
            let columns = [dot.widen(cell[0]), dot.widen(cell[1])];
            for m in 0..MR {
                let element = dot.splat(row_rests[m][k]);
                for v in 0..VECTORS {
                    totals[m][v] = dot.add(totals[m][v], element, columns[v]);
                }
            }
        }
        self.sums.0 = totals;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, one product after another.
    fn reference(x: &[f32], weights: &[i8], scales: &[f32], depth: usize, bias: Option<&[f32]>) -> Vec<f32> {
        let limit = (i32::MAX as usize / (128 * depth)).min(32767) as f32;
        let mut out = Vec::new();
        for row in x.chunks_exact(depth) {
            let largest = row.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let scale = largest / limit;
            let finite = row.iter().all(|value| value.is_finite());
            let integers = row.iter().map(|&value| {
                if !finite || scale < f32::MIN_POSITIVE {
                    0
                } else {
                    (value * (limit / largest)).round_ties_even() as i64
                }
            });
            let integers: Vec<i64> = integers.collect();
            let scale = if !finite {
                f32::NAN
            } else if scale < f32::MIN_POSITIVE {
                0.0
            } else {
                scale
            };
            for (column, weights) in weights.chunks_exact(depth).enumerate() {
                let sum: i64 =
                    weights.iter().zip(&integers).map(|(&weight, &value)| i64::from(weight) * value).sum();
                let sum = i32::try_from(sum).expect("sums fit");
                out.push(sum as f32 * (scale * scales[column]) + bias.map_or(0.0, |bias| bias[column]));
            }
        }
        out
    }

    struct Plain;

    impl Finish for Plain {
        fn finish<S: Simd>(&self, _: S, _: usize, _: usize, _: usize, sums: S::f32s) -> S::f32s {
            sums
        }
    }

    /// With each set of instructions that this machine has, and its name.
    fn all(
        x: &[f32],
        weights: &[i8],
        scales: &[f32],
        depth: usize,
        bias: Option<&[f32]>,
    ) -> Vec<(String, Vec<f32>)> {
        let cpu = Cpu::new(std::num::NonZeroUsize::new(2)).expect("threads");
        let rows = Dense { data: x, depth, stride: depth };
        let count = x.len() / depth;
        let mut results = Vec::new();
        let mut with = |name: &str, run: &dyn Fn(Block<'_, Plain>, &Cpu), width: usize| {
            let panels = Panels::of_width(&cpu, width, weights, scales, depth).unwrap();
            let mut out = vec![f32::MAX; count * scales.len()];
            run(Block { rows: &rows, panels: &panels, bias, finish: &Plain, first: 0, out: &mut out }, &cpu);
            results.push((name.to_owned(), out));
        };
        with("scalar", &|block, cpu| block.run(cpu, Portable::<_, 1>(pulp::Scalar)), 2);
        #[cfg(target_arch = "x86_64")]
        {
            use pulp::x86::{V3, V4};
            if let Some(v3) = V3::try_new() {
                with("AVX2", &|block, cpu| block.run(cpu, x86::Narrow(v3)), 16);
            }
            if let Some(v4) = V4::try_new() {
                with("AVX-512", &|block, cpu| block.run(cpu, x86::Wide { v4, vnni: None }), 32);
                if let Some(vnni) = x86::Vnni::try_new() {
                    with("VNNI", &|block, cpu| block.run(cpu, x86::Wide { v4, vnni: Some(vnni) }), 32);
                }
            }
        }
        let panels = Panels::new(&cpu, weights, scales, depth).unwrap();
        let mut out = vec![f32::MAX; count * scales.len()];
        gemm(&cpu, &rows, &panels, bias, &Plain, &mut out);
        results.push(("this machine".to_owned(), out));
        results
    }

    fn assert_equal(x: &[f32], weights: &[i8], scales: &[f32], depth: usize, bias: Option<&[f32]>) {
        let expected: Vec<u32> =
            reference(x, weights, scales, depth, bias).into_iter().map(f32::to_bits).collect();
        for (name, found) in all(x, weights, scales, depth, bias) {
            let found: Vec<u32> = found.into_iter().map(f32::to_bits).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_bits_of_the_definition(
            rows in 1..40usize, depth in 1..70usize, columns in 1..80usize, seed in any::<u64>(), biased in any::<bool>(),
        ) {
            let mut state = seed | 1;
            let mut draw = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
            };
            let x: Vec<f32> = (0..rows * depth).map(|_| draw() * 2f32.powi((draw() * 30.0) as i32)).collect();
            let weights: Vec<i8> = (0..columns * depth).map(|_| (draw() * 128.0).floor() as i8).collect();
            let scales: Vec<f32> = (0..columns).map(|_| draw().abs()).collect();
            let bias: Vec<f32> = (0..columns).map(|_| draw()).collect();
            assert_equal(&x, &weights, &scales, depth, biased.then_some(&bias[..]));
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        for depth in [1, 2, 513, 5120, MAX_DEPTH] {
            for (value, weight) in [(1.0, -128), (-1.0, -128), (f32::MAX, 127), (-f32::MAX, -128)] {
                assert_equal(&vec![value; depth], &vec![weight; depth], &[1e-30], depth, None);
            }
        }
    }

    #[test]
    fn rows_of_zeros_and_of_next_to_nothing_give_the_bias() {
        for value in [0.0, -0.0, 1e-45, -1e-40] {
            for (name, found) in
                all(&[value; 6], &[-128, 127, 1, 5, 6, 7], &[1.0, 2.0], 3, Some(&[0.5, -3.0]))
            {
                assert_eq!(found, [0.5, -3.0, 0.5, -3.0], "{name}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_spoils_its_row_and_no_other() {
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let x = [1.0, 2.0, value, 4.0, 1.0, 2.0];
            for (name, found) in all(&x, &[1, 1], &[1.0], 2, None) {
                assert!(
                    (found[0] - 3.0).abs() < 1e-3 && found[1].is_nan() && (found[2] - 3.0).abs() < 1e-3,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn rounding_the_input_costs_less_than_its_last_bit() {
        let (depth, limit) = (1280, 13107.0);
        let x: Vec<f32> = (0..depth).map(|k| ((k * 7919 % 1009) as f32 / 504.0 - 1.0) * 3.0).collect();
        let weights: Vec<i8> = (0..depth).map(|k| (k * 31 % 255) as i8).collect();
        let exact: f64 = x.iter().zip(&weights).map(|(&x, &weight)| f64::from(x) * f64::from(weight)).sum();
        let largest = x.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        // Each element is off by half a step at most.
        let bound: f64 = weights.iter().map(|&weight| f64::from(weight).abs()).sum::<f64>()
            * f64::from(largest / limit)
            / 2.0;
        for (name, found) in all(&x, &weights, &[1.0], depth, None) {
            let error = (f64::from(found[0]) - exact).abs();
            assert!(error <= bound * 1.001 && error < 1.0, "{name}: {error}, at most {bound}");
        }
    }
}
