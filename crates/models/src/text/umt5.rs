//! The encoder of UMT5 (Chung et al. 2023; the encoder of T5 1.1, with a table of relative positions in every layer),
//! under the tensor names of Wan2.1's text encoder.

use scope_engine::{
    Device, Result, Tensor,
    ops::{
        Activation, AttentionOptions, Embedding, Gain, Keys, Linear, attention, embedding, linear,
        linear_add, multiply, rms_norm,
    },
};

use crate::{
    checkpoint::NetworkDescription,
    weights::{Loader, TensorSource, WeightError},
};

/// Sizes of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Umt5Config {
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Features of a token.
    pub dim: usize,
    /// Features of all heads together.
    pub dim_attention: usize,
    /// Hidden features of the feed-forward network.
    pub dim_ffn: usize,
    /// Attention heads.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
    /// Entries of a table of relative positions; half of them for keys before the query.
    pub buckets: usize,
    /// Distance from which on all keys of a side share an entry.
    pub max_distance: usize,
}

impl Umt5Config {
    /// UMT5-XXL, the text encoder of Wan2.1.
    #[must_use]
    pub const fn xxl() -> Self {
        Self {
            vocabulary: 256_384,
            dim: 4096,
            dim_attention: 4096,
            dim_ffn: 10_240,
            heads: 64,
            layers: 24,
            buckets: 32,
            max_distance: 128,
        }
    }

    /// The sizes of the encoder whose tensors these are.
    ///
    /// # Errors
    /// [`WeightError::Missing`] when it lacks a tensor that tells.
    pub fn of(source: &dyn TensorSource) -> Result<Self, WeightError> {
        let [vocabulary, dim] = source.extents("token_embedding.weight")?;
        let [dim_attention, _] = source.extents("blocks.0.attn.q.weight")?;
        let [dim_ffn, _] = source.extents("blocks.0.ffn.fc1.weight")?;
        let [buckets, heads] = source.extents("blocks.0.pos_embedding.embedding.weight")?;
        let layers = source.count(&|layer| format!("blocks.{layer}.norm1.weight"));
        Ok(Self { vocabulary, dim, dim_attention, dim_ffn, heads, layers, buckets, ..Self::xxl() })
    }

    /// The tensors of the encoder.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let Self { vocabulary, dim, dim_attention, dim_ffn, heads, layers, buckets, .. } = *self;
        let mut net = NetworkDescription::new(format!("a UMT5 encoder of {layers} layers of {dim} features"));
        net.tensor("token_embedding.weight", &[vocabulary, dim]);
        for layer in 0..layers {
            net.scope(&format!("blocks.{layer}"), |net| {
                net.rms_norm("norm1", dim).rms_norm("norm2", dim);
                for name in ["q", "k", "v"] {
                    net.linear_without_bias(&format!("attn.{name}"), dim_attention, dim);
                }
                net.linear_without_bias("attn.o", dim, dim_attention);
                net.linear_without_bias("ffn.gate.0", dim_ffn, dim);
                net.linear_without_bias("ffn.fc1", dim_ffn, dim);
                net.linear_without_bias("ffn.fc2", dim, dim_ffn);
                net.tensor("pos_embedding.embedding.weight", &[buckets, heads]);
            });
        }
        net.rms_norm("norm", dim);
        net
    }
}

/// Keeps the root of the mean square above zero.
const EPS: f32 = 1e-6;

/// The encoder with its weights.
pub struct Umt5 {
    config: Umt5Config,
    device: Device,
    tokens: Embedding,
    blocks: Vec<Block>,
    norm: Tensor,
}

struct Block {
    attention_norm: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// `[buckets, heads]`, in host memory: read once per prompt and distance.
    positions: Vec<f32>,
    ffn_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Umt5 {
    /// Builds the encoder from its tensors. What they hold in e4m3 stays so on a GPU: a prompt is encoded now and then, and the
    /// memory is wanted by what runs all the time.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: Umt5Config) -> Result<Self, WeightError> {
        let loader = loader.keeping_e4m3();
        let blocks = loader.at("blocks");
        Ok(Self {
            config,
            device: loader.device().clone(),
            blocks: (0..config.layers)
                .map(|layer| Block::load(&blocks.at(layer), &config))
                .collect::<Result<_, _>>()?,
            norm: loader.at("norm").tensor("weight", &[config.dim])?,
            tokens: loader.at("token_embedding").embedding(config.vocabulary, config.dim)?,
        })
    }

    /// The sizes.
    #[must_use]
    pub fn config(&self) -> &Umt5Config {
        &self.config
    }

    /// The embedding `[length, dim]` of a prompt's tokens. Only they are computed, and only they are keys: the rows from
    /// `ids.len()` on are zero. Tokens beyond `length` are left out.
    ///
    /// # Errors
    /// [`scope_engine::Error::Shape`] when a token is not of the vocabulary.
    pub fn encode(&self, ids: &[u32], length: usize) -> Result<Tensor> {
        let mut padded = Tensor::zeros(&self.device, &[length, self.config.dim])?;
        let ids = &ids[..ids.len().min(length)];
        if !ids.is_empty() {
            padded.write(0, &self.encode_each(ids, |_, _| {})?)?;
        }
        Ok(padded)
    }

