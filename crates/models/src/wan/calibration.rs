//! Scales of 8-bit activations that are known before a stream begins.
//!
//! Without them, every activation has a scale that is computed from it. That costs little where a norm writes it, but it is one scale
//! for each row, which fewer cards take and which products are slower with; and a product can't write its result in 8 bits
//! before it knows how large it is. So the model is run once, when it is loaded, on noise and a made-up text that are always the
//! same, at every stage of denoising, and the largest magnitudes are taken down: the same weights give the same scales. They are
//! powers of two with room for numbers eight times as large ([`FixedScale::for_largest`]).

use std::cell::RefCell;

use scope_engine::{
    Device, Tensor,
    ops::{self, FixedScale, Generator},
};

use super::{Adapters, CachePolicy, Call, KvCache, SinkUpdate, WanError, WanTransformer, block::Block};
use crate::quirks::Quirks;

/// Latent frames of the run, and latent pixels of a side.
const FRAMES: usize = 3;
const SIDE: usize = 32;
/// Positions of the text, and their size: about that of a text encoder's.
const TEXT: usize = 16;
const TEXT_SIZE: f32 = 0.1;
const SEED: u64 = 0x5c09e;
/// Timesteps of the run, from noise to a finished picture.
const TIMESTEPS: [f64; 5] = [1000.0, 750.0, 500.0, 250.0, 0.0];

/// The activations of a block that go into layers in 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into queries, keys and values.
    Attention,
    /// Into the queries of the attention to the text.
    Text,
    /// Out of the attention, into its last layer.
    Attended,
    /// Out of the attention to the text, into its last layer.
    AttendedText,
    /// Into the feed-forward network.
    Outer,
    /// Inside it.
    Hidden,
}

const PLACES: [Place; 6] =
    [Place::Attention, Place::Text, Place::Attended, Place::AttendedText, Place::Outer, Place::Hidden];

/// The scales of one block, in the order of the places.
#[derive(Clone, Debug)]
pub(super) struct BlockScales([FixedScale; PLACES.len()]);

impl BlockScales {
    pub(super) fn at(&self, place: Place) -> &FixedScale {
        &self.0[place as usize]
    }

    fn for_largest(device: &Device, largest: [f32; PLACES.len()]) -> scope_engine::Result<Self> {
        let [attention, text, attended, attended_text, outer, hidden] = largest;
        let scale = |largest| FixedScale::for_largest(device, largest);
        Ok(Self([
            scale(attention)?,
            scale(text)?,
            scale(attended)?,
            scale(attended_text)?,
            scale(outer)?,
            scale(hidden)?,
        ]))
    }
}

/// Takes down the largest magnitudes of every block, in the order in which they run.
#[derive(Debug, Default)]
pub(super) struct Observer(RefCell<Vec<[f32; PLACES.len()]>>);

impl Observer {
    /// The next block begins.
    pub(super) fn begin_block(&self) {
        self.0.borrow_mut().push([0.0; PLACES.len()]);
    }

    pub(super) fn note(&self, place: Place, x: &Tensor) -> scope_engine::Result<()> {
        let largest = ops::largest_magnitude(x)?;
        if let Some(block) = self.0.borrow_mut().last_mut() {
            block[place as usize] = block[place as usize].max(largest);
        }
        Ok(())
    }
}

impl WanTransformer {
    /// Finds the scales of activations in 8 bits, if layers take such. Once, after all weights and adapters are in their place; the
    /// same weights give the same scales on the same machine.
    ///
    /// # Errors
    /// [`WanError`] when the run that it takes fails.
    pub fn calibrate(&mut self) -> Result<(), WanError> {
        if !self.blocks.iter().any(Block::takes_fp8) {
            return Ok(());
        }
        let mut largest = vec![[0.0f32; PLACES.len()]; self.blocks.len()];
        for step in self.observe()? {
            for (largest, found) in largest.iter_mut().zip(step) {
                for (largest, found) in largest.iter_mut().zip(found) {
                    *largest = largest.max(found);
                }
            }
        }
        let device = self.device().clone();
        for (block, largest) in self.blocks.iter_mut().zip(largest) {
            block.scales = Some(BlockScales::for_largest(&device, largest)?);
        }
        Ok(())
    }

