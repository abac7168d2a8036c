//! Keys and values of past frames, per session.

use scope_engine::{
    DType, Device, Tensor,
    ops::{self, JoinedHeads, Keys, NormRope, PlacedFrame, RopeTable, TokenGrid},
};

use smallvec::SmallVec;

use super::{
    Plan, WanConfig, WanError, WanTransformer, Window,
    window::{Slots, runs},
};
use crate::quirks::Quirks;

/// What becomes of the sink frames when frames are evicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SinkUpdate {
    /// They stay as they were written.
    Fixed,
    /// They move towards the evicted frames: `decay · sink + (1 - decay) · evicted` (Reward Forcing's EMA sink).
    Average {
        /// The share that stays.
        decay: f32,
    },
}

/// How a family uses its cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CachePolicy {
    /// Latent frames held, sink included.
    pub window_frames: usize,
    /// First frames of the stream that are never evicted.
    pub sink_frames: usize,
    /// What happens to them.
    pub sink_update: SinkUpdate,
    /// Keys are kept without rotary embedding and rotated at every use by their place in the window, so that positions
    /// never grow. Otherwise they are kept rotated by their place in the stream.
    pub relative_positions: bool,
    /// A call that repeats past frames leaves the sink as it is.
    pub protect_sink: bool,
    /// A bank of single frames from the more distant past.
    pub bank: Option<MemoryBank>,
}

/// MemFlow's memory bank: every few chunks, the first frame of a chunk is kept beyond the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBank {
    /// Frames that the bank holds. When it is full, the frames least like the text go.
    pub frames: usize,
    /// Chunks from one recorded frame to the next.
    pub record_interval: usize,
    /// Latent frames of a chunk.
    pub chunk_frames: usize,
}

/// The cache of one session: window, sink, bank and the text's keys, for every layer.
#[derive(Clone, Debug)]
pub struct KvCache {
    policy: CachePolicy,
    frame_tokens: usize,
    pub(super) window: Window,
    pub(super) layers: Vec<LayerCache>,
    pub(super) text: Vec<Option<TextKeys>>,
    pub(super) vace_text: Vec<Option<TextKeys>>,
    bank_state: BankState,
    scratch: Scratch,
}

/// Frames recorded in the bank, and frames in it if it never forgot any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BankState {
    recorded: usize,
    filled: usize,
    /// The frame recorded last is not in the bank yet.
    pending: bool,
}

/// One layer's keys and values.
#[derive(Clone, Debug)]
pub(super) struct LayerCache {
    /// `[window_frames · frame_tokens, heads, head_dim]`, by slot.
    k: Tensor,
    v: Tensor,
    bank: Option<LayerBank>,
}

#[derive(Clone, Debug)]
struct LayerBank {
    /// `[frames · frame_tokens, heads, head_dim]`.
    k: Tensor,
    v: Tensor,
    /// The frame recorded last: `[frame_tokens, heads, head_dim]`.
    k_new: Tensor,
    v_new: Tensor,
}

/// Keys and values in runs, each with the constant that is added to its scores. Few enough to stay off the heap.
pub(super) type KeyRuns = SmallVec<[(Tensor, Tensor, f32); 4]>;

/// Keys and values of the text for one layer; the last row stands for all padding positions.
#[derive(Clone, Debug)]
pub(super) struct TextKeys {
    pub(super) k: Tensor,
    pub(super) v: Tensor,
    /// Text positions that the last row stands for; 0 if it is a position like the others.
    pub(super) padding: usize,
}

impl TextKeys {
    /// The keys as runs: identical padding positions are one key that weighs as much as all of them.
    pub(super) fn runs(&self) -> scope_engine::Result<KeyRuns> {
        let mut runs = KeyRuns::new();
        if self.padding == 0 {
            runs.push((self.k.clone(), self.v.clone(), 0.0));
            return Ok(runs);
        }
        let text = self.k.dim(0) - 1;
        if text > 0 {
            runs.push((self.k.narrow(0, text)?, self.v.narrow(0, text)?, 0.0));
        }
        runs.push((self.k.narrow(text, 1)?, self.v.narrow(text, 1)?, (self.padding as f32).ln()));
        Ok(runs)
    }