    /// The embedding `[ids, dim]` of these tokens. `inspect` sees the result `[ids, dim]` of every layer.
    ///
    /// # Errors
    /// [`scope_engine::Error::Shape`] when a token is not of the vocabulary, or there is none.
    pub fn encode_each(&self, ids: &[u32], mut inspect: impl FnMut(usize, &Tensor)) -> Result<Tensor> {
        let mut x = embedding(&self.tokens, ids)?;
        let buckets = self.buckets(ids.len());
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &self.config, &buckets)?;
            inspect(layer, &x);
        }
        rms_norm(&x, &self.norm, EPS)
    }

    /// The entry of the tables for each distance `key - query` from `1 - count` to `count - 1`.
    fn buckets(&self, count: usize) -> Vec<usize> {
        let reach = count as i64 - 1;
        (-reach..=reach)
            .map(|distance| relative_bucket(distance, self.config.buckets, self.config.max_distance))
            .collect()
    }
}

impl std::fmt::Debug for Umt5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Umt5").field(&self.config).finish()
    }
}

impl Block {
    fn load(loader: &Loader<'_>, config: &Umt5Config) -> Result<Self, WeightError> {
        let (attention, ffn) = (loader.at("attn"), loader.at("ffn"));
        let project = |name: &str| attention.at(name).linear_without_bias(config.dim_attention, config.dim);
        Ok(Self {
            attention_norm: loader.at("norm1").tensor("weight", &[config.dim])?,
            q: project("q")?,
            k: project("k")?,
            v: project("v")?,
            o: attention.at("o").linear_without_bias(config.dim, config.dim_attention)?,
            positions: loader
                .at("pos_embedding.embedding")
                .values("weight", &[config.buckets, config.heads])?,
            ffn_norm: loader.at("norm2").tensor("weight", &[config.dim])?,
            gate: ffn.at("gate.0").linear_without_bias(config.dim_ffn, config.dim)?,
            up: ffn.at("fc1").linear_without_bias(config.dim_ffn, config.dim)?,
            down: ffn.at("fc2").linear_without_bias(config.dim, config.dim_ffn)?,
        })
    }

    fn forward(&self, x: Tensor, config: &Umt5Config, buckets: &[usize]) -> Result<Tensor> {
        let x = self.attend(x, config, buckets)?;
        // The gated unit of T5 1.1 (Shazeer 2020, "GLU variants improve transformer").
        let normed = rms_norm(&x, &self.ffn_norm, EPS)?;
        let gate = linear(&normed, &self.gate, Activation::Gelu)?;
        let hidden = multiply(gate, &linear(&normed, &self.up, Activation::None)?)?;
        linear_add(x, &hidden, &self.down, Gain::Constant(1.0))
    }

    fn attend(&self, x: Tensor, config: &Umt5Config, buckets: &[usize]) -> Result<Tensor> {
        let (count, heads) = (x.dim(0), config.heads);
        let normed = rms_norm(&x, &self.attention_norm, EPS)?;
        let by_head = |layer: &Linear| {
            linear(&normed, layer, Activation::None)?.reshape(&[
                count,
                heads,
                config.dim_attention / heads.max(1),
            ])
        };
        let (q, k, v) = (by_head(&self.q)?, by_head(&self.k)?, by_head(&self.v)?);
        let bias: Vec<f32> = (0..heads)
            .flat_map(|head| buckets.iter().map(move |bucket| self.positions.get(bucket * heads + head)))
            .map(|bias| bias.copied().unwrap_or_default())
            .collect();
        let bias = Tensor::from_f32(&x.device(), &[heads, buckets.len()], &bias)?;
        // T5 does not scale its scores: the initialisation of its weights does.
        let options = AttentionOptions { scale: Some(1.0), relative_bias: Some(&bias), ..Default::default() };
        let attended =
            attention(&q, &[Keys::new(&k, &v)], &options)?.reshape(&[count, config.dim_attention])?;
        linear_add(x, &attended, &self.o, Gain::Constant(1.0))
    }
}

/// The entry of a table of `buckets` relative positions for `distance = key - query` (Raffel et al. 2020, section 2.1,
/// bidirectional): half the table for each direction; in it, an entry for each of the nearest distances, then entries
/// that grow geometrically up to `max_distance`.
#[must_use]
pub fn relative_bucket(distance: i64, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let base = if distance > 0 { half } else { 0 };
    let exact = (half / 2).max(1);
    let distance = usize::try_from(distance.unsigned_abs()).unwrap_or(usize::MAX);
    if distance < exact {
        return base + distance;
    }
    let ratio = |of: usize| (of as f32 / exact as f32).ln();
    let beyond = (ratio(distance) / ratio(max_distance) * (half - exact) as f32) as usize;
    base + (exact + beyond).min(half.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_have_entries_of_their_own_and_far_ones_share() {
        let bucket = |distance| relative_bucket(distance, 32, 128);
        assert_eq!(
            (-8..8).map(bucket).collect::<Vec<_>>(),
            [8, 7, 6, 5, 4, 3, 2, 1, 0, 17, 18, 19, 20, 21, 22, 23]
        );
        assert_eq!([-16, -32, -64, -127, -128, i64::MIN].map(bucket), [10, 12, 14, 15, 15, 15]);
        assert_eq!([16, 127, 128, i64::MAX].map(bucket), [26, 31, 31, 31]);
        for distance in -300..300 {
            assert!(bucket(distance) < 32);
        }
    }

    #[test]
    fn the_published_size_has_its_published_number_of_tensors_and_weights() {
        let net = Umt5Config::xxl().description();
        assert_eq!((net.tensors().len(), net.parameters()), (242, 5_680_910_336));
    }

    #[test]
    fn odd_tables_do_not_overflow() {
        for buckets in 0..5 {
            for distance in [-1000, -1, 0, 1, 1000] {
                let bucket = relative_bucket(distance, buckets, 16);
                assert!(bucket < buckets.max(2), "{buckets} entries, distance {distance}: {bucket}");
            }
        }
    }
}
