//! Attention of every pixel to its own past: the temporal module of *AnimateDiff* (Guo et al. 2023, arXiv 2307.04725;
//! github.com/guoyww/AnimateDiff, Apache-2.0).

use scope_engine::{
    Tensor,
    ops::{self, Activation, Gain, Linear},
};

use super::encoder::norm;
use crate::{
    checkpoint::NetworkDescription,
    weights::{Loader, WeightError},
};

/// Groups of channels that are normalised together.
pub(super) const GROUPS: usize = 32;
/// Layers of attention.
pub(super) const ATTENTIONS: usize = 2;
const HEADS: usize = 8;
/// Added to variances, of groups and of tokens.
const GROUP_EPS: f32 = 1e-6;
const EPS: f32 = 1e-5;

fn module_name(module: usize) -> String {
    format!("motion_modules.{module}.temporal_transformer")
}

/// A layer of attention in the checkpoint.
pub(super) fn attention_name(module: usize, layer: usize) -> String {
    format!("head.{}.transformer_blocks.0.attention_blocks.{layer}", module_name(module))
}

pub(super) fn describe(module: usize, width: usize, moments: usize, net: &mut NetworkDescription) {
    net.scope(&module_name(module), |net| {
        net.weight_and_bias("norm", &[width])
            .linear("proj_in", width, width)
            .linear("proj_out", width, width);
        net.scope("transformer_blocks.0", |net| {
            for layer in 0..ATTENTIONS {
                net.scope(&format!("attention_blocks.{layer}"), |net| {
                    for name in ["to_q", "to_k", "to_v"] {
                        net.linear_without_bias(name, width, width);
                    }
                    net.linear("to_out.0", width, width).tensor("pos_encoder.pe", &[1, moments, width]);
                });
                net.weight_and_bias(&format!("norms.{layer}"), &[width]);
            }
            net.linear("ff.net.0.proj", 8 * width, width)
                .linear("ff.net.2", width, 4 * width)
                .weight_and_bias("ff_norm", &[width]);
        });
    });
}

#[derive(Debug)]
pub(super) struct TemporalModule {
    /// Index of its first state among those of a frame.
    first: usize,
    norm: [Tensor; 2],
    into: Linear,
    attentions: Vec<Attention>,
    ff_norm: [Tensor; 2],
    value: Linear,
    gate: Linear,
    narrow: Linear,
    out: Linear,
}

/// What is kept of a frame is what attention sees of it, and not keys and values, which would be twice as much: the query is
/// taken to where keys come from, and values are made of the sum.
#[derive(Debug)]
struct Attention {
    norm: [Tensor; 2],
    /// `[moments, width]`.
    places: Tensor,
    query: Linear,
    out: Linear,
}

impl TemporalModule {
    pub(super) fn load(
        loader: &Loader<'_>,
        module: usize,
        width: usize,
        moments: usize,
    ) -> Result<Self, WeightError> {
        let loader = loader.at(module_name(module));
        let block = loader.at("transformer_blocks.0");
        let attentions = (0..ATTENTIONS).map(|layer| {
            let norm = norm(&block.at("norms"), &layer.to_string(), width)?;
            Attention::load(&block.at("attention_blocks").at(layer), norm, width, moments)
        });
        let wide = 4 * width;
        let ff = block.at("ff.net");
        let both = ff.at("0.proj");
        let (weight, bias) = (both.values("weight", &[2 * wide, width])?, both.values("bias", &[2 * wide])?);
        let half = |index: usize| {
            let weight = &weight[index * wide * width..][..wide * width];
            both.linear_from(weight, [wide, width], Some(&bias[index * wide..][..wide]))
        };
        Ok(Self {
            first: module * ATTENTIONS,
            norm: norm(&loader, "norm", width)?,
            into: loader.at("proj_in").linear(width, width)?,
            attentions: attentions.collect::<Result<_, _>>()?,
            ff_norm: norm(&block, "ff_norm", width)?,
            value: half(0)?,
            gate: half(1)?,
            narrow: ff.at(2).linear(width, wide)?,
            out: loader.at("proj_out").linear(width, width)?,
        })
    }

