//! One transformer block: self-attention, attention to the text, feed-forward network.

use scope_engine::{
    Tensor,
    ops::{
        self, Activation, AttentionOptions, FixedScale, Gain, JoinedHeads, Keys, LayerNorm, Modulation,
        NormRope, RopeTable, TokenGrid,
    },
};

use super::{
    Adapters, Projection, WanConfig, WanError,
    cache::{CachePlan, CachePolicy, KeyBias, LayerCache, NewKeys, TextKeys, keys},
    calibration::{BlockScales, Observer, Place},
    projection::{Input, Rows},
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
    /// The first three as one layer, of which they are parts.
    joined: Option<Projection>,
    norm_q: Tensor,
    norm_k: Tensor,
    /// Of queries and keys where they may be in 8 bits.
    narrow: Option<NarrowScales>,
    heads: usize,
    eps: f32,
}

/// Scales of queries and keys in 8 bits: powers of two.
#[derive(Clone, Copy, Debug)]
struct NarrowScales {
    q: f32,
    k: f32,
}

impl NarrowScales {
    /// After a norm, no number of a vector is larger than the root of the number of features times the largest weight, and
    /// rotations keep it so: nothing saturates.
    fn of(norm_q: &Tensor, norm_k: &Tensor) -> scope_engine::Result<Self> {
        let scale = |weight: &Tensor| {
            let features = weight.shape().numel() as f32;
            let largest = ops::largest_magnitude(weight)? * features.sqrt();
            Ok::<_, scope_engine::Error>((largest.max(f32::MIN_POSITIVE) / F8_LARGEST).log2().ceil().exp2())
        };
        Ok(Self { q: scale(norm_q)?, k: scale(norm_k)? })
    }
}

/// The largest number in e4m3.
const F8_LARGEST: f32 = 448.0;

impl Attention {
    /// `keys` loads the layers of keys and values.
    fn load(
        loader: &Loader<'_>,
        config: &WanConfig,
        keys: fn(&Loader<'_>, usize, usize) -> Result<Projection, WeightError>,
    ) -> Result<Self, WeightError> {
        let dim = config.dim;
        Ok(Self {
            q: Projection::load_for_fp8(&loader.at("q"), dim, dim)?,
            k: keys(&loader.at("k"), dim, dim)?,
            v: keys(&loader.at("v"), dim, dim)?,
            o: Projection::load_for_fp8(&loader.at("o"), dim, dim)?,
            joined: None,
            narrow: None,
            norm_q: loader.at("norm_q").tensor("weight", &[dim])?,
            norm_k: loader.at("norm_k").tensor("weight", &[dim])?,
            heads: config.num_heads,
            eps: config.eps,
        })
    }

    /// Makes one layer of those of queries, keys and values where that saves time.
    fn join(&mut self) -> scope_engine::Result<()> {
        if let Some((joined, [q, k, v])) = Projection::joined([&self.q, &self.k, &self.v])? {
            (self.joined, self.q, self.k, self.v) = (Some(joined), q, k, v);
        }
        Ok(())
    }

    /// `[rows, dim]` as `[rows, heads, head_dim]`.
    fn split(&self, x: &Tensor) -> scope_engine::Result<Tensor> {
        x.reshape(&[x.dim(0), self.heads, x.dim(1) / self.heads.max(1)])
    }

    /// The norm of queries or keys, which acts on the whole vector, before the heads are split; then their rotation.
    fn normed<'a>(
        &'a self,
        x: &'a Tensor,
        weight: &'a Tensor,
        rope: Option<(&'a RopeTable, TokenGrid)>,
        fp8_scale: Option<f32>,
    ) -> NormRope<'a> {
        NormRope { x, weight, eps: self.eps, rope, fp8_scale }
    }

    fn queries<'a>(
        &self,
        x: impl Into<Input<'a>>,
        adapters: &Adapters,
        rope: Option<(&RopeTable, TokenGrid)>,
        fp8_scale: Option<f32>,
    ) -> scope_engine::Result<Tensor> {
        let q = self.split(&self.q.forward(x, Activation::None, adapters)?)?;
        ops::rms_norm_rope(&self.normed(&q, &self.norm_q, rope, fp8_scale))
    }

    /// Keys before their norm and rotation.
    fn raw_keys<'a>(&self, x: impl Into<Input<'a>>, adapters: &Adapters) -> scope_engine::Result<Tensor> {
        self.split(&self.k.forward(x, Activation::None, adapters)?)
    }

    fn keys<'a>(
        &self,
        x: impl Into<Input<'a>>,
        adapters: &Adapters,
        rope: Option<(&RopeTable, TokenGrid)>,
    ) -> scope_engine::Result<Tensor> {
        let k = self.raw_keys(x, adapters)?;
        ops::rms_norm_rope(&self.normed(&k, &self.norm_k, rope, None))
    }

    fn values<'a>(&self, x: impl Into<Input<'a>>, adapters: &Adapters) -> scope_engine::Result<Tensor> {
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
    /// A gate that lets everything through: `[1, 1, dim]`.
    one: Tensor,
    eps: f32,
    /// Of activations in 8 bits, once they are known.
    pub(super) scales: Option<BlockScales>,
}

