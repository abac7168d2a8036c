//! Scaled dot-product attention over keys in several places, without a matrix of scores.
//!
//! The CPU kernel is flash attention (Dao et al. 2022: blocks of keys, running maximum and sum) turned on its side: a
//! block of queries lies across the vector lanes. Scores come out as `[keys, lanes]`, so that maximum, exponential and
//! sum are vertical, and both products read keys and values as they are stored.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use smallvec::SmallVec;

use crate::{
    DType, Device, Result, Shape, Tensor,
    cpu::{
        Cpu, RowKernel,
        gemm::{Dense, VECTORS, panel_columns},
        math,
        tile::{Plain, Stretch, Sums, multiply},
    },
    error::ensure_shape,
    ops::{FixedScale, Fp8Tensor, Scaling, quantise_fp8},
};

/// A run of keys and their values, and a constant added to their scores.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// `[keys, heads, head_dim]`.
    pub k: &'a Tensor,
    /// `[keys, heads, head_dim]`.
    pub v: &'a Tensor,
    /// Added to each score after scaling; `ln(b)` weights these keys by `b`.
    pub bias: f32,
}

impl<'a> Keys<'a> {
    /// Keys whose scores stay as they are.
    #[must_use]
    pub fn new(k: &'a Tensor, v: &'a Tensor) -> Self {
        Self { k, v, bias: 0.0 }
    }
}

/// How scores are made from queries and keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionOptions<'a> {
    /// What `q · k` is multiplied by; `None` is `1 / sqrt(head_dim)`.
    pub scale: Option<f32>,
    /// A bias that depends on head and distance: `[heads, queries + keys - 1]`, entry `key - query + queries - 1`.
    pub relative_bias: Option<&'a Tensor>,
    /// Further keys whose score and value are zero: they take part of the weight and give nothing.
    pub zero_keys: usize,
}

