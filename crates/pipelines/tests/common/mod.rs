//! Tiny models in the real formats under the real names, and sessions that run them.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)]

mod files;

pub(crate) use files::test_files::{TorchFile, TorchValue};

use half::bf16;
use scope_engine::convert::f8e4m3_from_f32;
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_models::checkpoint::NetworkDescription;
use scope_models::text::Umt5Config;
use scope_models::vae::{TaeConfig, WanVaeConfig};
use scope_models::wan::{VaceConfig, WanConfig};
use scope_models::weights::{RandomWeights, TensorSource};
use scope_pipelines::{
    AssetLoader, Chunk, Compute, Generator, InputMode, LoadError, LoadParams, LoadedPipeline, Needs, Output,
    ParameterStore, Registry,
};
use scope_store::{Manifest, ModelFolder, Role};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const FAMILIES: [&str; 5] =
    ["longlive", "streamdiffusionv2", "krea-realtime-video", "reward-forcing", "memflow"];
pub(crate) const HEIGHT: usize = 32;
pub(crate) const WIDTH: usize = 48;

/// A models folder with a tiny set of files for every family.
pub(crate) struct Models {
    pub(crate) folder: TempDir,
}

/// The tiny transformer: `blocks` is that of the family.
pub(crate) fn network(large: bool) -> WanConfig {
    WanConfig {
        dim: 48,
        ffn_dim: 64,
        freq_dim: 32,
        text_dim: 32,
        text_len: 24,
        in_dim: 16,
        out_dim: 16,
        num_heads: 4,
        num_layers: if large { 6 } else { 4 },
        patch: 2,
        eps: 1e-6,
    }
}

fn text_encoder() -> Umt5Config {
    Umt5Config {
        vocabulary: 128,
        dim: 32,
        dim_attention: 32,
        dim_ffn: 64,
        heads: 4,
        layers: 2,
        ..Umt5Config::xxl()
    }
}

impl Models {
    pub(crate) fn write() -> Self {
        let folder = TempDir::new().unwrap();
        write_families(folder.path());
        Self { folder }
    }

    pub(crate) fn models(&self) -> ModelFolder {
        ModelFolder::new(self.folder.path())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file that is `role` to a pipeline.
    pub(crate) fn file(&self, id: &str, role: Role) -> PathBuf {
        let manifest = Manifest::builtin();
        let mut files = manifest.pipeline(id).unwrap().files.iter();
        files.find(|file| file.role == role).unwrap().local.below(self.folder.path())
    }

    pub(crate) fn load(&self, id: &str, params: Value) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let mut all = map(json!({"height": HEIGHT, "width": WIDTH}));
        all.extend(map(params));
        let registry = Registry::with_models(&self.models(), &Compute::default());
        registry.get(id).expect("a family").load(&LoadParams::new(all), &|_| {})
    }
}

pub(crate) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// Writes the files of every family to where they lie in a models folder.
pub(crate) fn write_families(folder: &Path) {
    for id in FAMILIES {
        for file in &Manifest::builtin().pipeline(id).unwrap().files {
            let path = file.local.below(folder);
            if path.exists() {
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(bytes) = content(id, file.role, &path) {
                fs::write(&path, bytes).unwrap();
            }
        }
    }
}

fn content(id: &str, role: Role, path: &Path) -> Option<Vec<u8>> {
    let large = id == "krea-realtime-video";
    let config = network(large);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let stride = if large { 5 } else { 2 };
    Some(match role {
        Role::Archive | Role::Companion | Role::Processor => return None,
        Role::Config => config_json(&config),
        Role::Tokenizer => tokenizer_json(),
        Role::TextEncoder => umt5(&text_encoder()),
        Role::Vae if name.contains("tae") => {
            let net =
                TaeConfig { encoder_widths: [8; 4], decoder_widths: [16, 8, 8, 8], ..TaeConfig::full() };
            torch(&net.description(), 3, |tensors| tensors)
        }
        Role::Vae => {
            let stem = if name.starts_with("light") { 4 } else { 8 };
            let net = WanVaeConfig::new(stem, &[1, 2, 4, 4], 0.0, 2, &[false, true, true]);
            torch(&net.description(), 3, |tensors| tensors)
        }
        Role::Vace => {
            let vace = VaceConfig { layers: (0..config.num_layers).step_by(stride).collect() };
            safetensors_bf16(&config.vace_description(&vace), 4)
        }
        Role::Generator if large => safetensors_bf16(&config.description(), 1),
        Role::Generator => torch(&config.description(), 1, |tensors| {
            let prefixed =
                tensors.into_iter().map(|(name, value)| (format!("model.{name}"), value)).collect();
            if id == "reward-forcing" {
                return prefixed;
            }
            vec![("generator".to_owned(), TorchValue::OrderedDict(prefixed))]
        }),
        Role::GeneratorLora => built_in_adapter(&config),
    })
}

fn config_json(config: &WanConfig) -> Vec<u8> {
    json!({
        "_class_name": "WanModel", "model_type": "t2v", "dim": config.dim, "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim, "text_dim": config.text_dim, "text_len": config.text_len,
        "in_dim": config.in_dim, "out_dim": config.out_dim, "num_heads": config.num_heads,
        "num_layers": config.num_layers, "eps": 1e-6,
    })
    .to_string()
    .into_bytes()
}

/// A tokenizer that spells, in the format of UMT5's.
fn tokenizer_json() -> Vec<u8> {
    let mut vocabulary =
        vec![json!(["<pad>", 0.0]), json!(["</s>", 0.0]), json!(["<unk>", 0.0]), json!(["▁", -2.0])];
    vocabulary.extend(('!'..='~').map(|letter| json!([letter.to_string(), -4.0])));
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": false},
    })
    .to_string()
    .into_bytes()
}

