//! Attention without a matrix of scores, in bf16: kernels of our own for Hopper and for every other card.

use smallvec::SmallVec;

use crate::{
    DType, Result, Tensor,
    cuda::{
        Arithmetic, Cost, Cuda,
        kernels::{ATTENTION_SM80, ATTENTION_SM90},
        launch::{Argument, Grid, launch_variant},
        memory::Allocation,
        tensor_map::{Boxes, Swizzle, TensorMap},
    },
    ops::{FixedScale, Keys},
};

/// Runs of keys that the kernels take; as in the sources.
pub(super) const MAX_RUNS: usize = 8;

/// How work is cut into tiles of queries and blocks of keys.
struct Tiling {
    /// Which of the source's variants.
    variant: usize,
    queries: usize,
    keys: usize,
    /// Tiles of queries in shared memory.
    query_stages: usize,
}

/// The variants of `attention_sm90`, in the order of its table, each with the most keys that it is the fastest for.
const HOPPER: [(usize, Tiling); 4] = [
    (32, Tiling { variant: 0, queries: 128, keys: 32, query_stages: 4 }),
    (224, Tiling { variant: 1, queries: 128, keys: 64, query_stages: 4 }),
    (9000, Tiling { variant: 2, queries: 128, keys: 128, query_stages: 2 }),
    (usize::MAX, Tiling { variant: 3, queries: 128, keys: 176, query_stages: 1 }),
];

/// Those for queries and keys in e4m3, likewise.
const HOPPER_F8: [(usize, Tiling); 2] = [
    (4000, Tiling { variant: 4, queries: 128, keys: 128, query_stages: 2 }),
    (usize::MAX, Tiling { variant: 5, queries: 128, keys: 176, query_stages: 2 }),
];

/// The variants of `attention_sm80`: heads of 128 features, the same where shared memory is small, heads of 64, and these
/// with a relative bias.
const PORTABLE: [Tiling; 4] = [
    Tiling { variant: 0, queries: 128, keys: 32, query_stages: 1 },
    Tiling { variant: 1, queries: 64, keys: 32, query_stages: 1 },
    Tiling { variant: 2, queries: 128, keys: 64, query_stages: 1 },
    Tiling { variant: 3, queries: 128, keys: 64, query_stages: 1 },
];
/// Blocks of threads of the portable kernel on a multiprocessor.
const PORTABLE_RESIDENT: usize = 2;

/// Shared memory of Hopper's kernel beside its tiles: barriers.
const BARRIER_BYTES: usize = 256;

/// Which tiles are computed whole and which are cut along their keys, so that no multiprocessor waits for the last wave
/// (Osama et al. 2023, "Stream-K").
struct Plan {
    tiles: usize,
    query_tiles: usize,
    whole_tiles: usize,
    key_blocks: usize,
    grid: usize,
}

impl Plan {
    /// `slots` blocks of threads run at once; a source may want no more of them than that, or one for each tile.
    fn new(
        queries: usize,
        heads: usize,
        key_blocks: usize,
        tile: usize,
        slots: usize,
        persistent: bool,
    ) -> Self {
        /// What it costs to put a cut tile together again, in blocks of keys.
        const MERGING: usize = 7;
        let query_tiles = queries.div_ceil(tile);
        let tiles = query_tiles * heads;
        let rest = tiles % slots;
        let waves = tiles / slots;
        let whole = (waves + 1) * (key_blocks + 1);
        let cut = waves * (key_blocks + 1) + (rest * key_blocks).div_ceil(slots) + MERGING;
        let is_cut = rest * key_blocks >= slots && cut < whole;
        let whole_tiles = if is_cut { tiles - rest } else { tiles };
        let most = if persistent { slots } else { usize::MAX };
        Self {
            tiles,
            query_tiles,
            whole_tiles,
            key_blocks,
            grid: if is_cut { slots } else { most.min(tiles) },
        }
    }
}

/// Where blocks of threads leave parts of tiles for each other; used by one launch at a time, as a stream has it.
pub(crate) struct Parts {
    sums: Allocation,
    /// Zeros before and after every launch.
    arrivals: Allocation,
}

/// Bytes that a block of threads of either kernel leaves for a tile, at most.
const PART_BYTES: usize = 34 * 128 * 16;