/// `softmax(scale · q kᵀ + bias) v` for every head. `q` is `[queries, heads, head_dim]`, as is the result; the order of
/// the keys matters only to a relative bias.
///
/// `q` and `k` may be [`DType::F8E4M3`], each for itself: the numbers are taken as they are, so that whoever scaled them
/// puts the inverse of both scales into [`AttentionOptions::scale`]. Where all of them are, Hopper multiplies them in 8 bits
/// (heads of 128 features, no relative bias, bf16 arithmetic); elsewhere they are widened, which loses nothing. Values and
/// the result are of the type of activations.
///
/// # Errors
/// [`crate::Error::DType`] when values, or queries or keys other than e4m3, are not `f32` on the CPU;
/// [`crate::Error::Shape`] when heads or head dimensions differ, there is no key, or the relative bias has another size.
pub fn attention(q: &Tensor, keys: &[Keys<'_>], options: &AttentionOptions<'_>) -> Result<Tensor> {
    let (scale, count) = check(q, keys, options)?;
    if let Device::Cuda(cuda) = q.device() {
        return cuda.attention(OP, q, keys, scale, options.relative_bias, options.zero_keys);
    }
    on_cpu(q, keys, options, scale, count)
}

/// [`attention`] with the result in e4m3 as the rows of a linear layer, `[queries, heads · head_dim]`. On Hopper results
/// leave the kernel so, without having been rounded to bf16 in between.
///
/// # Errors
/// As [`attention`].
pub fn attention_fp8(
    q: &Tensor,
    keys: &[Keys<'_>],
    options: &AttentionOptions<'_>,
    scale: &FixedScale,
) -> Result<Fp8Tensor> {
    let (factor, count) = check(q, keys, options)?;
    if let Device::Cuda(cuda) = q.device() {
        return cuda.attention_fp8(OP, q, keys, factor, options.relative_bias, options.zero_keys, scale);
    }
    let out = on_cpu(q, keys, options, factor, count)?;
    quantise_fp8(&out.reshape(&[q.dim(0), q.dim(1) * q.dim(2)])?, Scaling::Fixed(scale))
}

const OP: &str = "attention";

/// What scores are multiplied by, and the number of keys in all runs.
fn check(q: &Tensor, keys: &[Keys<'_>], options: &AttentionOptions<'_>) -> Result<(f32, usize)> {
    let shape = q.shape();
    ensure_shape!(
        shape.len() == 3 && shape.numel() > 0,
        OP,
        "queries {shape}, not [queries, heads, head_dim]"
    );
    let (queries, heads, dim) = (shape[0], shape[1], shape[2]);
    let mut count = 0;
    for run in keys {
        ensure_shape!(
            run.k.shape() == run.v.shape() && run.k.shape().len() == 3 && run.k.shape()[1..] == shape[1..],
            OP,
            "keys {} and values {} for queries {shape}",
            run.k.shape(),
            run.v.shape()
        );
        count += run.k.dim(0);
    }
    ensure_shape!(count + options.zero_keys > 0, OP, "no key for queries {shape}");
    if let Some(bias) = options.relative_bias {
        let expected = [heads, queries + count - 1];
        let found = bias.shape();
        ensure_shape!(found[..] == expected, OP, "a relative bias of {found} for {expected:?}");
    }
    Ok((options.scale.unwrap_or(1.0 / (dim as f32).sqrt()), count))
}

fn on_cpu(
    q: &Tensor,
    keys: &[Keys<'_>],
    options: &AttentionOptions<'_>,
    scale: f32,
    count: usize,
) -> Result<Tensor> {
    let shape = q.shape();
    let (queries, heads, dim) = (shape[0], shape[1], shape[2]);
    let cpu = q.device().cpu(OP)?;
    let q = widened(q)?;
    // Few enough to stay off the heap.
    let mut wide = SmallVec::<[Tensor; 8]>::new();
    for run in keys {
        wide.push(widened(run.k)?);
    }
    let keys: SmallVec<[Keys<'_>; 8]> = keys.iter().zip(&wide).map(|(run, k)| Keys { k, ..*run }).collect();
    for run in &keys {
        run.k.f32s(OP)?;
        run.v.f32s(OP)?;
    }
    let problem = Problem {
        q: q.f32s(OP)?,
        keys: &keys,
        queries,
        heads,
        dim,
        scale,
        relative_bias: options.relative_bias.map(|bias| bias.f32s(OP)).transpose()?,
        count,
        zero_keys: options.zero_keys,
    };
    let mut out = Tensor::empty(&q.device(), shape)?;
    run(&cpu, &problem, shape, out.f32s_mut(OP)?)?;
    Ok(out)
}

/// e4m3 as `f32`, without a loss; anything else as it is.
fn widened(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F8E4M3 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

struct Problem<'a> {
    q: &'a [f32],
    keys: &'a [Keys<'a>],
    queries: usize,
    heads: usize,
    dim: usize,
    scale: f32,
    relative_bias: Option<&'a [f32]>,
    /// Keys in all runs.
    count: usize,
    zero_keys: usize,
}

/// Keys whose scores are held at a time: with 32 queries, 14 KiB of scores.
const KEY_BLOCK: usize = 112;

/// Blocks of queries that share one pass over the keys: each block of keys is then read once from afar.
const QUERY_BLOCKS: usize = 4;

/// How queries are shared out: every task takes one head of `size` blocks of `lanes` queries.
#[derive(Clone, Copy)]
struct Groups {
    lanes: usize,
    size: usize,
    count: usize,
    heads: usize,
    dim: usize,
}

impl Groups {
    fn new(problem: &Problem<'_>, lanes: usize) -> Self {
        let blocks = problem.queries.div_ceil(lanes);
        let count = blocks.div_ceil(QUERY_BLOCKS);
        // Groups of even size, so that no thread waits for the longest.
        Self { lanes, size: blocks.div_ceil(count), count, heads: problem.heads, dim: problem.dim }
    }

    fn tasks(self) -> usize {
        self.count * self.heads
    }

    /// Results of a block of queries: `[dim, lanes]`.
    fn block(self) -> usize {
        self.dim * self.lanes
    }

    /// Results of a task: `[size, dim, lanes]`.
    fn task(self) -> usize {
        self.size * self.block()
    }
}

fn run(cpu: &Cpu, problem: &Problem<'_>, shape: Shape, out: &mut [f32]) -> Result<()> {
    let groups = Groups::new(problem, panel_columns(cpu));
    // Every task writes its results sideways; a second pass turns them into rows.
    let mut sideways = Tensor::empty(
        &Device::Cpu(cpu.clone()),
        crate::tensor::shape_of("attention", &[groups.tasks(), groups.task()])?,
    )?;
    let target = sideways.f32s_mut("attention")?;
    let work = 4 * groups.lanes * groups.size * problem.dim * (problem.count + 1);
    let per_thread = cpu.block_rows(groups.tasks(), work);
    let task = |first: usize, out: &mut [f32]| {
        let mut scratch =
            cpu.f32s().scratch(groups.task() + (KEY_BLOCK + 1 + 2 * groups.size) * groups.lanes);
        // A buffer just taken is not shared.
        if let Some(scratch) = scratch.unique() {
            cpu.arch().dispatch(Tasks { problem, groups, first, scratch, out });
        }
    };
    if per_thread >= groups.tasks() {
        task(0, target);
    } else {
        cpu.enter(|| {
            let chunks = target.par_chunks_mut(per_thread * groups.task());
            chunks.enumerate().for_each(|(index, out)| task(index * per_thread, out));
        });
    }
    let row = shape[1..].iter().product::<usize>();
    cpu.for_rows(out, row, 4 * row, &Upright { sideways: sideways.f32s("attention")?, groups });
    Ok(())
}

/// Turns the tasks' `[head, group, block, dim, lane]` into `[query, head, dim]`.
struct Upright<'a> {
    sideways: &'a [f32],
    groups: Groups,
}

impl RowKernel<f32> for Upright<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let groups = self.groups;
        for (index, row) in rows.chunks_exact_mut(groups.heads * groups.dim).enumerate() {
            let (block, lane) = ((first + index) / groups.lanes, (first + index) % groups.lanes);
            let (group, within) = (block / groups.size, block % groups.size);
            for (head, values) in row.chunks_exact_mut(groups.dim).enumerate() {
                let task = head * groups.count + group;
                let from = &self.sideways[task * groups.task() + within * groups.block()..][..groups.block()];
                for (value, column) in values.iter_mut().zip(from.chunks_exact(groups.lanes)) {
                    *value = column[lane];
                }
            }
        }
    }
}

struct Tasks<'a> {
    problem: &'a Problem<'a>,
    groups: Groups,
    /// Index of the first task: `head * groups + group`.
    first: usize,
    scratch: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Tasks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, groups, first, scratch, out } = self;
        for (index, out) in out.chunks_exact_mut(groups.task()).enumerate() {
            let (head, group) = ((first + index) / groups.count, (first + index) % groups.count);
            let first_query = group * groups.size * groups.lanes;
            // The last group may have fewer blocks than the others.
            let blocks = problem.queries.saturating_sub(first_query).div_ceil(groups.lanes).min(groups.size);
            task(simd, problem, head, first_query, scratch, &mut out[..blocks * groups.block()]);
        }
    }
}

