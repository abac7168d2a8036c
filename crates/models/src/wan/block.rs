//! One transformer block: self-attention, attention to the text, feed-forward network.

use scope_engine::{
    Tensor,
    ops::{self, Activation, AttentionOptions, Gain, Modulation, RopeTable, TokenGrid},
};

use super::{
    Adapters, Projection, WanConfig, WanError,
    cache::{CachePlan, CachePolicy, KeyBias, LayerCache, TextKeys, keys},
    transformer::TextContext,
};
use crate::{
    quirks::Quirks,
    weights::{Loader, WeightError},
};

/// Parts of the block's modulation table.
const SHIFT_1: usize = 0;
const SCALE_1: usize = 1;
const GATE_1: usize = 2;
const SHIFT_2: usize = 3;
const SCALE_2: usize = 4;
const GATE_2: usize = 5;

/// Query, key, value and output projections with norms of queries and keys.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub(super) q: Projection,
    pub(super) k: Projection,
    pub(super) v: Projection,
    pub(super) o: Projection,
    norm_q: Tensor,
    norm_k: Tensor,
    heads: usize,
    eps: f32,
}

impl Attention {
    fn load(loader: &Loader<'_>, config: &WanConfig) -> Result<Self, WeightError> {
        let dim = config.dim;
        Ok(Self {
            q: Projection::load(&loader.at("q"), dim, dim)?,
            k: Projection::load(&loader.at("k"), dim, dim)?,
            v: Projection::load(&loader.at("v"), dim, dim)?,
            o: Projection::load(&loader.at("o"), dim, dim)?,
            norm_q: loader.at("norm_q").tensor("weight", &[dim])?,
            norm_k: loader.at("norm_k").tensor("weight", &[dim])?,
            heads: config.num_heads,
            eps: config.eps,
        })
    }

    /// `[rows, dim]` as `[rows, heads, head_dim]`.
    fn split(&self, x: &Tensor) -> scope_engine::Result<Tensor> {
        x.reshape(&[x.dim(0), self.heads, x.dim(1) / self.heads.max(1)])
    }

    /// Normalised queries; the norm acts on the whole vector, before the heads are split.
    fn queries(&self, x: &Tensor, adapters: &Adapters) -> scope_engine::Result<Tensor> {
        let q = self.q.forward(x, Activation::None, adapters)?;
        self.split(&ops::rms_norm(&q, &self.norm_q, self.eps)?)
    }

    fn keys(&self, x: &Tensor, adapters: &Adapters) -> scope_engine::Result<Tensor> {
        let k = self.k.forward(x, Activation::None, adapters)?;
        self.split(&ops::rms_norm(&k, &self.norm_k, self.eps)?)
    }

    fn values(&self, x: &Tensor, adapters: &Adapters) -> scope_engine::Result<Tensor> {
        self.split(&self.v.forward(x, Activation::None, adapters)?)
    }
}

/// One block's weights.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) self_attn: Attention,
    pub(super) cross_attn: Attention,
    norm3: (Tensor, Tensor),
    pub(super) ffn: [Projection; 2],
    /// `[6, dim]`.
    modulation: Tensor,
    eps: f32,
}

/// What every block of a forward pass shares.
pub(super) struct Shared<'a> {
    /// Modulation of each frame before the block's own is added: `[frames, 6, dim]`.
    pub(super) modulation: &'a Tensor,
    pub(super) text: &'a TextContext,
    pub(super) rope: &'a RopeTable,
    /// Where the tokens are; `start` is their place in the stream.
    pub(super) grid: TokenGrid,
    pub(super) adapters: &'a Adapters,
    pub(super) quirks: Quirks,
}

/// What a block's queries attend to.
pub(super) enum SelfAttention<'a> {
    /// The cache, with the call's own keys in it.
    Cached {
        cache: &'a mut LayerCache,
        plan: &'a CachePlan,
        policy: &'a CachePolicy,
        bias: Option<KeyBias>,
        zero_keys: usize,
    },
    /// The call's own tokens, at positions from 0 on.
    Isolated { zero_keys: usize },
}

impl Block {
    /// The linear layer of this name.
    pub(super) fn projection_mut(&mut self, name: &str) -> Option<&mut Projection> {
        let (group, layer) = name.split_once('.')?;
        let attention = match group {
            "self_attn" => &mut self.self_attn,
            "cross_attn" => &mut self.cross_attn,
            "ffn" => {
                return match layer {
                    "0" => Some(&mut self.ffn[0]),
                    "2" => Some(&mut self.ffn[1]),
                    _ => None,
                };
            }
            _ => return None,
        };
        match layer {
            "q" => Some(&mut attention.q),
            "k" => Some(&mut attention.k),
            "v" => Some(&mut attention.v),
            "o" => Some(&mut attention.o),
            _ => None,
        }
    }