/// Tokens between two blocks, `[tokens, dim]`, and the same normalised for the second if the first has done that.
pub(super) struct Tokens {
    pub(super) x: Tensor,
    normed: Option<Rows>,
}

impl From<Tensor> for Tokens {
    fn from(x: Tensor) -> Self {
        Self { x, normed: None }
    }
}

/// What every block of a forward pass shares.
pub(super) struct Shared<'a> {
    pub(super) text: &'a TextContext,
    pub(super) rope: &'a RopeTable,
    /// Where the tokens are; `start` is their place in the stream.
    pub(super) grid: TokenGrid,
    pub(super) adapters: &'a Adapters,
    pub(super) quirks: Quirks,
    /// Wants to know how large activations are.
    pub(super) observer: Option<&'a Observer>,
}

/// What a block's queries attend to.
pub(super) enum SelfAttention<'a> {
    /// The cache, with the call's own keys in it.
    Cached { cached: CachedKeys<'a>, bias: Option<KeyBias>, zero_keys: usize },
    /// The call's own tokens, at positions from 0 on.
    Isolated { zero_keys: usize },
}

/// A layer's cache, and what a call does with it.
pub(super) struct CachedKeys<'a> {
    pub(super) cache: &'a mut LayerCache,
    pub(super) plan: &'a CachePlan,
    pub(super) policy: &'a CachePolicy,
}