/// One head of some blocks of queries from `first_query` on; `out` becomes `[blocks, dim, lanes]`.
#[inline(always)]
fn task<S: Simd>(
    simd: S,
    problem: &Problem<'_>,
    head: usize,
    first_query: usize,
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let lanes = VECTORS * S::F32_LANES;
    let Problem { queries, heads, dim, .. } = *problem;
    let block_len = dim * lanes;
    let (columns, rest) = scratch.split_at_mut(out.len());
    let blocks = out.len() / block_len;
    let (scores, rest) = rest.split_at_mut(KEY_BLOCK * lanes);
    let (decay, rest) = rest.split_at_mut(lanes);
    let (highest, rest) = rest.split_at_mut(blocks * lanes);
    let total = &mut rest[..blocks * lanes];

    // Queries as columns, scaled; lanes beyond the last query repeat it and are never read.
    for (block, columns) in columns.chunks_exact_mut(block_len).enumerate() {
        for lane in 0..lanes {
            let query = (first_query + block * lanes + lane).min(queries - 1);
            let row = &problem.q[(query * heads + head) * dim..][..dim];
            for (column, &value) in columns.chunks_exact_mut(lanes).zip(row) {
                column[lane] = value * problem.scale;
            }
        }
    }
    // A key with score zero starts the running softmax at maximum 0; without one it starts below every score.
    highest.fill(if problem.zero_keys > 0 { 0.0 } else { -1e30 });
    total.fill(problem.zero_keys as f32);
    out.fill(0.0);

    let mut key = 0;
    for run in problem.keys {
        // Checked by the caller; were the elements of another type, the run would be skipped.
        let (Ok(k), Ok(v)) = (run.k.f32s("attention"), run.v.f32s("attention")) else { continue };
        let stride = heads * dim;
        for (k, v) in k.chunks(KEY_BLOCK * stride).zip(v.chunks(KEY_BLOCK * stride)) {
            let count = k.len() / stride;
            let scores = &mut scores[..count * lanes];
            let rows = Dense { data: &k[head * dim..], depth: dim, stride };
            for (block, out) in out.chunks_exact_mut(block_len).enumerate() {
                let columns = &columns[block * block_len..][..block_len];
                let highest = &mut highest[block * lanes..][..lanes];
                let total = &mut total[block * lanes..][..lanes];
                score_block::<S>(simd, &rows, columns, scores);
                if run.bias != 0.0 {
                    for score in scores.iter_mut() {
                        *score += run.bias;
                    }
                }
                if let Some(bias) = problem.relative_bias {
                    add_relative_bias(bias, problem, head, key, first_query + block * lanes, lanes, scores);
                }
                soften(simd, scores, highest, total, decay);
                weigh_values(simd, v, stride, head * dim, scores, decay, out);
            }
            key += count;
        }
    }
    for (out, total) in out.chunks_exact_mut(block_len).zip(total.chunks_exact(lanes)) {
        for out in out.chunks_exact_mut(lanes) {
            for (out, &total) in out.iter_mut().zip(total) {
                *out /= total;
            }
        }
    }
}