    /// The mean key over all text positions, `[heads · head_dim]`, into the front of `scratch`.
    fn mean_key(&self, scratch: &mut Vec<f32>) -> scope_engine::Result<()> {
        let (rows, features) = (self.k.dim(0), self.k.dim(1) * self.k.dim(2));
        scratch.clear();
        scratch.resize(features * (rows + 1), 0.0);
        let (mean, keys) = scratch.split_at_mut(features);
        self.k.copy_to(keys)?;
        let mut total = 0.0;
        for (index, row) in keys.chunks_exact(features.max(1)).enumerate() {
            let weight = if index + 1 == rows && self.padding > 0 { self.padding as f32 } else { 1.0 };
            total += weight;
            for (mean, value) in mean.iter_mut().zip(row) {
                *mean += weight * value;
            }
        }
        mean.iter_mut().for_each(|value| *value /= total);
        Ok(())
    }
}

/// What a call does to the window and the bank; the same for every layer.
#[derive(Clone, Debug)]
pub(super) struct CachePlan {
    pub(super) window: Plan,
    /// Frames of the bank that are attended to.
    bank_frames: usize,
    /// The call's first frame is recorded.
    pub(super) record: bool,
    bank_after: BankState,
}

impl KvCache {
    /// An empty cache for frames of `frame_tokens` tokens; `vace_blocks` is the number of VACE blocks, if any.
    ///
    /// # Errors
    /// [`WanError::Engine`] when the sizes overflow.
    pub fn new(
        device: &Device,
        config: &WanConfig,
        policy: &CachePolicy,
        frame_tokens: usize,
        vace_blocks: usize,
    ) -> Result<Self, WanError> {
        let (heads, dim) = (config.num_heads, config.head_dim());
        let zeros = |frames: usize| Tensor::zeros(device, &[frames * frame_tokens, heads, dim]);
        let layers = (0..config.num_layers).map(|_| {
            let bank = policy.bank.map(|bank| {
                Ok::<_, WanError>(LayerBank {
                    k: zeros(bank.frames)?,
                    v: zeros(bank.frames)?,
                    k_new: zeros(1)?,
                    v_new: zeros(1)?,
                })
            });
            Ok(LayerCache {
                k: zeros(policy.window_frames)?,
                v: zeros(policy.window_frames)?,
                bank: bank.transpose()?,
            })
        });
        Ok(Self {
            layers: layers.collect::<Result<_, WanError>>()?,
            policy: policy.clone(),
            frame_tokens,
            window: Window::new(policy.window_frames, policy.sink_frames),
            text: vec![None; config.num_layers],
            vace_text: vec![None; vace_blocks],
            bank_state: BankState::default(),
            scratch: Scratch::default(),
        })
    }

    /// An empty cache that suits a model: where that works in 8 bits and the policy leaves keys as they were stored, they are
    /// in 8 bits too, which halves their memory and makes attention to them faster.
    ///
    /// # Errors
    /// As [`KvCache::new`].
    pub fn for_model(
        model: &WanTransformer,
        policy: &CachePolicy,
        frame_tokens: usize,
    ) -> Result<Self, WanError> {
        let vace_blocks = model.vace().map_or(0, |vace| vace.layers().len());
        let mut cache = Self::new(model.device(), model.config(), policy, frame_tokens, vace_blocks)?;
        let as_stored = !policy.relative_positions
            && matches!(policy.sink_update, SinkUpdate::Fixed)
            && policy.bank.is_none();
        if as_stored && model.narrows_attention() {
            for layer in &mut cache.layers {
                layer.k = layer.k.to_dtype(DType::F8E4M3)?;
            }
        }
        Ok(cache)
    }

    /// The number of VACE blocks is another.
    pub(super) fn expect_vace_blocks(&mut self, blocks: usize) {
        self.vace_text = vec![None; blocks];
    }

    /// Tokens of a frame.
    #[must_use]
    pub fn frame_tokens(&self) -> usize {
        self.frame_tokens
    }

    /// How the cache is used.
    #[must_use]
    pub fn policy(&self) -> &CachePolicy {
        &self.policy
    }

    /// The window's state.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Frames recorded in the bank so far, and the number it would hold if it never forgot one.
    #[must_use]
    pub fn bank_counts(&self) -> (usize, usize) {
        (self.bank_state.recorded, self.bank_state.filled)
    }

    /// Forgets all frames and the text.
    pub fn clear(&mut self) {
        self.window.clear();
        self.bank_state = BankState::default();
        self.forget_text();
    }

