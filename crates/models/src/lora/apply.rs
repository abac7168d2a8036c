//! Adapters into a network.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use scope_engine::ops::{self, Activation, Linear, Weights};
use scope_engine::{Cpu, Device, Tensor};

use super::keys::LoraFile;
use crate::{
    checkpoint::narrow_to_bf16,
    parallel,
    wan::WanTransformer,
    weights::{Loader, Numbers, TensorSource, WeightError},
};

/// Weights with adapters added: `W + Σ strength · scale · (b · a)`, computed as each weight is read.
pub struct Merged<'a> {
    base: &'a dyn TensorSource,
    /// By the name of the weight.
    deltas: HashMap<String, Vec<Delta>>,
    /// Multiplies, once there is something to merge.
    cpu: OnceLock<Device>,
}

struct Delta {
    /// `[rank, in]`.
    a: Vec<f32>,
    /// `[out, rank]`.
    b: Vec<f32>,
    rank: usize,
    strength: f32,
}

/// Numbers that a thread takes at a time.
const SHARE: usize = 1 << 16;
/// Columns that are turned at a time: as many as lie in a line of the cache.
const TURNED: usize = 16;

impl<'a> Merged<'a> {
    /// The weights of `base` with each file's adapters at the strength beside it.
    #[must_use]
    pub fn new(base: &'a dyn TensorSource, files: &[(&LoraFile<'_>, f32)]) -> Self {
        let mut deltas: HashMap<String, Vec<Delta>> = HashMap::new();
        for (file, strength) in files {
            for module in &file.modules {
                deltas.entry(format!("{}.weight", module.module)).or_default().push(Delta {
                    a: module.a.to_f32(),
                    b: module.b.to_f32(),
                    rank: module.rank(),
                    strength: strength * module.scale,
                });
            }
        }
        Self { base, deltas, cpu: OnceLock::new() }
    }

    fn cpu(&self) -> scope_engine::Result<&Device> {
        match self.cpu.get() {
            Some(cpu) => Ok(cpu),
            None => {
                let cpu = Cpu::new(None)?.into();
                Ok(self.cpu.get_or_init(|| cpu))
            }
        }
    }
}

impl TensorSource for Merged<'_> {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.base.shape(name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightError> {
        let mut weight = self.base.read(name)?;
        for delta in self.deltas.get(name).into_iter().flatten() {
            if !delta.add_to(&mut weight, self.cpu()?)? {
                let reason = "a LoRA makes some of its weights infinite; lower its strength or leave it out"
                    .to_owned();
                return Err(WeightError::Unreadable { name: name.to_owned(), reason });
            }
        }
        Ok(weight)
    }

    fn is_e4m3(&self, name: &str) -> bool {
        !self.deltas.contains_key(name) && self.base.is_e4m3(name)
    }

    fn numbers(&self, name: &str) -> Result<Numbers<'_>, WeightError> {
        if self.deltas.contains_key(name) {
            return Ok(Numbers::Bf16(narrow_to_bf16(&self.read(name)?).into()));
        }
        self.base.numbers(name)
    }
}