/// `scores[key, lane] = k[key] · columns[.., lane]`.
#[inline(always)]
fn score_block<S: Simd>(simd: S, rows: &Dense<'_>, columns: &[f32], scores: &mut [f32]) {
    let lanes = VECTORS * S::F32_LANES;
    let count = scores.len() / lanes;
    let mut key = 0;
    if S::REGISTER_COUNT >= 32 {
        while count - key >= 14 {
            score_tile::<S, 14>(simd, rows, key, columns, scores);
            key += 14;
        }
    }
    while count - key >= 6 {
        score_tile::<S, 6>(simd, rows, key, columns, scores);
        key += 6;
    }
    while key < count {
        score_tile::<S, 1>(simd, rows, key, columns, scores);
        key += 1;
    }
}

#[inline(always)]
fn score_tile<S: Simd, const MR: usize>(
    simd: S,
    rows: &Dense<'_>,
    key: usize,
    columns: &[f32],
    scores: &mut [f32],
) {
    let lanes = VECTORS * S::F32_LANES;
    let stretch = Stretch { rows: std::array::from_fn(|m| rows.row(key + m)), first: 0 };
    let zero = [simd.splat_f32s(0.0); VECTORS];
    let mut sums = Sums([zero; MR]);
    let columns = S::as_simd_f32s(columns).0.as_chunks::<VECTORS>().0;
    multiply::<S, Plain, MR, VECTORS>(simd, &[stretch], columns, &zero, &mut sums);
    let scores = S::as_mut_simd_f32s(&mut scores[key * lanes..][..MR * lanes]).0;
    for (scores, sums) in scores.as_chunks_mut::<VECTORS>().0.iter_mut().zip(sums.0) {
        *scores = sums;
    }
}

#[inline(always)]
fn add_relative_bias(
    bias: &[f32],
    problem: &Problem<'_>,
    head: usize,
    first_key: usize,
    first_query: usize,
    lanes: usize,
    scores: &mut [f32],
) {
    let span = problem.queries + problem.count - 1;
    let bias = &bias[head * span..][..span];
    for (index, scores) in scores.chunks_exact_mut(lanes).enumerate() {
        for (lane, score) in scores.iter_mut().enumerate() {
            let query = (first_query + lane).min(problem.queries - 1);
            *score += bias[first_key + index + problem.queries - 1 - query];
        }
    }
}

