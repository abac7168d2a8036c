//! The transformer: latents, timestep and text in, flow out.

use scope_engine::{
    Device, Tensor,
    ops::{self, Activation, Linear, Modulation, RopeTable, TokenGrid},
};

use smallvec::SmallVec;

use super::{
    Adapters, KvCache, Projection, VaceContext, WanConfig, WanError,
    block::{Block, CachedKeys, SelfAttention, Shared, Tokens},
    cache::KeyBias,
    calibration::Observer,
    config::ROPE_POSITIONS,
    time::sinusoid,
    vace::VaceBlocks,
};
use crate::{
    quirks::Quirks,
    weights::{Loader, WeightError},
};

/// A causal or plain Wan transformer: weights only, shared by all sessions.
#[derive(Clone, Debug)]
pub struct WanTransformer {
    config: WanConfig,
    patch: Linear,
    text: [Projection; 2],
    time: [Projection; 2],
    time_projection: Projection,
    pub(super) blocks: Vec<Block>,
    /// Of all blocks: `[blocks, 6, dim]`.
    modulation: Tensor,
    head: Projection,
    /// `[2, dim]`: shift, scale.
    head_modulation: Tensor,
    vace: Option<VaceBlocks>,
    rope: RopeTable,
    device: Device,
}

/// Newest frames that the reference's cache weight leaves alone, whatever the call's number of frames.
const SPARED_FRAMES: usize = 3;

/// A text as the transformer attends to it.
#[derive(Clone, Debug)]
pub struct TextContext {
    /// `[rows, dim]`: the text's positions and, if there is padding, one row for all of it.
    pub(super) tokens: Tensor,
    /// Positions that the last row stands for.
    pub(super) padding: usize,
}

/// The inputs of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Noisy latents: `[frames, height, width, channels]`.
    pub latents: &'a Tensor,
    /// A timestep for all frames, or one for each.
    pub timesteps: &'a [f64],
    /// Place of the first frame in the stream.
    pub start_frame: usize,
    /// The text. Its keys are kept in the cache: after a change, [`KvCache::forget_text`].
    pub text: &'a TextContext,
    /// Strengths of the runtime adapters.
    pub adapters: &'a Adapters,
    /// Control signals, with their strength.
    pub vace: Option<(&'a VaceContext, f32)>,
    /// A factor on the weight of cached keys other than the first frame's; `None` or 1 leaves them alone.
    pub cache_weight: Option<f32>,
    /// The pass at timestep 0 over finished frames, which leaves the keys that later chunks see.
    pub clean: bool,
    /// A pass that repeats past frames with a new text.
    pub recache: bool,
    /// Reproduce what the published reference does where it is wrong: see [`Quirks`].
    pub quirks: Quirks,
}

/// What a pass is for.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// The flow, and the keys that it leaves; somebody may look on.
    Flow(Option<&'a Observer>),
    /// The keys alone.
    Keys,
}