    /// The largest magnitudes of every block, for every timestep.
    fn observe(&self) -> Result<Vec<Vec<[f32; PLACES.len()]>>, WanError> {
        let device = self.device();
        let config = self.config();
        let policy = CachePolicy {
            window_frames: FRAMES,
            sink_frames: 0,
            sink_update: SinkUpdate::Fixed,
            relative_positions: false,
            protect_sink: false,
            bank: None,
        };
        let side = SIDE.next_multiple_of(config.patch.max(1));
        let mut cache = KvCache::new(device, config, &policy, config.frame_tokens(side, side), 0)?;
        let mut generator = Generator::new(SEED);
        let adapters = Adapters::default();
        let text = ops::randn(device, &[TEXT.min(config.text_len), config.text_dim], &mut generator)?;
        let text = self.text_context(&ops::scale(text, TEXT_SIZE)?, &adapters)?;
        let noise = ops::randn(device, &[FRAMES, side, side, config.in_dim], &mut generator)?;
        let mut x = noise.clone();
        let mut found = Vec::with_capacity(TIMESTEPS.len());
        for (index, &timestep) in TIMESTEPS.iter().enumerate() {
            let observer = Observer::default();
            let call = Call {
                latents: &x,
                timesteps: &[timestep],
                start_frame: 0,
                text: &text,
                adapters: &adapters,
                vace: None,
                cache_weight: None,
                clean: false,
                recache: false,
                quirks: Quirks::default(),
            };
            let flow = self.forward_observed(&call, &mut cache, Some(&observer))?;
            found.push(observer.0.into_inner());
            if let (Some(next), true) = (TIMESTEPS.get(index + 1), config.in_dim == config.out_dim) {
                // What the model takes for the picture, with the next step's share of noise.
                let (level, next) = (timestep as f32 / 1000.0, *next as f32 / 1000.0);
                let picture = ops::mix(x, 1.0, &flow, -level)?;
                x = ops::mix(picture, 1.0 - next, &noise, next)?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use scope_engine::{Cpu, ops::LinearFp8};

    use super::*;
    use crate::{
        wan::{Layer, Projection, WanConfig},
        weights::{Loader, Precision, RandomWeights, TensorSource},
    };

    /// A transformer, and the same with the layers in 8 bits that a GPU would have so.
    fn transformers(device: &Device) -> [WanTransformer; 2] {
        let config = WanConfig::tiny();
        let description = config.description();
        let source = RandomWeights::new(&[&description], 7);
        let loader = Loader::new(&source, device, Precision::Bf16);
        let plain = WanTransformer::load(&loader, &config, None).expect("a transformer");
        let mut narrow = plain.clone();
        for block in 0..config.num_layers {
            for name in [
                "self_attn.q",
                "self_attn.k",
                "self_attn.v",
                "self_attn.o",
                "cross_attn.q",
                "cross_attn.o",
                "ffn.0",
                "ffn.2",
            ] {
                let name = format!("blocks.{block}.{name}");
                let layer = narrow.projection_mut(&name).expect("a layer");
                let shape = [layer.out_features(), layer.in_features()];
                let weights: Vec<bf16> = source.read_bf16(&format!("{name}.weight")).expect("weights");
                let bias = source.read(&format!("{name}.bias")).expect("a bias");
                let fp8 = LinearFp8::new(device, &weights, shape, Some(&bias)).expect("a layer");
                *layer = Projection::of(Layer::Native(fp8));
            }
        }
        [plain, narrow]
    }

    fn flow(model: &WanTransformer) -> Vec<f32> {
        let device = model.device();
        let policy = CachePolicy {
            window_frames: 4,
            sink_frames: 1,
            sink_update: SinkUpdate::Fixed,
            relative_positions: false,
            protect_sink: true,
            bank: None,
        };
        let mut cache = KvCache::new(device, model.config(), &policy, 12, 0).expect("a cache");
        let mut generator = Generator::new(3);
        let adapters = Adapters::default();
        let text = ops::randn(device, &[5, 32], &mut generator).expect("a text");
        let text = model.text_context(&text, &adapters).expect("a text");
        let latents = ops::randn(device, &[2, 6, 8, 4], &mut generator).expect("latents");
        let call = Call {
            latents: &latents,
            timesteps: &[700.0],
            start_frame: 0,
            text: &text,
            adapters: &adapters,
            vace: None,
            cache_weight: None,
            clean: false,
            recache: false,
            quirks: Quirks::default(),
        };
        model.forward(&call, &mut cache).expect("a flow").to_vec()
    }

    fn relative(a: &[f32], b: &[f32]) -> f32 {
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
        (square(&mut a.iter().zip(b).map(|(a, b)| a - b)) / square(&mut b.iter().copied())).sqrt()
    }

    #[test]
    fn scales_known_before_are_as_good_as_those_of_every_row() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let [plain, mut narrow] = transformers(&device);
        let exact = flow(&plain);
        let rows = relative(&flow(&narrow), &exact);
        narrow.calibrate().expect("scales");
        let fixed = flow(&narrow);
        assert!(narrow.blocks.iter().all(|block| block.scales.is_some()));
        let error = relative(&fixed, &exact);
        assert!(rows < 0.05 && error < 0.05 && error > 0.0, "{rows} by rows, {error} by fixed scales");
        assert!(error < 1.5 * rows, "{rows} by rows, {error} by fixed scales");
        let [_, mut again] = transformers(&device);
        again.calibrate().expect("scales");
        assert_eq!(flow(&again), fixed, "the same weights give the same scales");
    }

    #[test]
    fn a_model_without_8_bit_layers_stays_as_it_is() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let [mut plain, _] = transformers(&device);
        plain.calibrate().expect("nothing to do");
        assert!(plain.blocks.iter().all(|block| block.scales.is_none()));
    }
}
