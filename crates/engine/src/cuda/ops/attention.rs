use super::{ATTENTION, flash::MAX_RUNS};
use crate::{
    DType, Error, Result, Tensor,
    cuda::{
        Cost, Cuda,
        gemm::{Epilogue, Matrix, Product},
        launch::{Argument, Grid, launch},
    },
    ops::{FixedScale, Fp8Tensor, Keys, Scaling},
    tensor::shape_of,
};

#[derive(Clone, Copy)]
#[repr(C)]
struct Runs {
    count: i32,
    keys: [i32; MAX_RUNS],
    bias: [f32; MAX_RUNS],
}

impl Argument for Runs {}

/// States that a kernel takes; as in the source.
const MAX_STATES: usize = 32;

#[derive(Clone, Copy)]
#[repr(C)]
struct States {
    count: i32,
    padding: i32,
    values: [u64; MAX_STATES],
}

impl Argument for States {}

const SOFTMAX_THREADS: usize = 256;
/// Keys of which a block holds the scores of a query: each thread has eight fours, as in the source.
const MOST_HELD: usize = 8 * 4 * SOFTMAX_THREADS;

/// Memory for the scores of some queries, at most.
const SCORE_BYTES: usize = 256 << 20;

fn has_keys(keys: &[Keys<'_>]) -> bool {
    keys.iter().any(|run| run.k.dim(0) > 0)
}

impl Cuda {
    /// Attention, its inputs checked, with the result in e4m3: `[queries, heads · head_dim]`.
    #[expect(clippy::too_many_arguments, reason = "those of attention, and a scale")]
    pub(crate) fn attention_fp8(
        &self,
        op: &'static str,
        q: &Tensor,
        keys: &[Keys<'_>],
        scale: f32,
        relative_bias: Option<&Tensor>,
        zero_keys: usize,
        out_scale: &FixedScale,
    ) -> Result<Fp8Tensor> {
        let rows = [q.dim(0), q.dim(1) * q.dim(2)];
        // Too many runs are refused below.
        if has_keys(keys) && keys.len() <= MAX_RUNS {
            let out = self.flash_attention(op, q, keys, scale, relative_bias, zero_keys, Some(out_scale))?;
            if let Some(values) = out.filter(|out| out.dtype() == DType::F8E4M3) {
                let scales = out_scale.factors.clone();
                return Ok(Fp8Tensor { values: values.reshape(&rows)?, scales, by_row: false });
            }
        }
        let out = self.attention(op, q, keys, scale, relative_bias, zero_keys)?;
        self.quantise_fp8(op, &out.reshape(&rows)?, Scaling::Fixed(out_scale))
    }

    /// Attention, its inputs checked.
    pub(crate) fn attention(
        &self,
        op: &'static str,
        q: &Tensor,
        keys: &[Keys<'_>],
        scale: f32,
        relative_bias: Option<&Tensor>,
        zero_keys: usize,
    ) -> Result<Tensor> {
        let (queries, heads, dim) = (q.dim(0), q.dim(1), q.dim(2));
        if keys.len() > MAX_RUNS {
            let detail = format!("{} runs of keys; {MAX_RUNS} are the most", keys.len());
            return Err(Error::Shape { op, detail });
        }
        let has_keys = has_keys(keys);
        if has_keys
            && let Some(out) = self.flash_attention(op, q, keys, scale, relative_bias, zero_keys, None)?
        {
            return Ok(out);
        }
        let q = self.activations(op, q)?;
        let mut runs = Runs { count: keys.len() as i32, keys: [0; MAX_RUNS], bias: [0.0; MAX_RUNS] };
        for (index, run) in keys.iter().enumerate() {
            (runs.keys[index], runs.bias[index]) = (run.k.dim(0) as i32, run.bias);
        }
        let out = self.empty(q.shape())?;
        if !has_keys {
            // All of the weight is with the keys that give nothing.
            return self.affine_clamped(op, &q, [0.0, 0.0], [0.0, 0.0]);
        }
        let joined = |part: fn(&Keys<'_>) -> Tensor| {
            let parts = keys.iter().map(|run| self.activations(op, &part(run)));
            match parts.collect::<Result<Vec<_>>>()?.as_slice() {
                [one] => Ok(one.clone()),
                several => Tensor::concat(&several.iter().collect::<Vec<_>>()),
            }
        };
        let (k, v) = (joined(|run| run.k.clone())?, joined(|run| run.v.clone())?);
        let count = k.dim(0);
        let relative_bias = relative_bias.map(|bias| self.singles(op, bias)).transpose()?;
        let table = relative_bias.as_ref().map_or(Ok(0), |bias| self.address(op, bias))?;
        let rows = (SCORE_BYTES / (heads * count * size_of::<f32>()).max(1)).clamp(1, queries);
        let scores = self.empty_of(DType::F32, shape_of(op, &[heads, rows, count])?)?;
        let weights = self.empty(shape_of(op, &[heads, rows, count])?)?;
        let [score_address, weight_address] = [self.address(op, &scores)?, self.address(op, &weights)?];
        // Heads lie side by side in the rows of queries, keys and results.
        let row = heads * dim;
        let of_heads = |address| Matrix { address, stride: row, batch_stride: dim };
        let dtype = self.dtype();
        for first in (0..queries).step_by(rows) {
            let rows = rows.min(queries - first);
            let here = |tensor: &Tensor| {
                Ok::<_, Error>(self.address(op, tensor)? + (first * row * dtype.size_bytes()) as u64)
            };
            let square = |address| Matrix { address, stride: count, batch_stride: rows * count };
            let product = Product {
                a: of_heads(here(&q)?),
                b: of_heads(self.address(op, &k)?),
                b_transposed: true,
                out: square(score_address),
                addend: None,
                bias: None,
                epilogue: Epilogue::None,
                rows,
                columns: count,
                depth: dim,
                batch: heads,
                alpha: scale,
                input: dtype,
                output: DType::F32,
                scales: None,
            };
            self.product(&product)?;
            let grid = Grid::blocks(heads * rows, SOFTMAX_THREADS as u32);
            let addresses = [score_address, weight_address];
            let zero_keys = zero_keys as i32;
            let cost = Cost::moving([&scores, &weights]);
            if runs.count == 1 && table == 0 && count.is_multiple_of(4) && count <= MOST_HELD {
                let (keys, bias) = (count as i32, runs.bias[0]);
                let [source, target] = addresses;
                launch!(
                    self,
                    ATTENTION,
                    "softmax_held",
                    grid,
                    [source, target, keys, bias, zero_keys],
                    cost
                )?;
            } else {
                let [rows, keys, queries, first] = [rows, count, queries, first].map(|size| size as i32);
                launch!(
                    self,
                    ATTENTION,
                    "softmax",
                    grid,
                    [addresses[0], addresses[1], rows, keys, runs, table, queries, first, zero_keys],
                    cost
                )?;
            }
            self.product(&Product {
                a: square(weight_address),
                b: of_heads(self.address(op, &v)?),
                b_transposed: false,
                out: of_heads(here(&out)?),
                columns: dim,
                depth: count,
                alpha: 1.0,
                output: dtype,
                ..product
            })?;
        }
        Ok(out)
    }

    /// Attention of every token to its own states.
    pub(crate) fn attention_over_time(
        &self,
        op: &'static str,
        q: &Tensor,
        states: &[&Tensor],
        places: &Tensor,
    ) -> Result<Tensor> {
        if states.len() > MAX_STATES {
            let detail = format!("{} states; {MAX_STATES} are the most", states.len());
            return Err(Error::Shape { op, detail });
        }
        let q = self.activations(op, q)?;
        let places = self.singles(op, places)?;
        let mut held = Vec::with_capacity(states.len());
        let mut kernel = States { count: states.len() as i32, padding: 0, values: [0; MAX_STATES] };
        for (address, state) in kernel.values.iter_mut().zip(states) {
            let state = self.activations(op, state)?;
            *address = self.address(op, &state)?;
            held.push(state);
        }
        let out = self.empty(q.shape())?;
        let (heads, features) = (q.dim(1), q.dim(2));
        let count = q.dim(0) * heads;
        let addresses = [self.address(op, &q)?, self.address(op, &places)?, self.address(op, &out)?];
        launch!(
            self,
            ATTENTION,
            "attention_over_time",
            Grid::over(count * 32),
            [addresses[0], kernel, addresses[1], addresses[2], count as i64, heads as i32, features as i32],
            Cost::moving(held.iter().chain([&q, &out]))
        )?;
        Ok(out)
    }
}