impl WanTransformer {
    /// Builds the network from the tensors below the loader's prefix, and its VACE blocks if `vace` is given.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(
        loader: &Loader<'_>,
        config: &WanConfig,
        vace: Option<VaceBlocks>,
    ) -> Result<Self, WeightError> {
        let WanConfig { dim, freq_dim, text_dim, in_dim, out_dim, patch, .. } = *config;
        let head = loader.at("head");
        let blocks: Vec<Block> = (0..config.num_layers)
            .map(|layer| Block::load(&loader.at("blocks").at(layer), config))
            .collect::<Result<_, _>>()?;
        let modulations: Vec<&Tensor> = blocks.iter().map(Block::modulation).collect();
        let modulation = match modulations.as_slice() {
            [] => Tensor::zeros(loader.device(), &[0, 6, dim])?,
            some => Tensor::concat(some)?.reshape(&[blocks.len(), 6, dim])?,
        };
        Ok(Self {
            patch: load_patch(&loader.at("patch_embedding"), dim, in_dim, patch)?,
            text: [
                Projection::load(&loader.at("text_embedding").at(0), dim, text_dim)?,
                Projection::load(&loader.at("text_embedding").at(2), dim, dim)?,
            ],
            time: [
                Projection::load(&loader.at("time_embedding").at(0), dim, freq_dim)?,
                Projection::load(&loader.at("time_embedding").at(2), dim, dim)?,
            ],
            time_projection: Projection::load(&loader.at("time_projection").at(1), 6 * dim, dim)?,
            blocks,
            modulation,
            head: Projection::load(&head.at("head"), patch * patch * out_dim, dim)?,
            head_modulation: head.tensor("modulation", &[1, 2, dim])?.reshape(&[2, dim])?,
            vace,
            rope: RopeTable::new(config.head_dim(), ROPE_POSITIONS, 10_000.0)?,
            device: loader.device().clone(),
            config: config.clone(),
        })
    }

    /// The network's sizes.
    #[must_use]
    pub fn config(&self) -> &WanConfig {
        &self.config
    }

    /// Where it runs.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// May queries and keys be in 8 bits?
    pub(super) fn narrows_attention(&self) -> bool {
        !self.blocks.is_empty() && self.blocks.iter().all(Block::narrows_attention)
    }

    /// The VACE blocks, if loaded.
    #[must_use]
    pub fn vace(&self) -> Option<&VaceBlocks> {
        self.vace.as_ref()
    }

    /// The same weights beside these VACE blocks; nothing is copied.
    #[must_use]
    pub fn with_vace(&self, vace: VaceBlocks) -> Self {
        Self { vace: Some(vace), ..self.clone() }
    }

    /// The linear layer of this name (`blocks.0.self_attn.q`, `head.head`, …), as LoRA files name them.
    pub fn projection_mut(&mut self, name: &str) -> Option<&mut Projection> {
        let (group, rest) = name.split_once('.')?;
        match (group, rest) {
            ("text_embedding", "0") => Some(&mut self.text[0]),
            ("text_embedding", "2") => Some(&mut self.text[1]),
            ("time_embedding", "0") => Some(&mut self.time[0]),
            ("time_embedding", "2") => Some(&mut self.time[1]),
            ("time_projection", "1") => Some(&mut self.time_projection),
            ("head", "head") => Some(&mut self.head),
            ("blocks", rest) => {
                let (layer, rest) = rest.split_once('.')?;
                self.blocks.get_mut(layer.parse::<usize>().ok()?)?.projection_mut(rest)
            }
            ("vace_blocks", rest) => self.vace.as_mut()?.projection_mut(rest),
            _ => None,
        }
    }

    /// A text as the transformer attends to it. `embeddings` is `[positions, text_dim]`; positions after the last
    /// that is not zero, up to `text_len`, are padding, which is attended to as well.
    ///
    /// # Errors
    /// [`WanError::Input`] when there are more positions than `text_len` or they have another size.
    pub fn text_context(&self, embeddings: &Tensor, adapters: &Adapters) -> Result<TextContext, WanError> {
        let WanConfig { text_dim, text_len, .. } = self.config;
        let shape = embeddings.shape();
        if shape.len() != 2 || shape[1] != text_dim || shape[0] > text_len {
            return Err(WanError::Input {
                what: "the text embedding",
                found: shape.to_string(),
                expected: format!("[up to {text_len}, {text_dim}]"),
            });
        }
        let values = embeddings.to_vec();
        let used = values.iter().rposition(|&value| value != 0.0).map_or(0, |last| last / text_dim + 1);
        let padding = text_len - used;
        // The layers turn a zero row into the same row wherever it stands, so one is enough.
        let mut rows = values[..used * text_dim].to_vec();
        rows.resize((used + usize::from(padding > 0)) * text_dim, 0.0);
        let rows = Tensor::from_f32(&self.device, &[rows.len() / text_dim, text_dim], &rows)?;
        let inner = self.text[0].forward(&rows, Activation::Gelu, adapters)?;
        Ok(TextContext { tokens: self.text[1].forward(&inner, Activation::None, adapters)?, padding })
    }

    /// The predicted flow, `[frames, height, width, out_dim]`, and the call's keys in the cache.
    ///
    /// # Errors
    /// [`WanError`] when an input does not fit the model, the cache or the window.
    pub fn forward(&self, call: &Call<'_>, cache: &mut KvCache) -> Result<Tensor, WanError> {
        self.forward_observed(call, cache, None)
    }

    /// Leaves the keys of [`WanTransformer::forward`] in the cache, without the work that only its flow needs.
    ///
    /// # Errors
    /// As [`WanTransformer::forward`].
    pub fn leave_keys(&self, call: &Call<'_>, cache: &mut KvCache) -> Result<(), WanError> {
        self.pass(call, cache, Wanted::Keys).map(drop)
    }

    pub(super) fn forward_observed(
        &self,
        call: &Call<'_>,
        cache: &mut KvCache,
        observer: Option<&Observer>,
    ) -> Result<Tensor, WanError> {
        let (x, embedding) = self.pass(call, cache, Wanted::Flow(observer))?;
        let shape = call.latents.shape();
        // The head's table: its own shift and scale, each plus the time embedding of the frame.
        let head = ops::add(twice(&embedding)?, &self.head_modulation)?;
        let part = |part| Modulation { table: &head, part };
        let y = ops::modulated_layer_norm(&x, self.config.eps, part(1), part(0))?;
        let y = self.head.forward(&y, Activation::None, call.adapters)?;
        Ok(ops::unpatchify(&y, self.config.patch, [shape[0], shape[1], shape[2], self.config.out_dim])?)
    }

    /// All blocks: the last one's tokens (those of the one before if only keys are wanted), and the time embedding.
    fn pass(
        &self,
        call: &Call<'_>,
        cache: &mut KvCache,
        wanted: Wanted<'_>,
    ) -> Result<(Tensor, Tensor), WanError> {
        let observer = match wanted {
            Wanted::Flow(observer) => observer,
            Wanted::Keys => None,
        };
        let shape = self.check(call, cache)?;
        let [frames, height, width, _] = shape;
        let patch = self.config.patch;
        let grid =
            TokenGrid { start: call.start_frame, frames, height: height / patch, width: width / patch };
        let (embedding, modulation) = self.embed_time(call)?;
        let tokens = ops::linear(&ops::patchify(call.latents, patch)?, &self.patch, Activation::None)?;
        let shared = Shared {
            text: call.text,
            rope: &self.rope,
            grid,
            adapters: call.adapters,
            quirks: call.quirks,
            observer,
        };

        let hints = match (&self.vace, call.vace) {
            (Some(blocks), Some((context, _))) => {
                let text = &mut cache.vace_text;
                blocks.hints(&tokens, context, &modulation, &shared, text, call.quirks.padded_keys)?
            }
            _ => Vec::new(),
        };
        let plan = cache.plan(call.start_frame, frames, call.clean, call.recache)?;
        let weighted = call.cache_weight.filter(|&weight| weight != 1.0);
        let bias = weighted.map(|weight| KeyBias {
            log: weight.max(f32::MIN_POSITIVE).ln(),
            newest: if call.quirks.fixed_spared_frames { SPARED_FRAMES } else { frames },
        });
        let policy = cache.policy().clone();
        let tables = self.modulations(&modulation)?;
        let hint_of = |layer: usize| {
            let place = self.vace.as_ref()?.layers().iter().position(|&at| at == layer)?;
            hints.get(place)
        };
        let mut x = Tokens::from(tokens);
        for (layer, (block, table)) in self.blocks.iter().zip(&tables).enumerate() {
            let zero_keys = match call.quirks.padded_keys && weighted.is_some() {
                true => padding_to_128(plan.window.attended.len() * cache.frame_tokens()),
                false => 0,
            };
            let cached = CachedKeys { cache: &mut cache.layers[layer], plan: &plan, policy: &policy };
            let text = &mut cache.text[layer];
            if matches!(wanted, Wanted::Keys) && layer + 1 == self.blocks.len() {
                block.leave_keys(&x, table, &shared, cached, text)?;
                break;
            }
            let attention = SelfAttention::Cached { cached, bias, zero_keys };
            let hint = hint_of(layer).zip(call.vace);
            // What changes tokens between two blocks, or wants to see them, needs them before they are normalised.
            let next = self.blocks.get(layer + 1).zip(tables.get(layer + 1));
            let next = next.filter(|_| hint.is_none() && observer.is_none());
            x = block.forward(x, table, &shared, attention, text, next)?;
            if let Some((hint, (_, scale))) = hint {
                x = ops::mix(x.x, 1.0, hint, scale)?.into();
            }
        }
        cache.commit(&plan);
        Ok((x.x, embedding))
    }

    /// The modulation of every block, `[frames or 1, 6, dim]`, made of what all share.
    fn modulations(&self, shared: &Tensor) -> scope_engine::Result<SmallVec<[Tensor; 32]>> {
        let mut tables = SmallVec::new();
        if shared.dim(0) == 1 && self.device.returns_early() && !self.blocks.is_empty() {
            // Where operators wait for each other: one for all of them.
            let shared_by_all = shared.reshape(&[6, shared.dim(2)])?;
            let all = ops::add(self.modulation.clone(), &shared_by_all)?.to_dtype(shared.dtype())?;
            for block in 0..self.blocks.len() {
                tables.push(all.narrow(block, 1)?);
            }
        } else {
            for block in &self.blocks {
                tables.push(ops::add(shared.clone(), block.modulation())?);
            }
        }
        Ok(tables)
    }

    /// Takes the frame recorded last into the memory bank: before the first denoising step of a chunk and before a
    /// recache pass. Without a bank, or without a new frame, nothing happens.
    ///
    /// # Errors
    /// [`WanError::Engine`] if the bank's memory can't be written.
    pub fn settle_bank(
        &self,
        text: &TextContext,
        adapters: &Adapters,
        cache: &mut KvCache,
        quirks: Quirks,
    ) -> Result<(), WanError> {
        if cache.policy().bank.is_none() {
            return Ok(());
        }
        if !quirks.restless_bank {
            for (block, cached) in self.blocks.iter().zip(&mut cache.text) {
                block.text_keys(text, adapters, cached)?;
            }
        }
        cache.settle_bank(quirks.restless_bank)
    }

    /// The time embedding, `[frames or 1, dim]`, and the modulation made of it, `[frames or 1, 6, dim]`.
    fn embed_time(&self, call: &Call<'_>) -> Result<(Tensor, Tensor), WanError> {
        let WanConfig { dim, freq_dim, .. } = self.config;
        let same = call.timesteps.windows(2).all(|pair| pair[0] == pair[1]);
        let timesteps = if same { &call.timesteps[..1] } else { call.timesteps };
        let single = call.quirks.single_precision_time && self.vace.is_some();
        let rows = Tensor::from_fn(&self.device, &[timesteps.len(), freq_dim], |rows| {
            for (&timestep, row) in timesteps.iter().zip(rows.chunks_exact_mut(freq_dim.max(1))) {
                sinusoid(timestep, single, row);
            }
        })?;
        let inner = self.time[0].forward(&rows, Activation::Silu, call.adapters)?;
        let embedding = self.time[1].forward(&inner, Activation::None, call.adapters)?;
        let active = ops::activate(embedding.clone(), Activation::Silu)?;
        let modulation = self.time_projection.forward(&active, Activation::None, call.adapters)?;
        Ok((embedding, modulation.reshape(&[timesteps.len(), 6, dim])?))
    }

    fn check(&self, call: &Call<'_>, cache: &KvCache) -> Result<[usize; 4], WanError> {
        let shape = call.latents.shape();
        let in_dim = self.config.in_dim;
        let fits = shape.len() == 4
            && shape[3] == in_dim
            && shape[0] > 0
            && shape[1].is_multiple_of(self.config.patch)
            && shape[2].is_multiple_of(self.config.patch)
            && self.config.frame_tokens(shape[1], shape[2]) == cache.frame_tokens();
        if !fits {
            return Err(WanError::Input {
                what: "the latent",
                found: shape.to_string(),
                expected: format!(
                    "[frames, height, width, {in_dim}] of {} tokens a frame",
                    cache.frame_tokens()
                ),
            });
        }
        if call.timesteps.len() != 1 && call.timesteps.len() != shape[0] {
            return Err(WanError::Input {
                what: "the list of timesteps",
                found: call.timesteps.len().to_string(),
                expected: format!("1 or {}", shape[0]),
            });
        }
        if cache.layers.len() != self.blocks.len() {
            return Err(WanError::Input {
                what: "the cache",
                found: format!("{} layers", cache.layers.len()),
                expected: format!("{} layers", self.blocks.len()),
            });
        }
        Ok([shape[0], shape[1], shape[2], shape[3]])
    }
}