impl Parts {
    fn new(device: &Cuda) -> Result<Self> {
        let slots = 2 * device.properties().multiprocessors as usize;
        let sums = device.memory().allocate(2 * slots * PART_BYTES)?;
        let arrivals = device.memory().allocate(2 * slots * size_of::<i32>())?;
        device.memory().clear(&arrivals)?;
        Ok(Self { sums, arrivals })
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct HopperMaps {
    query: TensorMap,
    output: TensorMap,
    keys: [TensorMap; MAX_RUNS],
    values: [TensorMap; MAX_RUNS],
}

impl Argument for HopperMaps {}

#[derive(Clone, Copy)]
#[repr(C)]
struct HopperArguments {
    partials: u64,
    arrivals: u64,
    out_scale: u64,
    scale: f32,
    queries: i32,
    tiles: i32,
    query_tiles: i32,
    whole_tiles: i32,
    key_blocks: i32,
    zero_keys: i32,
    runs: i32,
    counts: [i32; MAX_RUNS],
    biases: [f32; MAX_RUNS],
}

impl Argument for HopperArguments {}

#[derive(Clone, Copy)]
#[repr(C)]
struct Run {
    k: u64,
    v: u64,
    count: i32,
    bias: f32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct PortableArguments {
    q: u64,
    out: u64,
    relative_bias: u64,
    partials: u64,
    arrivals: u64,
    scale: f32,
    queries: i32,
    heads: i32,
    keys: i32,
    zero_keys: i32,
    runs: i32,
    tiles: i32,
    query_tiles: i32,
    whole_tiles: i32,
    key_blocks: i32,
    run: [Run; MAX_RUNS],
}

impl Argument for PortableArguments {}

/// What the kernels are given.
struct Problem<'a> {
    q: &'a Tensor,
    out: &'a Tensor,
    /// Of results in e4m3: the address of what they are divided by.
    out_scale: u64,
    runs: SmallVec<[Run; MAX_RUNS]>,
    scale: f32,
    relative_bias: u64,
    zero_keys: usize,
}

impl Problem<'_> {
    fn keys(&self) -> usize {
        self.runs.iter().map(|run| run.count as usize).sum()
    }

    fn cost(&self) -> Cost {
        let [queries, heads, dim] = [0, 1, 2].map(|axis| self.q.dim(axis));
        Cost::attention([queries, self.keys(), heads, dim], [self.q.dtype(), DType::Bf16])
    }
}

impl Cuda {
    /// Attention by one of these kernels, or `None` where none is made for it. Queries and keys in e4m3 stay that only
    /// where the kernel reads them, and results are in e4m3 under `out_scale` only where it writes them.
    #[expect(clippy::too_many_arguments, reason = "those of attention, and a scale")]
    pub(super) fn flash_attention(
        &self,
        op: &'static str,
        q: &Tensor,
        keys: &[Keys<'_>],
        scale: f32,
        relative_bias: Option<&Tensor>,
        zero_keys: usize,
        out_scale: Option<&FixedScale>,
    ) -> Result<Option<Tensor>> {
        let dim = q.dim(2);
        let made_for = match (dim, relative_bias) {
            (64, _) => true,
            (128, bias) => bias.is_none(),
            _ => false,
        };
        if self.arithmetic() != Arithmetic::Bf16 || !made_for || scale <= 0.0 {
            return Ok(None);
        }
        let capability = self.capability();
        let is_hopper = capability == [9, 0] && dim == 128;
        let is_f8 = is_hopper
            && q.dtype() == DType::F8E4M3
            && keys.iter().all(|run| run.k.dim(0) == 0 || run.k.dtype() == DType::F8E4M3);
        let scored = if is_f8 { DType::F8E4M3 } else { self.dtype() };
        let q = &self.cast(op, q, scored)?;
        // Converted keys live until the kernel is on the stream.
        let mut held = Vec::new();
        let mut runs = SmallVec::new();
        for run in keys.iter().filter(|run| run.k.dim(0) > 0) {
            let (k, v) = (self.cast(op, run.k, scored)?, self.activations(op, run.v)?);
            let count = run.k.dim(0) as i32;
            runs.push(Run { k: self.address(op, &k)?, v: self.address(op, &v)?, count, bias: run.bias });
            held.extend([k, v]);
        }
        let relative_bias = relative_bias.map(|bias| self.singles(op, bias)).transpose()?;
        let out_scale = out_scale.filter(|_| is_hopper);
        let out = self.empty_of(if out_scale.is_some() { DType::F8E4M3 } else { self.dtype() }, q.shape())?;
        let out_scale = out_scale.map_or(Ok(0), |scale| self.address_of(op, DType::F32, &scale.factors))?;
        let bias = relative_bias.as_ref().map_or(Ok(0), |bias| self.address(op, bias))?;
        let problem = Problem { q, out: &out, out_scale, runs, scale, relative_bias: bias, zero_keys };
        if is_f8 {
            let count = problem.keys();
            let (_, tiling) = HOPPER_F8.iter().find(|(most, _)| count <= *most).unwrap_or(&HOPPER_F8[1]);
            self.hopper_attention(op, &problem, tiling)?;
        } else if is_hopper {
            let longest = problem.runs.iter().map(|run| run.count as usize).max().unwrap_or(0);
            let count = problem.keys();
            // Every run has blocks of keys of its own: what counts for the smallest is the longest of them.
            let tiling = HOPPER
                .iter()
                .enumerate()
                .find(|(index, (most, _))| (if *index == 0 { longest } else { count }) <= *most);
            let (_, (_, tiling)) = tiling.unwrap_or((0, &HOPPER[3]));
            self.hopper_attention(op, &problem, tiling)?;
        } else {
            // Ada and the Blackwell of desktops have little shared memory, as have Ampere's.
            let is_small = matches!(capability, [8, 6 | 9] | [12, _]);
            let variant = match (dim, relative_bias.is_some()) {
                (128, _) => usize::from(is_small),
                (_, has_bias) => 2 + usize::from(has_bias),
            };
            self.portable_attention(op, &problem, &PORTABLE[variant])?;
        }
        Ok(Some(out))
    }

    /// The places for parts of tiles, made at their first use.
    fn parts<R>(&self, run: impl FnOnce([u64; 2]) -> Result<R>) -> Result<R> {
        let mut parts = self.0.parts.lock();
        let parts = match &mut *parts {
            Some(parts) => parts,
            empty => empty.insert(Parts::new(self)?),
        };
        run([parts.sums.ptr(), parts.arrivals.ptr()])
    }

    fn hopper_attention(&self, op: &'static str, problem: &Problem<'_>, tiling: &Tiling) -> Result<()> {
        /// Elements of a row of shared memory: half a head, in bf16.
        const HALF: usize = 64;
        const HALF_BYTES: usize = HALF * DType::Bf16.size_bytes();
        /// Rows of shared memory that a head of values or results takes.
        const HALVES: usize = 2;
        let (queries, heads) = (problem.q.dim(0), problem.q.dim(1));
        let is_f8 = problem.q.dtype() == DType::F8E4M3;
        // A head of e4m3 is a single such row. The copy engine brings bytes: 64 of bf16 stand for 128 of e4m3.
        let halves_of = |is_f8| if is_f8 { 1 } else { HALVES };
        let scored_halves = halves_of(is_f8);
        let map = |address, rows, box_rows, halves| {
            TensorMap::new(&Boxes {
                address,
                dims: [HALF, rows, halves * heads],
                strides: [0, heads * halves * HALF_BYTES, HALF_BYTES],
                extent: [HALF, box_rows, halves],
                steps: [1; 3],
                swizzle: Swizzle::Bytes128,
            })
        };
        let (query, output) = (self.address(op, problem.q)?, self.address(op, problem.out)?);
        let mut maps = HopperMaps {
            query: map(query, queries, HALF, scored_halves)?,
            output: map(output, queries, HALF, halves_of(problem.out.dtype() == DType::F8E4M3))?,
            keys: [TensorMap::NONE; MAX_RUNS],
            values: [TensorMap::NONE; MAX_RUNS],
        };
        let (mut counts, mut biases) = ([0; MAX_RUNS], [0.0; MAX_RUNS]);
        let mut key_blocks = 0;
        for (index, run) in problem.runs.iter().enumerate() {
            let count = run.count as usize;
            maps.keys[index] = map(run.k, count, tiling.keys, scored_halves)?;
            maps.values[index] = map(run.v, count, tiling.keys, HALVES)?;
            (counts[index], biases[index]) = (run.count, run.bias);
            key_blocks += count.div_ceil(tiling.keys);
        }
        let slots = self.properties().multiprocessors as usize;
        let plan = Plan::new(queries, heads, key_blocks, tiling.queries, slots, true);
        // Of a tile of queries there are stages, of keys and of values two each. Results have a place of their own where a
        // tile of queries has too little room for them.
        let outputs = if is_f8 { HALVES * tiling.queries } else { 0 };
        let queries_rows = tiling.query_stages * scored_halves * tiling.queries;
        let keys_rows = 2 * (scored_halves + HALVES) * tiling.keys;
        let shared = (queries_rows + keys_rows + outputs) * HALF_BYTES + BARRIER_BYTES;
        let grid = Grid { shared_bytes: shared as u32, ..Grid::blocks(plan.grid, 384) };
        self.parts(|[partials, arrivals]| {
            let arguments = HopperArguments {
                partials,
                arrivals,
                out_scale: problem.out_scale,
                scale: problem.scale,
                queries: queries as i32,
                tiles: plan.tiles as i32,
                query_tiles: plan.query_tiles as i32,
                whole_tiles: plan.whole_tiles as i32,
                key_blocks: plan.key_blocks as i32,
                zero_keys: problem.zero_keys as i32,
                runs: problem.runs.len() as i32,
                counts,
                biases,
            };
            let (variant, cost) = (tiling.variant, problem.cost());
            launch_variant!(self, ATTENTION_SM90, variant, "attention_sm90", grid, [maps, arguments], cost)
        })
    }

    fn portable_attention(&self, op: &'static str, problem: &Problem<'_>, tiling: &Tiling) -> Result<()> {
        const THREADS: u32 = 128;
        let (queries, heads, dim) = (problem.q.dim(0), problem.q.dim(1), problem.q.dim(2));
        let keys = problem.keys();
        let slots = PORTABLE_RESIDENT * self.properties().multiprocessors as usize;
        let plan = Plan::new(queries, heads, keys.div_ceil(tiling.keys), tiling.queries, slots, false);
        let shared = (tiling.queries + 4 * tiling.keys) * dim * DType::Bf16.size_bytes();
        let grid = Grid { shared_bytes: shared as u32, ..Grid::blocks(plan.grid, THREADS) };
        let mut run = [Run { k: 0, v: 0, count: 0, bias: 0.0 }; MAX_RUNS];
        run[..problem.runs.len()].copy_from_slice(&problem.runs);
        let (q, out) = (self.address(op, problem.q)?, self.address(op, problem.out)?);
        self.parts(|[partials, arrivals]| {
            let arguments = PortableArguments {
                q,
                out,
                relative_bias: problem.relative_bias,
                partials,
                arrivals,
                scale: problem.scale,
                queries: queries as i32,
                heads: heads as i32,
                keys: keys as i32,
                zero_keys: problem.zero_keys as i32,
                runs: problem.runs.len() as i32,
                tiles: plan.tiles as i32,
                query_tiles: plan.query_tiles as i32,
                whole_tiles: plan.whole_tiles as i32,
                key_blocks: plan.key_blocks as i32,
                run,
            };
            let (variant, cost) = (tiling.variant, problem.cost());
            launch_variant!(self, ATTENTION_SM80, variant, "attention_sm80", grid, [arguments], cost)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What the kernels ask of the host: see the heads of their sources.
        #[test]
        fn cut_tiles_are_fewer_than_blocks_and_every_block_has_a_share(
            queries in 1usize..10_000,
            heads in 1usize..64,
            keys in 1usize..40_000,
            slots in 1usize..400,
        ) {
            let plan = Plan::new(queries, heads, keys.div_ceil(176), 128, slots, true);
            let cut = plan.tiles - plan.whole_tiles;
            prop_assert!(plan.grid >= 1 && plan.grid <= slots);
            if cut > 0 {
                prop_assert!(cut < plan.grid && plan.grid <= cut * plan.key_blocks);
                prop_assert!(plan.whole_tiles.is_multiple_of(plan.grid));
            } else {
                prop_assert!(plan.grid <= plan.tiles);
            }
        }
    }
}