    /// Forgets all frames; the next call may start at frame `start` of the stream.
    pub fn start_at(&mut self, start: usize) {
        self.clear();
        self.window.start_at(start);
    }

    /// Forgets the text's keys: the next call makes them from its text.
    pub fn forget_text(&mut self) {
        self.text.fill(None);
        self.vace_text.fill(None);
    }

    /// The window starts again at its first position; memory and text stay.
    pub fn rewind(&mut self) {
        self.window.rewind();
    }

    /// A layer's keys and values in logical order, `[filled frames · frame_tokens, heads, head_dim]` each, or `None` while
    /// it holds none or there is no such layer.
    ///
    /// # Errors
    /// [`WanError::Engine`] if the memory can't be read.
    pub fn layer(&self, layer: usize) -> Result<Option<(Tensor, Tensor)>, WanError> {
        match self.layers.get(layer) {
            Some(cache) if self.window.filled() > 0 => {
                let slots = self.window.slots();
                let tokens = self.frame_tokens;
                Ok(Some((gather(&cache.k, slots, tokens)?, gather(&cache.v, slots, tokens)?)))
            }
            _ => Ok(None),
        }
    }

    /// A layer's bank, keys and values, `[bank frames · frame_tokens, heads, head_dim]` each.
    #[must_use]
    pub fn bank(&self, layer: usize) -> Option<(Tensor, Tensor)> {
        let bank = self.layers.get(layer)?.bank.as_ref()?;
        Some((bank.k.clone(), bank.v.clone()))
    }

    /// Plans a call with `frames` frames from `start` on. `clean` is the pass over finished frames at timestep 0,
    /// `recache` one that repeats past frames with a new text.
    pub(super) fn plan(
        &self,
        start: usize,
        frames: usize,
        clean: bool,
        recache: bool,
    ) -> Result<CachePlan, WanError> {
        // Denoising steps repeat frames too, and must leave their own keys even where those lie in the sink.
        let window = self.window.plan(start, frames, self.policy.protect_sink && recache)?;
        let mut plan = CachePlan { window, bank_frames: 0, record: false, bank_after: self.bank_state };
        if let Some(bank) = self.policy.bank {
            let state = self.bank_state;
            let chunk = bank.chunk_frames.max(1);
            let interval = bank.record_interval.max(1);
            // Chunks recorded up to the end of this call: the first of every interval.
            let recorded = ((start + frames) / chunk).saturating_sub(1) / interval + 1;
            let filled = state.filled + recorded.saturating_sub(state.recorded);
            if state.recorded > 0 {
                // A chunk that will be recorded itself does not attend to its own place in the bank.
                let opens_interval = !recache && (start / chunk).is_multiple_of(interval);
                let usable = if opens_interval { filled.saturating_sub(frames / chunk) } else { filled };
                plan.bank_frames = usable.min(bank.frames);
            }
            if clean && start.is_multiple_of(chunk * interval) {
                plan.record = true;
                plan.bank_after = BankState { recorded, filled, pending: true };
            }
        }
        Ok(plan)
    }

    /// Makes the plan's result the state.
    pub(super) fn commit(&mut self, plan: &CachePlan) {
        self.window.commit(&plan.window);
        self.bank_state = plan.bank_after;
    }

    /// Takes the frame recorded last into the bank; of a full bank, the frame least like the text goes. `again` takes
    /// it in even if that was done before.
    pub(super) fn settle_bank(&mut self, again: bool) -> Result<(), WanError> {
        let due = self.bank_state.filled > 0 && (again || self.bank_state.pending);
        let (Some(config), true) = (self.policy.bank, due) else { return Ok(()) };
        self.bank_state.pending = false;
        for (layer, cache) in self.layers.iter_mut().enumerate() {
            let Some(bank) = &mut cache.bank else { continue };
            if self.bank_state.filled <= config.frames {
                let at = (self.bank_state.filled - 1) * self.frame_tokens;
                bank.k.write(at, &bank.k_new)?;
                bank.v.write(at, &bank.v_new)?;
                continue;
            }
            let text = self.text.get(layer).and_then(Option::as_ref);
            let kept = bank.most_like(text, self.frame_tokens, &mut self.scratch)?;
            let kept = &kept[..config.frames.saturating_sub(1).min(kept.len())];
            let join = |memory: &Tensor, new: &Tensor| {
                if kept.is_empty() {
                    return Ok(new.clone());
                }
                let old = gather(memory, kept, self.frame_tokens)?;
                Tensor::concat(&[&old, new])
            };
            (bank.k, bank.v) = (join(&bank.k, &bank.k_new)?, join(&bank.v, &bank.v_new)?);
        }
        Ok(())
    }
}