impl CachedKeys<'_> {
    /// Where the call's tokens are for queries.
    fn grid(&self, shared: &Shared<'_>) -> TokenGrid {
        // Relative positions count from the oldest frame that is attended to; the call's frames are the newest.
        let newest = self.plan.window.attended.len().saturating_sub(shared.grid.frames);
        let start = if self.policy.relative_positions { newest } else { shared.grid.start };
        TokenGrid { start, ..shared.grid }
    }
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
        // Whoever asks for a layer may change it.
        attention.joined = None;
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
        let mut self_attn = Attention::load(&loader.at("self_attn"), config, Projection::load_for_fp8)?;
        self_attn.join()?;
        if self_attn.k.takes_fp8().is_some() {
            self_attn.narrow = Some(NarrowScales::of(&self_attn.norm_q, &self_attn.norm_k)?);
        }
        Ok(Self {
            self_attn,
            // A text has few keys, which are made once.
            cross_attn: Attention::load(&loader.at("cross_attn"), config, Projection::load)?,
            norm3: (norm3.tensor("weight", &[dim])?, norm3.tensor("bias", &[dim])?),
            ffn: [
                Projection::load_for_fp8(&loader.at("ffn").at(0), config.ffn_dim, dim)?,
                Projection::load_for_fp8(&loader.at("ffn").at(2), dim, config.ffn_dim)?,
            ],
            modulation: modulation.reshape(&[6, dim])?,
            one: {
                // In the type of activations, so that nobody has to convert it.
                let one = Tensor::from_fn(loader.device(), &[1, 1, dim], |values| values.fill(1.0))?;
                ops::add(Tensor::zeros(loader.device(), &[1, 1, dim])?, &one)?
            },
            eps: config.eps,
            scales: None,
        })
    }

    /// The block's modulation, `[6, dim]`.
    pub(super) fn modulation(&self) -> &Tensor {
        &self.modulation
    }

    /// The block's output for tokens, `[tokens, dim]`, under its modulation of each frame, `[frames or 1, 6, dim]`. `text` keeps
    /// the text's keys from call to call. The block that comes next and its modulation, if they are known, get their input
    /// normalised.
    pub(super) fn forward(
        &self,
        tokens: Tokens,
        table: &Tensor,
        shared: &Shared<'_>,
        attention: SelfAttention<'_>,
        text: &mut Option<TextKeys>,
        next: Option<(&Self, &Tensor)>,
    ) -> Result<Tokens, WanError> {
        let part = |part| Modulation { table, part };
        let scale = |place| self.scales.as_ref().map(|scales| scales.at(place));
        let note = |place, x: &Tensor, norm: LayerNorm<'_>| match shared.observer {
            Some(observer) => observer.note(place, &norm.apply(x, self.eps)?),
            None => Ok(()),
        };
        if let Some(observer) = shared.observer {
            observer.begin_block();
        }

        let Tokens { x, normed } = tokens;
        let (norm, layers, scale_1) = self.entry(table);
        note(Place::Attention, &x, norm)?;
        let a = match normed {
            Some(normed) => normed,
            None => Rows::normed(&x, norm, self.eps, &layers, scale_1)?,
        };
        let attended = self.attend(&a, shared, attention)?;

        let norm = LayerNorm::Affine { weight: &self.norm3.0, bias: &self.norm3.1 };
        let (mut x, c) = self.self_attn.o.add_to_and_norm(
            x,
            &attended,
            part(GATE_1),
            shared.adapters,
            (norm, self.eps),
            (&[&self.cross_attn.q], scale(Place::Text)),
        )?;
        note(Place::Text, &x, norm)?;
        let attended = self.attend_text(&c, shared, text)?;

        let norm = LayerNorm::Modulated { scale: part(SCALE_2), shift: part(SHIFT_2) };
        let [inner, outer] = &self.ffn;
        let b;
        if matches!(attended, Rows::Fp8(_)) {
            // Products in 8 bits have no addend; the norm that follows adds them on its way.
            let one = Modulation { table: &self.one, part: 0 };
            let norm = (norm, self.eps);
            let layers = (&[inner][..], scale(Place::Outer));
            (x, b) = self.cross_attn.o.add_to_and_norm(x, &attended, one, shared.adapters, norm, layers)?;
        } else {
            x = self.cross_attn.o.add_to(x, &attended, Gain::Constant(1.0), shared.adapters)?;
            note(Place::Outer, &x, norm)?;
            b = Rows::normed(&x, norm, self.eps, &[inner], scale(Place::Outer))?;
        }
        let hidden = inner.forward_to(&b, Activation::Gelu, shared.adapters, outer, scale(Place::Hidden))?;
        if let (Some(observer), Rows::Plain(hidden)) = (shared.observer, &hidden) {
            observer.note(Place::Hidden, hidden)?;
        }
        let gate = part(GATE_2);
        match next {
            None => Ok(outer.add_to(x, &hidden, Gain::PerFrame(gate), shared.adapters)?.into()),
            Some((next, table)) => {
                let (norm, layers, scale) = next.entry(table);
                let norm = (norm, next.eps);
                let (x, normed) =
                    outer.add_to_and_norm(x, &hidden, gate, shared.adapters, norm, (&layers, scale))?;
                Ok(Tokens { x, normed: Some(normed) })
            }
        }
    }

    /// Leaves the keys of [`Block::forward`] and nothing else: for the last block of a pass whose output nobody wants.
    pub(super) fn leave_keys(
        &self,
        tokens: &Tokens,
        table: &Tensor,
        shared: &Shared<'_>,
        mut cached: CachedKeys<'_>,
        text: &mut Option<TextKeys>,
    ) -> Result<(), WanError> {
        let made;
        let a = match &tokens.normed {
            Some(normed) => normed,
            None => {
                let (norm, layers, scale) = self.entry(table);
                made = Rows::normed(&tokens.x, norm, self.eps, &layers, scale)?;
                &made
            }
        };
        self.store_keys(a, shared, &mut cached)?;
        self.text_keys(shared.text, shared.adapters, text)?;
        Ok(())
    }

    /// What tokens go through on their way into the block: a norm, for these layers, in 8 bits under this scale.
    fn entry<'a>(
        &'a self,
        table: &'a Tensor,
    ) -> (LayerNorm<'a>, [&'a Projection; 3], Option<&'a FixedScale>) {
        let part = |part| Modulation { table, part };
        let layer = &self.self_attn;
        (
            LayerNorm::Modulated { scale: part(SCALE_1), shift: part(SHIFT_1) },
            [&layer.q, &layer.k, &layer.v],
            self.scales.as_ref().map(|scales| scales.at(Place::Attention)),
        )
    }

    /// May its queries and keys be in 8 bits?
    pub(super) fn narrows_attention(&self) -> bool {
        self.self_attn.narrow.is_some()
    }

    /// Do layers take activations in 8 bits?
    pub(super) fn takes_fp8(&self) -> bool {
        let own = &self.self_attn;
        let layers = [&own.q, &own.k, &own.v, &own.o, &self.cross_attn.q, &self.cross_attn.o];
        layers.into_iter().chain(&self.ffn).any(|layer| layer.takes_fp8().is_some())
    }

    fn attend(&self, a: &Rows, shared: &Shared<'_>, attention: SelfAttention<'_>) -> Result<Rows, WanError> {
        let layer = &self.self_attn;
        let options = |zero_keys| AttentionOptions { zero_keys, ..AttentionOptions::default() };
        let attended = |q: &Tensor, keys: &[Keys<'_>], options: &AttentionOptions<'_>| {
            self.attended(q, keys, options, &layer.o, Place::Attended, shared.observer)
        };
        match attention {
            SelfAttention::Isolated { zero_keys } => {
                let rope = Some((shared.rope, TokenGrid { start: 0, ..shared.grid }));
                let q = layer.queries(a, shared.adapters, rope, None)?;
                let k = layer.keys(a, shared.adapters, rope)?;
                let v = layer.values(a, shared.adapters)?;
                attended(&q, &[Keys::new(&k, &v)], &options(zero_keys))
            }
            SelfAttention::Cached { mut cached, bias, zero_keys } => {
                let q = self.store_keys(a, shared, &mut cached)?;
                let grid = cached.grid(shared);
                let parts = cached.cache.attended(cached.plan, cached.policy, grid, shared.rope, bias)?;
                // The numbers are attended to as they are: what they were divided by is in the scale of the scores.
                let narrow = layer.narrow.filter(|_| cached.cache.has_narrow_keys());
                let scale = narrow.map(|scales| scales.q * scales.k / (q.dim(2) as f32).sqrt());
                attended(&q, &keys(&parts), &AttentionOptions { scale, ..options(zero_keys) })
            }
        }
    }

    /// Attention as rows for the layer behind it: in 8 bits if it takes them and their scale is known.
    fn attended(
        &self,
        q: &Tensor,
        keys: &[Keys<'_>],
        options: &AttentionOptions<'_>,
        layer: &Projection,
        place: Place,
        observer: Option<&Observer>,
    ) -> Result<Rows, WanError> {
        if let (Some(scales), Some(_), None) = (&self.scales, layer.takes_fp8(), observer) {
            return Ok(Rows::Fp8(ops::attention_fp8(q, keys, options, scales.at(place))?));
        }
        let attended = joined(&ops::attention(q, keys, options)?)?;
        if let Some(observer) = observer {
            observer.note(place, &attended)?;
        }
        Ok(Rows::Plain(attended))
    }

    /// Puts the keys and values of normalised tokens into the cache, and gives their queries.
    fn store_keys(
        &self,
        a: &Rows,
        shared: &Shared<'_>,
        cached: &mut CachedKeys<'_>,
    ) -> Result<Tensor, WanError> {
        let layer = &self.self_attn;
        let grid = cached.grid(shared);
        let CachedKeys { cache, plan, policy } = cached;
        let tokens = shared.grid.height * shared.grid.width;
        let rope = (!policy.relative_positions).then_some((shared.rope, grid));
        let narrow = layer.narrow.filter(|_| cache.has_narrow_keys());
        let fp8_scales = [narrow.map(|scales| scales.q), narrow.map(|scales| scales.k)];
        match layer.joined.as_ref().filter(|_| !plan.record) {
            Some(joined) => {
                let rows = joined.forward(a, Activation::None, shared.adapters)?;
                let rows = JoinedHeads {
                    x: &rows,
                    heads: layer.heads,
                    weights: [&layer.norm_q, &layer.norm_k],
                    eps: layer.eps,
                    ropes: [Some((shared.rope, grid)), rope],
                    fp8_scales,
                };
                cache.store_joined(plan, policy, shared.quirks, tokens, &rows)
            }
            None => {
                let rotation = Some((shared.rope, grid));
                let q = layer.queries(a, shared.adapters, rotation, fp8_scales[0])?;
                let k = layer.raw_keys(a, shared.adapters)?;
                let v = layer.values(a, shared.adapters)?;
                let k = NewKeys::Raw(layer.normed(&k, &layer.norm_k, rope, fp8_scales[1]));
                cache.store(plan, policy, shared.quirks, tokens, k, &v)?;
                Ok(q)
            }
        }
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
                k: layer.keys(&text.tokens, adapters, None)?,
                v: layer.values(&text.tokens, adapters)?,
                padding: text.padding,
            }),
        })
    }

    fn attend_text(
        &self,
        c: &Rows,
        shared: &Shared<'_>,
        cached: &mut Option<TextKeys>,
    ) -> Result<Rows, WanError> {
        let layer = &self.cross_attn;
        let q = layer.queries(c, shared.adapters, None, None)?;
        let text = self.text_keys(shared.text, shared.adapters, cached)?;
        let (runs, options) = (text.runs()?, AttentionOptions::default());
        self.attended(&q, &keys(&runs), &options, &layer.o, Place::AttendedText, shared.observer)
    }
}

/// `[rows, heads, head_dim]` as `[rows, dim]`.
fn joined(x: &Tensor) -> scope_engine::Result<Tensor> {
    x.reshape(&[x.dim(0), x.dim(1) * x.dim(2)])
}