/// Turns scores into weights relative to the running maximum, and says by how much earlier sums must shrink.
#[inline(always)]
fn soften<S: Simd>(simd: S, scores: &mut [f32], highest: &mut [f32], total: &mut [f32], decay: &mut [f32]) {
    let scores = S::as_mut_simd_f32s(scores).0.as_chunks_mut::<VECTORS>().0;
    let (highest, total) = (S::as_mut_simd_f32s(highest).0, S::as_mut_simd_f32s(total).0);
    let decay = S::as_mut_simd_f32s(decay).0;
    for vector in 0..VECTORS {
        let mut maximum = highest[vector];
        for score in scores.iter() {
            maximum = simd.max_f32s(maximum, score[vector]);
        }
        let shrink = math::exp_lanes(simd, simd.sub_f32s(highest[vector], maximum));
        let mut sum = simd.mul_f32s(total[vector], shrink);
        for score in scores.iter_mut() {
            let weight = math::exp_lanes(simd, simd.sub_f32s(score[vector], maximum));
            sum = simd.add_f32s(sum, weight);
            score[vector] = weight;
        }
        (highest[vector], total[vector], decay[vector]) = (maximum, sum, shrink);
    }
}

/// `out[d, lane] = out[d, lane] · decay[lane] + Σ v[key, d] · weights[key, lane]`.
#[inline(always)]
fn weigh_values<S: Simd>(
    simd: S,
    v: &[f32],
    stride: usize,
    offset: usize,
    weights: &[f32],
    decay: &[f32],
    out: &mut [f32],
) {
    let lanes = VECTORS * S::F32_LANES;
    let dim = out.len() / lanes;
    let mut d = 0;
    if S::REGISTER_COUNT >= 32 {
        while dim - d >= 8 {
            value_tile::<S, 8>(
                simd,
                v,
                stride,
                offset + d,
                weights,
                decay,
                &mut out[d * lanes..][..8 * lanes],
            );
            d += 8;
        }
    }
    while dim - d >= 4 {
        value_tile::<S, 4>(simd, v, stride, offset + d, weights, decay, &mut out[d * lanes..][..4 * lanes]);
        d += 4;
    }
    while d < dim {
        value_tile::<S, 1>(simd, v, stride, offset + d, weights, decay, &mut out[d * lanes..][..lanes]);
        d += 1;
    }
}