impl LayerBank {
    /// The frames of the bank, those first whose keys look most like the text's: by the mean of `text key · key` over
    /// text positions, heads and tokens (MemFlow's relevance score).
    fn most_like(
        &self,
        text: Option<&TextKeys>,
        frame_tokens: usize,
        scratch: &mut Scratch,
    ) -> Result<Slots, WanError> {
        let features = self.k.dim(1) * self.k.dim(2);
        match text {
            Some(text) => text.mean_key(&mut scratch.text)?,
            None => {
                scratch.text.clear();
                scratch.text.resize(features, 0.0);
            }
        }
        scratch.bank.resize(self.k.shape().numel(), 0.0);
        self.k.copy_to(&mut scratch.bank)?;
        let text = &scratch.text[..features];
        let score = |frame: &[f32]| {
            let dots = frame
                .chunks_exact(features.max(1))
                .map(|key| key.iter().zip(text).map(|(k, t)| k * t).sum::<f32>());
            dots.sum::<f32>()
        };
        let frames = scratch.bank.chunks_exact((frame_tokens * features).max(1));
        let mut scores: SmallVec<[(usize, f32); 16]> = frames.map(score).enumerate().collect();
        // By score, then by age: an order without ties needs no scratch memory to sort stably.
        scores.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(scores.into_iter().map(|(frame, _)| frame).collect())
    }
}

/// Host memory for choosing among the frames of a bank, kept from choice to choice.
#[derive(Clone, Debug, Default)]
struct Scratch {
    text: Vec<f32>,
    bank: Vec<f32>,
}

/// A factor on the weight of keys between the first cached frame and the newest frames (Krea's cache bias).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct KeyBias {
    /// `ln` of the factor.
    pub(super) log: f32,
    /// Newest frames that it leaves alone.
    pub(super) newest: usize,
}

impl LayerCache {
    /// Are keys in 8 bits?
    pub(super) fn has_narrow_keys(&self) -> bool {
        self.k.dtype() == DType::F8E4M3
    }

    /// Stores the call's keys and values. Keys are stored without rotary embedding where positions are relative.
    pub(super) fn store(
        &mut self,
        plan: &CachePlan,
        policy: &CachePolicy,
        quirks: Quirks,
        frame_tokens: usize,
        k: NewKeys<'_>,
        v: &Tensor,
    ) -> Result<(), WanError> {
        self.average_sink(plan, policy, quirks, frame_tokens)?;
        // The bank keeps the first frame beside the window: then its keys are needed twice.
        let made = match (k, plan.record) {
            (NewKeys::Made(k), _) => Some(k.clone()),
            (NewKeys::Raw(rows), true) => Some(ops::rms_norm_rope(&rows)?),
            (NewKeys::Raw(_), false) => None,
        };
        match (&made, k) {
            (None, NewKeys::Raw(rows)) => ops::rms_norm_rope_into(&mut self.k, &plan.window.writes, &rows)?,
            (Some(k), _) | (None, NewKeys::Made(k)) => {
                write_frames(&mut self.k, &plan.window.writes, k, frame_tokens)?;
            }
        }
        write_frames(&mut self.v, &plan.window.writes, v, frame_tokens)?;
        if let (true, Some(bank), Some(k)) = (plan.record, &mut self.bank, &made) {
            bank.k_new.write(0, &k.narrow(0, frame_tokens)?)?;
            bank.v_new.write(0, &v.narrow(0, frame_tokens)?)?;
        }
        Ok(())
    }

    /// The same for queries, keys and values of one layer, without a bank that records them. Returns the queries.
    pub(super) fn store_joined(
        &mut self,
        plan: &CachePlan,
        policy: &CachePolicy,
        quirks: Quirks,
        frame_tokens: usize,
        rows: &JoinedHeads<'_>,
    ) -> Result<Tensor, WanError> {
        self.average_sink(plan, policy, quirks, frame_tokens)?;
        Ok(ops::rms_norm_rope_joined(rows, &mut self.k, &mut self.v, &plan.window.writes)?)
    }