/// A patch embedding's convolution `[dim, channels, 1, 2, 2]` as a linear layer of tokens whose channels are innermost.
pub(super) fn load_patch(
    loader: &Loader<'_>,
    dim: usize,
    channels: usize,
    patch: usize,
) -> Result<Linear, WeightError> {
    let weight = loader.values("weight", &[dim, channels, 1, patch, patch])?;
    let bias = loader.values("bias", &[dim])?;
    let squares = patch * patch;
    let mut turned = vec![0.0; weight.len()];
    for (row, turned) in
        weight.chunks_exact(channels * squares).zip(turned.chunks_exact_mut(channels * squares))
    {
        for channel in 0..channels {
            for square in 0..squares {
                turned[square * channels + channel] = row[channel * squares + square];
            }
        }
    }
    loader.linear_from(&turned, [dim, channels * squares], Some(&bias))
}

/// Zero keys that fill `keys` up to a multiple of 128.
pub(super) fn padding_to_128(keys: usize) -> usize {
    keys.next_multiple_of(128) - keys
}

/// `[frames, dim]` as `[frames, 2, dim]`, both parts the same.
fn twice(x: &Tensor) -> scope_engine::Result<Tensor> {
    let (frames, dim) = (x.dim(0), x.dim(1));
    let mut rows: SmallVec<[Tensor; 16]> = SmallVec::new();
    for frame in 0..frames {
        rows.push(x.narrow(frame, 1)?);
    }
    let pairs: SmallVec<[&Tensor; 32]> = rows.iter().flat_map(|row| [row, row]).collect();
    Tensor::concat(&pairs)?.reshape(&[frames, 2, dim])
}