    pub(super) fn load(loader: &Loader<'_>, config: &WanConfig) -> Result<Self, WeightError> {
        let dim = config.dim;
        let norm3 = loader.at("norm3");
        let modulation = loader.tensor("modulation", &[1, 6, dim])?;
        Ok(Self {
            self_attn: Attention::load(&loader.at("self_attn"), config)?,
            cross_attn: Attention::load(&loader.at("cross_attn"), config)?,
            norm3: (norm3.tensor("weight", &[dim])?, norm3.tensor("bias", &[dim])?),
            ffn: [
                Projection::load(&loader.at("ffn").at(0), config.ffn_dim, dim)?,
                Projection::load(&loader.at("ffn").at(2), dim, config.ffn_dim)?,
            ],
            modulation: modulation.reshape(&[6, dim])?,
            eps: config.eps,
        })
    }

    /// The block's output for tokens `x`, `[tokens, dim]`. `text` keeps the text's keys from call to call.
    pub(super) fn forward(
        &self,
        x: Tensor,
        shared: &Shared<'_>,
        attention: SelfAttention<'_>,
        text: &mut Option<TextKeys>,
    ) -> Result<Tensor, WanError> {
        let table = ops::add(shared.modulation.clone(), &self.modulation)?;
        let part = |part| Modulation { table: &table, part };

        let a = ops::modulated_layer_norm(&x, self.eps, part(SCALE_1), part(SHIFT_1))?;
        let attended = self.attend(&a, shared, attention)?;
        let mut x = self.self_attn.o.add_to(x, &attended, Gain::PerFrame(part(GATE_1)), shared.adapters)?;

        let c = ops::layer_norm(&x, Some((&self.norm3.0, &self.norm3.1)), self.eps)?;
        let attended = self.attend_text(&c, shared, text)?;
        x = self.cross_attn.o.add_to(x, &attended, Gain::Constant(1.0), shared.adapters)?;

        let b = ops::modulated_layer_norm(&x, self.eps, part(SCALE_2), part(SHIFT_2))?;
        let inner = self.ffn[0].forward(&b, Activation::Gelu, shared.adapters)?;
        Ok(self.ffn[1].add_to(x, &inner, Gain::PerFrame(part(GATE_2)), shared.adapters)?)
    }

    fn attend(
        &self,
        a: &Tensor,
        shared: &Shared<'_>,
        attention: SelfAttention<'_>,
    ) -> Result<Tensor, WanError> {
        let layer = &self.self_attn;
        let (q, k) = (layer.queries(a, shared.adapters)?, layer.keys(a, shared.adapters)?);
        let v = layer.values(a, shared.adapters)?;
        let options = |zero_keys| AttentionOptions { zero_keys, ..AttentionOptions::default() };
        let attended = match attention {
            SelfAttention::Isolated { zero_keys } => {
                let grid = TokenGrid { start: 0, ..shared.grid };
                let (q, k) = (ops::rope(q, shared.rope, grid)?, ops::rope(k, shared.rope, grid)?);
                ops::attention(&q, &[ops::Keys::new(&k, &v)], &options(zero_keys))?
            }
            SelfAttention::Cached { cache, plan, policy, bias, zero_keys } => {
                let tokens = shared.grid.height * shared.grid.width;
                // Relative positions count from the oldest frame that is attended to; the call's frames are the newest.
                let newest = plan.window.attended.len().saturating_sub(shared.grid.frames);
                let start = if policy.relative_positions { newest } else { shared.grid.start };
                let grid = TokenGrid { start, ..shared.grid };
                let q = ops::rope(q, shared.rope, grid)?;
                let k = if policy.relative_positions { k } else { ops::rope(k, shared.rope, grid)? };
                cache.store(plan, policy, shared.quirks, tokens, &k, &v)?;
                let parts = cache.attended(plan, policy, grid, shared.rope, bias)?;
                ops::attention(&q, &keys(&parts), &options(zero_keys))?
            }
        };
        Ok(attended.reshape(&[attended.dim(0), a.dim(1)])?)
    }

    /// The text's keys for this block, made once after each change of the text.
    pub(super) fn text_keys<'c>(
        &self,
        text: &TextContext,
        adapters: &Adapters,
        cached: &'c mut Option<TextKeys>,
    ) -> Result<&'c TextKeys, WanError> {
        let layer = &self.cross_attn;
        Ok(match cached {
            Some(keys) => keys,
            None => cached.insert(TextKeys {
                k: layer.keys(&text.tokens, adapters)?,
                v: layer.values(&text.tokens, adapters)?,
                padding: text.padding,
            }),
        })
    }

    fn attend_text(
        &self,
        c: &Tensor,
        shared: &Shared<'_>,
        cached: &mut Option<TextKeys>,
    ) -> Result<Tensor, WanError> {
        let layer = &self.cross_attn;
        let q = layer.queries(c, shared.adapters)?;
        let text = self.text_keys(shared.text, shared.adapters, cached)?;
        let attended = ops::attention(&q, &keys(&text.runs()?), &AttentionOptions::default())?;
        Ok(attended.reshape(&[attended.dim(0), c.dim(1)])?)
    }
}