    /// Takes evicted frames into those of the sink, where the policy says so.
    fn average_sink(
        &mut self,
        plan: &CachePlan,
        policy: &CachePolicy,
        quirks: Quirks,
        frame_tokens: usize,
    ) -> Result<(), WanError> {
        if let SinkUpdate::Average { decay } = policy.sink_update {
            // The reference overwrites the sink when it does not evict as many frames as the sink has.
            let overwrite = quirks.overwritten_sink && plan.window.evicted.len() != policy.sink_frames;
            let decay = if overwrite { 0.0 } else { decay };
            for (&sink, &evicted) in plan.window.sink.iter().zip(&plan.window.evicted) {
                for memory in [&mut self.k, &mut self.v] {
                    let at = |slot: usize| memory.narrow(slot * frame_tokens, frame_tokens);
                    let mixed = ops::mix(at(sink)?, decay, &at(evicted)?, 1.0 - decay)?;
                    memory.write(sink * frame_tokens, &mixed)?;
                }
            }
        }
        Ok(())
    }

    /// Keys and values in runs, each with the constant added to its scores.
    pub(super) fn attended(
        &self,
        plan: &CachePlan,
        policy: &CachePolicy,
        grid: TokenGrid,
        rope: &RopeTable,
        bias: Option<KeyBias>,
    ) -> Result<KeyRuns, WanError> {
        let tokens = grid.height * grid.width;
        let slots = &plan.window.attended;
        let mut parts = KeyRuns::new();
        if policy.relative_positions {
            // In the order of memory, where values can stay; attention does not care.
            let mut frames: SmallVec<[PlacedFrame; 16]> = SmallVec::new();
            frames.extend(slots.iter().enumerate().map(|(position, &slot)| PlacedFrame { slot, position }));
            frames.sort_unstable_by_key(|frame| frame.slot);
            let k = ops::rope_frames(&self.k, rope, &frames, [grid.height, grid.width])?;
            let mut at = 0;
            for (first, count) in runs(slots) {
                let (v, len) = (self.v.narrow(first * tokens, count * tokens)?, count * tokens);
                parts.push((k.narrow(at, len)?, v, 0.0));
                at += len;
            }
        } else {
            let mut push = |slots: &[usize], bias: f32| {
                for (first, count) in runs(slots) {
                    let (at, len) = (first * tokens, count * tokens);
                    parts.push((self.k.narrow(at, len)?, self.v.narrow(at, len)?, bias));
                }
                Ok::<_, WanError>(())
            };
            match bias {
                Some(bias) => {
                    let newest = slots.len().saturating_sub(bias.newest).max(1);
                    push(&slots[..1], 0.0)?;
                    push(&slots[1..newest], bias.log)?;
                    push(&slots[newest..], 0.0)?;
                }
                None => push(slots, 0.0)?,
            }
        }
        if let (Some(bank), true) = (&self.bank, plan.bank_frames > 0) {
            let len = plan.bank_frames * tokens;
            parts.push((bank.k.narrow(0, len)?, bank.v.narrow(0, len)?, 0.0));
        }
        Ok(parts)
    }
}