#[cfg(test)]
mod tests {
    use scope_engine::{Cpu, ops::Generator};

    use super::*;
    use crate::{
        wan::{CachePolicy, SinkUpdate},
        weights::{Precision, RandomWeights},
    };

    #[test]
    fn keys_alone_are_those_that_a_flow_leaves() {
        let device = Device::from(Cpu::new(None).unwrap());
        let config = WanConfig::tiny();
        let description = config.description();
        let source = RandomWeights::new(&[&description], 7);
        let model =
            WanTransformer::load(&Loader::new(&source, &device, Precision::F32), &config, None).unwrap();
        let policy = CachePolicy {
            window_frames: 4,
            sink_frames: 1,
            sink_update: SinkUpdate::Fixed,
            relative_positions: false,
            protect_sink: true,
            bank: None,
        };
        let adapters = Adapters::default();
        let mut generator = Generator::new(3);
        let text = ops::randn(&device, &[5, 32], &mut generator).unwrap();
        let text = model.text_context(&text, &adapters).unwrap();
        let chunks: Vec<_> =
            (0..3).map(|_| ops::randn(&device, &[2, 6, 8, 4], &mut generator).unwrap()).collect();
        let call = |chunk: usize, clean| Call {
            latents: &chunks[chunk],
            timesteps: if clean { &[0.0] } else { &[700.0] },
            start_frame: 2 * chunk,
            text: &text,
            adapters: &adapters,
            vace: None,
            cache_weight: None,
            clean,
            recache: false,
            quirks: Quirks::default(),
        };
        let mut caches = [0, 1].map(|_| KvCache::new(&device, &config, &policy, 12, 0).unwrap());
        let [whole, keys] = &mut caches;
        for chunk in 0..2 {
            model.forward(&call(chunk, true), whole).unwrap();
            model.leave_keys(&call(chunk, true), keys).unwrap();
            for layer in 0..config.num_layers {
                let [whole, keys] = [&*whole, &*keys].map(|cache| {
                    let (k, v) = cache.layer(layer).unwrap().unwrap();
                    (k.to_vec(), v.to_vec())
                });
                assert_eq!(whole, keys, "chunk {chunk}, layer {layer}");
            }
        }
        let [whole, keys] =
            [whole, keys].map(|cache| model.forward(&call(2, false), cache).unwrap().to_vec());
        assert_eq!(whole, keys);
    }
}