impl Delta {
    /// Are all weights finite still?
    fn add_to(&self, weight: &mut [f32], cpu: &Device) -> scope_engine::Result<bool> {
        let rank = self.rank.max(1);
        let (depth, outputs) = ((self.a.len() / rank).max(1), self.b.len() / rank);
        // The rows of `b` go through a layer whose weights are `a`, turned.
        let layer = Linear::new(cpu, Weights::F32(&self.turned()), [depth, rank], None)?;
        let scaled: Vec<f32> = self.b.iter().map(|b| self.strength * b).collect();
        let b = Tensor::from_f32(cpu, &[outputs, rank], &scaled)?;
        let product = cpu.install(|| ops::linear(&b, &layer, Activation::None))?.to_vec();
        let finite = AtomicBool::new(true);
        let shares = weight.chunks_mut(SHARE).zip(product.chunks(SHARE));
        parallel::for_each(shares, |(weight, product)| {
            for (weight, product) in weight.iter_mut().zip(product) {
                *weight += product;
            }
            if !weight.iter().all(|value| value.is_finite()) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        Ok(finite.into_inner())
    }

    /// `a` with rows for columns: `[in, rank]`.
    fn turned(&self) -> Vec<f32> {
        let rank = self.rank.max(1);
        let depth = (self.a.len() / rank).max(1);
        let mut turned = vec![0.0; depth * rank];
        parallel::for_each(turned.chunks_mut(TURNED * rank).enumerate(), |(share, turned)| {
            let first = share * TURNED;
            for (from, row) in self.a.chunks_exact(depth).enumerate() {
                for (turned, &value) in turned.chunks_exact_mut(rank).zip(&row[first..]) {
                    turned[from] = value;
                }
            }
        });
        turned
    }
}

/// Attaches a file's adapters to the layers of a transformer, as entry `index` of [`crate::wan::Adapters`]. The loader
/// says where and in which precision they are kept.
///
/// # Errors
/// [`WeightError::Missing`] when the transformer has no such layer, [`WeightError::Shape`] when an adapter does not fit its layer.
pub fn attach(
    model: &mut WanTransformer,
    file: &LoraFile<'_>,
    index: usize,
    loader: &Loader<'_>,
) -> Result<(), WeightError> {
    for module in &file.modules {
        let (rank, a, b) = (module.rank(), module.a.to_f32(), module.b.to_f32());
        let layer = model
            .projection_mut(&module.module)
            .ok_or_else(|| WeightError::Missing(module.module.clone()))?;
        let down = loader.layer_from(&a, [rank, layer.in_features()])?;
        let up = loader.layer_from(&b, [layer.out_features(), rank])?;
        layer.attach(&module.module, down, up, index, module.scale)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        checkpoint::{Checkpoint, Linear},
        lora::keys::LoraRules,
        quirks::Quirks,
        wan::{Adapters, Call, Family, KvCache, WanConfig},
        weights::{Precision, RandomWeights, TensorMap},
    };

    fn lora_bytes(a: &[f32], b: &[f32]) -> Vec<u8> {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let (a, b) = (bytes(a), bytes(b));
        let view = |shape, data| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, data);
        let tensors = [
            ("q.lora_A.weight", view(vec![1, 2], &a).expect("a")),
            ("q.lora_B.weight", view(vec![2, 1], &b).expect("b")),
        ];
        safetensors::serialize(tensors, None).expect("a file")
    }

    #[test]
    fn merging_adds_the_product_and_leaves_other_weights() {
        let mut base = TensorMap::default();
        base.insert("q.weight", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        base.insert("q.bias", vec![2], vec![5.0, 6.0]);
        let file =
            Checkpoint::from_bytes("l.safetensors", lora_bytes(&[1.0, 10.0], &[2.0, 0.5])).expect("a file");
        let layers = [Linear { module: "q".into(), out_features: 2, in_features: 2 }];
        let lora = LoraFile::parse(&file, &layers, LoraRules::Standard).expect("adapters");
        let merged = Merged::new(&base, &[(&lora, 0.5), (&lora, 0.5)]);
        assert_eq!(merged.read("q.weight").expect("weight"), [3.0, 22.0, 3.5, 9.0]);
        assert_eq!(merged.read("q.bias").expect("bias"), [5.0, 6.0]);
        assert_eq!(merged.shape("q.weight"), Some(vec![2, 2]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn a_merged_file_gives_what_an_attached_one_gives(rank in 1usize..5, strength in -1.5f32..1.5, layer in 0usize..26) {
            let config = WanConfig {
                dim: 24,
                ffn_dim: 32,
                freq_dim: 16,
                text_dim: 8,
                text_len: 6,
                in_dim: 4,
                out_dim: 4,
                num_heads: 2,
                num_layers: 2,
                patch: 2,
                eps: 1e-6,
            };
            let layers = config.description().linears().to_vec();
            let layer = &layers[layer];
            let ramp = |count: usize| (0..count).map(|i| (i as f32 * 1.3).sin() * 0.3).collect::<Vec<f32>>();
            let bytes = |values: Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
            let (a, b) = (bytes(ramp(rank * layer.in_features)), bytes(ramp(layer.out_features * rank)));
            let view = |shape, data| safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, data).expect("view");
            let tensors = [
                (format!("{}.lora_A.weight", layer.module), view(vec![rank, layer.in_features], &a)),
                (format!("{}.lora_B.weight", layer.module), view(vec![layer.out_features, rank], &b)),
            ];
            let bytes = safetensors::serialize(tensors, None).expect("a file");
            let file = Checkpoint::from_bytes("l.safetensors", bytes).expect("a file");
            let lora = LoraFile::parse(&file, &layers, LoraRules::Standard).expect("adapters");

            let device = Device::from(Cpu::new(None).expect("threads"));
            let base = RandomWeights::new(&[&config.description()], 5);
            let flow = |merged: bool| {
                let files = [(&lora, strength)];
                let source = Merged::new(&base, if merged { &files } else { &[] });
                let loader = Loader::new(&source, &device, Precision::F32);
                let mut model = WanTransformer::load(&loader, &config, None).expect("a model");
                if !merged {
                    attach(&mut model, &lora, 0, &loader).expect("attached");
                }
                let adapters = Adapters(vec![strength]);
                let text = Tensor::from_f32(&device, &[3, 8], &ramp(24)).expect("text");
                let text = model.text_context(&text, &adapters).expect("text");
                let latents = Tensor::from_f32(&device, &[2, 4, 4, 4], &ramp(128)).expect("latents");
                let mut cache = KvCache::new(&device, &config, &Family::longlive().cache, 4, 0).expect("a cache");
                let call = Call {
                    latents: &latents,
                    timesteps: &[500.0],
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
            };
            for (merged, attached) in flow(true).iter().zip(flow(false)) {
                prop_assert!((merged - attached).abs() < 1e-4 * merged.abs().max(1.0), "{merged} and {attached}");
            }
        }
    }

    #[test]
    fn a_merge_without_end_is_refused() {
        let mut base = TensorMap::default();
        base.insert("q.weight", vec![2, 2], vec![0.0; 4]);
        let file =
            Checkpoint::from_bytes("l.safetensors", lora_bytes(&[3e38, 1.0], &[3e38, 1.0])).expect("a file");
        let layers = [Linear { module: "q".into(), out_features: 2, in_features: 2 }];
        let lora = LoraFile::parse(&file, &layers, LoraRules::Standard).expect("adapters");
        let error = Merged::new(&base, &[(&lora, 1.0)]).read("q.weight").expect_err("infinite");
        assert!(error.to_string().contains("q.weight") && error.to_string().contains("strength"), "{error}");
    }
}