/// The keys of a call.
#[derive(Clone, Copy)]
pub(super) enum NewKeys<'a> {
    /// As they are stored.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests of the cache alone"))]
    Made(&'a Tensor),
    /// As the projection gives them.
    Raw(NormRope<'a>),
}

/// Writes frame by frame to slots; neighbours that go to neighbours go together.
fn write_frames(
    memory: &mut Tensor,
    writes: &[Option<usize>],
    frames: &Tensor,
    tokens: usize,
) -> scope_engine::Result<()> {
    let mut first = 0;
    while first < writes.len() {
        let Some(slot) = writes[first] else {
            first += 1;
            continue;
        };
        let follows = |count: &usize| writes.get(first + count) == Some(&Some(slot + count));
        let count = (1..writes.len()).take_while(follows).count() + 1;
        memory.write(slot * tokens, &frames.narrow(first * tokens, count * tokens)?)?;
        first += count;
    }
    Ok(())
}

/// The frames in these slots, one after the other.
fn gather(memory: &Tensor, slots: &[usize], tokens: usize) -> scope_engine::Result<Tensor> {
    let mut frames: SmallVec<[Tensor; 16]> = SmallVec::new();
    for &slot in slots {
        frames.push(memory.narrow(slot * tokens, tokens)?);
    }
    let frames: SmallVec<[&Tensor; 16]> = frames.iter().collect();
    Tensor::concat(&frames)
}

/// The runs as the attention operator takes them.
pub(super) fn keys(parts: &[(Tensor, Tensor, f32)]) -> SmallVec<[Keys<'_>; 4]> {
    parts.iter().map(|(k, v, bias)| Keys { k, v, bias: *bias }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scope_engine::{Cpu, ops::AttentionOptions};

    use super::*;

    const TOKENS: usize = 4;
    const HEADS: usize = 2;
    const DIM: usize = 6;

    /// Keys, values or queries of one frame, the same for the same frame and role.
    fn rows(device: &Device, frame: usize, role: usize) -> Tensor {
        let values: Vec<f32> = (0..TOKENS * HEADS * DIM)
            .map(|i| ((i + 101 * frame + 7001 * role) as f32 * 0.731).sin())
            .collect();
        Tensor::from_f32(device, &[TOKENS, HEADS, DIM], &values).expect("rows")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// A rolling cache gives what attention to the whole past gives under a mask of sink and window.
        #[test]
        fn the_ring_equals_masked_attention_to_everything(
            window in 3usize..9,
            sink in 0usize..3,
            chunk in 1usize..3,
            chunks in 1usize..10,
            steps in 1usize..3,
            relative in any::<bool>(),
        ) {
            prop_assume!(window >= sink + chunk);
            let device = Device::from(Cpu::new(std::num::NonZero::new(1)).expect("threads"));
            let config = WanConfig { dim: HEADS * DIM, num_heads: HEADS, num_layers: 1, ..WanConfig::t2v_1_3b() };
            let policy = CachePolicy {
                window_frames: window,
                sink_frames: sink,
                sink_update: SinkUpdate::Fixed,
                relative_positions: relative,
                protect_sink: true,
                bank: None,
            };
            let rope = RopeTable::new(DIM, 64, 1e4).expect("a table");
            let mut cache = KvCache::new(&device, &config, &policy, TOKENS, 0).expect("a cache");
            let grid = |start, frames| TokenGrid { start, frames, height: 2, width: 2 };
            let join = |start: usize, role| {
                let frames: Vec<Tensor> = (start..start + chunk).map(|frame| rows(&device, frame, role)).collect();
                Tensor::concat(&frames.iter().collect::<Vec<_>>()).expect("rows")
            };
            for start in (0..chunks * chunk).step_by(chunk) {
                for step in 0..steps {
                    let plan = cache.plan(start, chunk, false, false).expect("fits");
                    let held = plan.window.attended.len();
                    // Earlier steps leave other keys behind, which the last step must overwrite.
                    let (k, v, q) = (join(start, 10 * (steps - step)), join(start, 20 * (steps - step)), join(start, 1));
                    let place = grid(if relative { held - chunk } else { start }, chunk);
                    let k = if relative { k } else { ops::rope(k, &rope, place).expect("rope") };
                    let q = ops::rope(q, &rope, place).expect("rope");
                    cache.layers[0].store(&plan, &policy, Quirks::default(), TOKENS, NewKeys::Made(&k), &v).expect("stored");
                    let parts = cache.layers[0].attended(&plan, &policy, place, &rope, None).expect("attended");
                    let got = ops::attention(&q, &keys(&parts), &AttentionOptions::default()).expect("attention");
                    drop(parts);
                    cache.commit(&plan);
                    if step + 1 < steps {
                        continue;
                    }
                    let end = start + chunk;
                    let masked = |frame: usize| frame >= sink && frame + (window - sink) < end;
                    // Relative positions count the visible frames only.
                    let position = |frame: usize| if relative { (0..frame).filter(|&f| !masked(f)).count() } else { frame };
                    let past: Vec<_> = (0..end)
                        .map(|frame| {
                            let k = ops::rope(rows(&device, frame, 10), &rope, grid(position(frame), 1)).expect("rope");
                            (k, rows(&device, frame, 20), if masked(frame) { -1e9 } else { 0.0 })
                        })
                        .collect();
                    let expected = ops::attention(&q, &keys(&past), &AttentionOptions::default()).expect("attention");
                    for (got, expected) in got.to_vec().iter().zip(expected.to_vec()) {
                        prop_assert!((got - expected).abs() < 1e-5, "{got} for {expected}");
                    }
                }
            }
        }
    }
}