    /// `x`, `[1, height, width, channels]`, in the light of `past`; what this frame leaves is added to `states`.
    pub(super) fn run(
        &self,
        x: &Tensor,
        past: &[Vec<&Tensor>],
        states: &mut Vec<Tensor>,
    ) -> scope_engine::Result<Tensor> {
        let (tokens, width) = (x.dim(1) * x.dim(2), x.dim(3));
        let [weight, bias] = &self.norm;
        let seen = ops::group_norm(x, GROUPS, weight, bias, GROUP_EPS)?.reshape(&[tokens, width])?;
        let mut y = ops::linear(&seen, &self.into, Activation::None)?;
        for (index, attention) in self.attentions.iter().enumerate() {
            let before = past.get(self.first + index).map_or(&[][..], Vec::as_slice);
            let state;
            (y, state) = attention.run(y, before)?;
            states.push(state);
        }
        let seen = normed(&y, &self.ff_norm)?;
        let gate = ops::linear(&seen, &self.gate, Activation::GeluErf)?;
        let value = ops::multiply(ops::linear(&seen, &self.value, Activation::None)?, &gate)?;
        let y = ops::linear_add(y, &value, &self.narrow, Gain::Constant(1.0))?;
        let shape = x.shape();
        ops::linear_add(x.reshape(&[tokens, width])?, &y, &self.out, Gain::Constant(1.0))?.reshape(&shape)
    }
}

fn normed(x: &Tensor, [weight, bias]: &[Tensor; 2]) -> scope_engine::Result<Tensor> {
    ops::layer_norm(x, Some((weight, bias)), EPS)
}

impl Attention {
    fn load(
        loader: &Loader<'_>,
        norm: [Tensor; 2],
        width: usize,
        moments: usize,
    ) -> Result<Self, WeightError> {
        let matrix = |name: &str| loader.at(name).values("weight", &[width; 2]);
        let (to_q, to_k, to_v, to_out) =
            (matrix("to_q")?, matrix("to_k")?, matrix("to_v")?, matrix("to_out.0")?);
        let bias = loader.at("to_out.0").values("bias", &[width])?;
        let head = width / HEADS;
        let scale = 1.0 / (head as f32).sqrt();
        // For each head h and the rows r that are its own: sums over r of k[r, i] · q[r, j], in row [h, i], and of
        // o[i, r] · v[r, j], in column [h, j].
        let mut query = vec![0.0; HEADS * width * width];
        let mut out = vec![0.0; HEADS * width * width];
        for row in 0..width {
            let of = |matrix: &[f32]| matrix[row * width..][..width].to_vec();
            let (q, k, v) = (of(&to_q), of(&to_k), of(&to_v));
            let first = row / head * width;
            for i in 0..width {
                add_scaled(&mut query[(first + i) * width..][..width], &q, scale * k[i]);
                add_scaled(&mut out[i * HEADS * width + first..][..width], &v, to_out[i * width + row]);
            }
        }
        let places = loader.tensor("pos_encoder.pe", &[1, moments, width])?;
        Ok(Self {
            norm,
            places: places.reshape(&[moments, width])?,
            query: loader.linear_from(&query, [HEADS * width, width], None)?,
            out: loader.linear_from(&out, [width, HEADS * width], Some(&bias))?,
        })
    }

    /// `x`, `[tokens, width]`, in the light of the states `before`, and the state that this moment leaves.
    fn run(&self, x: Tensor, before: &[&Tensor]) -> scope_engine::Result<(Tensor, Tensor)> {
        let (tokens, width) = (x.dim(0), x.dim(1));
        let state = normed(&x, &self.norm)?;
        let placed = ops::add(state.clone(), &self.places.narrow(before.len(), 1)?)?;
        let query = ops::linear(&placed, &self.query, Activation::None)?.reshape(&[tokens, HEADS, width])?;
        let states: Vec<&Tensor> = before.iter().copied().chain([&state]).collect();
        let attended = ops::attention_over_time(&query, &states, &self.places)?;
        let attended = attended.reshape(&[tokens, HEADS * width])?;
        Ok((ops::linear_add(x, &attended, &self.out, Gain::Constant(1.0))?, state))
    }
}

fn add_scaled(sums: &mut [f32], values: &[f32], factor: f32) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}