pub(crate) type Tensors = Vec<(String, TorchValue)>;

/// What `torch.save` would write of a network's weights.
pub(crate) fn torch(net: &NetworkDescription, seed: u64, wrap: impl FnOnce(Tensors) -> Tensors) -> Vec<u8> {
    let weights = RandomWeights::new(&[net], seed);
    let tensors = net.tensors().iter().map(|tensor| {
        let shape: Vec<i32> = tensor.shape.iter().map(|&extent| extent as i32).collect();
        (tensor.name.clone(), TorchValue::f32(&shape, &weights.read(&tensor.name).unwrap()))
    });
    TorchFile::of(TorchValue::dict(wrap(tensors.collect()))).bytes()
}

fn safetensors(tensors: &[(String, safetensors::Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn bf16_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()
}

pub(crate) fn safetensors_bf16(net: &NetworkDescription, seed: u64) -> Vec<u8> {
    let weights = RandomWeights::new(&[net], seed);
    let tensors: Vec<_> = { net.tensors().iter() }
        .map(|tensor| {
            let data = bf16_bytes(&weights.read(&tensor.name).unwrap());
            (tensor.name.clone(), safetensors::Dtype::BF16, tensor.shape.clone(), data)
        })
        .collect();
    safetensors(&tensors)
}

/// The text encoder as it is published: linear layers in 8 bits, the rest in 16.
fn umt5(config: &Umt5Config) -> Vec<u8> {
    let net = config.description();
    let weights = RandomWeights::new(&[&net], 2);
    let narrow: Vec<String> =
        net.linears().iter().map(|linear| format!("{}.weight", linear.module)).collect();
    let tensors: Vec<_> = { net.tensors().iter() }
        .map(|tensor| {
            let values = weights.read(&tensor.name).unwrap();
            let (dtype, data) = if narrow.contains(&tensor.name) {
                (safetensors::Dtype::F8_E4M3, values.iter().map(|&value| f8e4m3_from_f32(value)).collect())
            } else {
                (safetensors::Dtype::BF16, bf16_bytes(&values))
            };
            (tensor.name.clone(), dtype, tensor.shape.clone(), data)
        })
        .collect();
    safetensors(&tensors)
}

/// The adapter that comes with LongLive and MemFlow.
fn built_in_adapter(config: &WanConfig) -> Vec<u8> {
    let description = config.description();
    let layers = description.linears().iter().filter(|layer| layer.module.starts_with("blocks."));
    let tensors: Tensors = layers
        .flat_map(|layer| {
            let values = |count: usize| (0..count).map(|i| (i as f32 * 0.7).sin() * 0.02).collect::<Vec<_>>();
            let (out, depth) = (layer.out_features, layer.in_features);
            let key = |part: &str| format!("base_model.model.{}.lora_{part}.weight", layer.module);
            [
                (key("A"), TorchValue::f32(&[2, depth as i32], &values(2 * depth))),
                (key("B"), TorchValue::f32(&[out as i32, 2], &values(out * 2))),
            ]
        })
        .collect();
    TorchFile::of(TorchValue::dict([("generator_lora", TorchValue::dict(tensors))])).bytes()
}

/// A user's LoRA file for one layer, in the format of ComfyUI.
pub(crate) fn lora(layer: &str, [out, depth]: [usize; 2]) -> Vec<u8> {
    let values =
        |count: usize| bf16_bytes(&(0..count).map(|i| (i as f32 * 1.3).cos() * 0.5).collect::<Vec<_>>());
    let key = |part: &str| format!("diffusion_model.{layer}.lora_{part}.weight");
    let bf16 = safetensors::Dtype::BF16;
    safetensors(&[
        (key("A"), bf16, vec![2, depth], values(2 * depth)),
        (key("B"), bf16, vec![out, 2], values(out * 2)),
    ])
}

/// Pictures by name.
pub(crate) struct Pictures(pub(crate) BTreeMap<String, Image>);

impl AssetLoader for Pictures {
    fn image(&self, path: &str) -> Result<Image, String> {
        self.0.get(path).cloned().ok_or_else(|| format!("{path}: there is no such picture"))
    }

    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        Err(format!("{path}: there is no such file"))
    }
}

/// One session of a loaded pipeline.
pub(crate) struct Session {
    pub(crate) run: Box<dyn Generator>,
    pub(crate) store: ParameterStore,
    pub(crate) pictures: Pictures,
    /// What its pictures are wanted in.
    pub(crate) format: PixelFormat,
    /// Problems of the last chunk.
    pub(crate) problems: Vec<(String, String)>,
    index: u64,
}

/// A picture and the time of the one that it was made from.
pub(crate) type Shown = (Image, Option<Timestamp>);

impl Session {
    pub(crate) fn new(loaded: &Arc<dyn LoadedPipeline>, parameters: Value) -> Self {
        let mut pictures = BTreeMap::new();
        pictures.insert("red".to_owned(), Image::solid(40, 24, [220, 30, 20]).unwrap());
        pictures.insert("blue".to_owned(), Image::solid(24, 40, [10, 40, 230]).unwrap());
        Self {
            run: loaded.start().unwrap(),
            store: ParameterStore::new(&map(parameters)),
            pictures: Pictures(pictures),
            format: PixelFormat::Rgb8,
            problems: Vec::new(),
            index: 0,
        }
    }

    pub(crate) fn set(&mut self, parameters: Value) {
        self.store.merge(&map(parameters), 0);
    }

    /// A chunk from these ports' frames.
    pub(crate) fn ports(&mut self, inputs: BTreeMap<String, Vec<Frame>>) -> Vec<Shown> {
        self.index += 1;
        let chunk = Chunk {
            index: self.index,
            mode: if inputs.is_empty() { InputMode::Text } else { InputMode::Video },
            parameters: &self.store.take(),
            inputs,
            assets: &self.pictures,
            now: Timestamp::default(),
            effort: 0,
            format: self.format,
        };
        let mut shown = Vec::new();
        let mut emit = |output: Output| {
            if let Output::Frame { port, image, captured_at } = output {
                assert_eq!(port, "video");
                shown.push((image, captured_at));
            }
        };
        let report = self.run.generate(chunk, &mut emit).unwrap();
        self.problems = report.parameter_problems;
        shown
    }

    /// A chunk from text alone.
    pub(crate) fn text(&mut self) -> Vec<Image> {
        self.ports(BTreeMap::new()).into_iter().map(|(image, _)| image).collect()
    }

    /// A chunk from as many frames as the pipeline asks for.
    pub(crate) fn video(&mut self, port: &str, first: u64) -> Vec<Shown> {
        let Needs::Frames { count, .. } = self.run.needs(InputMode::Video) else { panic!("no video") };
        self.ports(BTreeMap::from([(port.to_owned(), moving(first, count))]))
    }
}

/// Frames of a size unlike the model's in which something moves; their times count from `first`.
pub(crate) fn moving(first: u64, count: usize) -> Vec<Frame> {
    (first..first + count as u64)
        .map(|time| {
            let image = Image::solid(30, 50, [(time * 9 % 200) as u8, 90, 40]).unwrap();
            Frame::new(image, Timestamp::from_micros(time))
        })
        .collect()
}

/// Mean difference of two pictures, in steps of 255.
pub(crate) fn difference(a: &Image, b: &Image) -> f64 {
    let sum: u64 = a.data().iter().zip(b.data()).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
    sum as f64 / a.data().len() as f64
}