#[inline(always)]
fn value_tile<S: Simd, const MR: usize>(
    simd: S,
    v: &[f32],
    stride: usize,
    offset: usize,
    weights: &[f32],
    decay: &[f32],
    out: &mut [f32],
) {
    let decay = S::as_simd_f32s(decay).0;
    let out = S::as_mut_simd_f32s(out).0.as_chunks_mut::<VECTORS>().0;
    let mut acc: [[S::f32s; VECTORS]; MR] =
        std::array::from_fn(|m| std::array::from_fn(|vector| simd.mul_f32s(out[m][vector], decay[vector])));
    let weights = S::as_simd_f32s(weights).0.as_chunks::<VECTORS>().0;
    for (weights, v) in weights.iter().zip(v.chunks_exact(stride)) {
        let v = &v[offset..offset + MR];
        for m in 0..MR {
            let value = simd.splat_f32s(v[m]);
            for vector in 0..VECTORS {
                acc[m][vector] = simd.mul_add_f32s(value, weights[vector], acc[m][vector]);
            }
        }
    }
    for (out, acc) in out.iter_mut().zip(acc) {
        *out = acc;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, in f64.
    fn naive(
        q: &[f32],
        k: &[f32],
        v: &[f32],
        biases: &dyn Fn(usize, usize, usize) -> f64,
        zero_keys: usize,
        dims: [usize; 3],
    ) -> Vec<f32> {
        let [queries, heads, dim] = dims;
        let count = k.len() / (heads * dim);
        let mut out = vec![0.0; q.len()];
        for query in 0..queries {
            for head in 0..heads {
                let at = |data: &[f32], row: usize, d: usize| f64::from(data[(row * heads + head) * dim + d]);
                let weights: Vec<f64> = (0..count)
                    .map(|key| {
                        let dot: f64 = (0..dim).map(|d| at(q, query, d) * at(k, key, d)).sum();
                        (dot / (dim as f64).sqrt() + biases(head, query, key)).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum::<f64>() + zero_keys as f64;
                for d in 0..dim {
                    let sum: f64 = (0..count).map(|key| weights[key] * at(v, key, d)).sum();
                    out[(query * heads + head) * dim + d] = (sum / total) as f32;
                }
            }
        }
        out
    }

    fn noise(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed | 1;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn attention_follows_its_definition(
            queries in prop_oneof![1usize..70, 130usize..300],
            runs in prop::collection::vec((1usize..150, prop_oneof![Just(0.0f32), -1.5f32..1.5]), 1..4),
            heads in 1usize..4,
            dim in prop_oneof![Just(24usize), Just(64), 1usize..20],
            zero_keys in prop_oneof![Just(0usize), 1usize..30],
            relative in any::<bool>(),
            threads in 1usize..3,
        ) {
            let device = Device::from(Cpu::new(std::num::NonZero::new(threads)).expect("threads"));
            let count: usize = runs.iter().map(|run| run.0).sum();
            let q = noise(queries * heads * dim, 1);
            let k = noise(count * heads * dim, 2);
            let v = noise(count * heads * dim, 3);
            let table = noise(heads * (queries + count - 1), 4);
            let tensor = |rows, data: &[f32]| Tensor::from_f32(&device, &[rows, heads, dim], data).expect("tensor");
            let (all_k, all_v) = (tensor(count, &k), tensor(count, &v));
            let mut start = 0;
            let mut parts = Vec::new();
            let mut biases = Vec::new();
            for &(len, bias) in &runs {
                parts.push((all_k.narrow(start, len).expect("keys"), all_v.narrow(start, len).expect("values"), bias));
                biases.extend(std::iter::repeat_n(bias, len));
                start += len;
            }
            let keys: Vec<_> = parts.iter().map(|(k, v, bias)| Keys { k, v, bias: *bias }).collect();
            let bias_table = Tensor::from_f32(&device, &[heads, queries + count - 1], &table).expect("table");
            let options = AttentionOptions { relative_bias: relative.then_some(&bias_table), zero_keys, ..Default::default() };
            let got = attention(&tensor(queries, &q), &keys, &options).expect("attention").to_vec();
            let bias = |head: usize, query: usize, key: usize| {
                let relative = if relative { table[head * (queries + count - 1) + key + queries - 1 - query] } else { 0.0 };
                f64::from(biases[key] + relative)
            };
            for (got, expected) in got.iter().zip(naive(&q, &k, &v, &bias, zero_keys, [queries, heads, dim])) {
                prop_assert!((got - expected).abs() < 2e-6 + 2e-5 * expected.abs(), "{got} for {expected}");
            }
        }
    }

    #[test]
    fn queries_and_keys_in_e4m3_count_as_the_numbers_they_are() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let tensor =
            |rows, seed| Tensor::from_f32(&device, &[rows, 2, 24], &noise(rows * 48, seed)).expect("tensor");
        let narrow = |x: &Tensor| x.to_dtype(DType::F8E4M3).expect("e4m3");
        let wide = |x: &Tensor| x.to_dtype(DType::F32).expect("f32");
        let q = narrow(&tensor(77, 1));
        let k = [narrow(&tensor(130, 2)), narrow(&tensor(5, 3))];
        let v = [tensor(130, 4), tensor(5, 5)];
        let run = |q: &Tensor, k: [&Tensor; 2]| {
            let keys = [Keys::new(k[0], &v[0]), Keys { bias: -0.7, ..Keys::new(k[1], &v[1]) }];
            let options = AttentionOptions { scale: Some(0.4), zero_keys: 3, ..Default::default() };
            attention(q, &keys, &options).expect("attention")
        };
        let expected = run(&wide(&q), [&wide(&k[0]), &wide(&k[1])]);
        assert_eq!(expected.dtype(), DType::F32);
        for (q, k) in
            [(&q, [&k[0], &k[1]]), (&q, [&wide(&k[0]), &wide(&k[1])]), (&wide(&q), [&k[0], &wide(&k[1])])]
        {
            let got = run(q, k);
            assert_eq!((got.dtype(), got.to_vec()), (DType::F32, expected.to_vec()));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let q = Tensor::zeros(&device, &[4, 2, 8]).expect("q");
        let k = Tensor::zeros(&device, &[4, 2, 6]).expect("k");
        let error =
            attention(&q, &[Keys::new(&k, &k)], &AttentionOptions::default()).expect_err("head dims differ");
        assert!(
            error.to_string().contains("attention") && error.to_string().contains("[4, 2, 6]"),
            "{error}"
        );
        let error = attention(&q, &[], &AttentionOptions::default()).expect_err("no keys");
        assert!(error.to_string().contains("no key"), "{error}");
    }
}
