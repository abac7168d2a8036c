//! Model files in the published formats under the published names, with noise for weights. They are written tensor by tensor:
//! those of the published sizes take no more memory than their largest tensors.

use super::FAMILIES;
use super::files::test_files::{TorchFile, TorchTensor, TorchValue, Zip64, ZipEntry, ZipWriter};
use half::bf16;
use scope_models::checkpoint::NetworkDescription;
use scope_models::text::Umt5Config;
use scope_models::vae::{TaeConfig, WanVaeConfig};
use scope_models::wan::{VaceConfig, WanConfig};
use scope_models::weights::{Numbers, RandomWeights, TensorSource};
use scope_store::{FileEntry, Manifest, Role, Settings};
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// How large the networks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As small as networks of these layers get.
    Tiny,
    /// As published.
    Published,
}

impl Scale {
    /// The transformer; `large` is that of Krea's family.
    pub(crate) fn network(self, large: bool) -> WanConfig {
        match (self, large) {
            (Self::Tiny, _) => WanConfig {
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
            },
            (Self::Published, false) => WanConfig::t2v_1_3b(),
            (Self::Published, true) => WanConfig::t2v_14b(),
        }
    }

    fn text_encoder(self) -> Umt5Config {
        match self {
            Self::Tiny => Umt5Config {
                vocabulary: 128,
                dim: 32,
                dim_attention: 32,
                dim_ffn: 64,
                heads: 4,
                layers: 2,
                ..Umt5Config::xxl()
            },
            Self::Published => Umt5Config::xxl(),
        }
    }

    /// The autoencoder of a file of this name.
    fn autoencoder(self, file: &str) -> NetworkDescription {
        let (is_tiny, is_light) = (self == Self::Tiny, file.starts_with("light"));
        if file.contains("tae") {
            let small =
                TaeConfig { encoder_widths: [8; 4], decoder_widths: [16, 8, 8, 8], ..TaeConfig::full() };
            return if is_tiny { small.description() } else { TaeConfig::full().description() };
        }
        let config = match (is_tiny, is_light) {
            (true, _) => {
                let stem = if is_light { 4 } else { 8 };
                WanVaeConfig::new(stem, &[1, 2, 4, 4], 0.0, 2, &[false, true, true])
            }
            (false, true) => WanVaeConfig::light(),
            (false, false) => WanVaeConfig::full(),
        };
        config.description()
    }

    /// Rank of the adapter that comes with LongLive and MemFlow.
    fn adapter_rank(self) -> usize {
        match self {
            Self::Tiny => 2,
            Self::Published => 256,
        }
    }

    /// Tokens of the tokenizer's document.
    fn tokens(self) -> usize {
        match self {
            Self::Tiny => 0,
            Self::Published => 256_300,
        }
    }
}

/// Writes the tiny files of every family to where they lie in a models folder.
pub(crate) fn write_families(folder: &Path) {
    for id in FAMILIES {
        write_family(folder, id, Scale::Tiny, |_| true);
    }
}

/// Writes those files of a family that are wanted and not there yet, and says which.
pub(crate) fn write_family(
    folder: &Path,
    id: &str,
    scale: Scale,
    wanted: impl Fn(&FileEntry) -> bool,
) -> Vec<PathBuf> {
    let mut written = Vec::new();
    for file in &Manifest::builtin().pipeline(id).unwrap().files {
        let path = file.local.below(folder);
        let no_network = matches!(file.role, Role::Archive | Role::Companion | Role::Processor);
        if no_network || path.exists() || !wanted(file) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // What is broken off has another name.
        let part = path.with_file_name(format!("{name}.unfinished"));
        write_file(
            BufWriter::with_capacity(1 << 20, File::create(&part).unwrap()),
            id,
            file.role,
            &name,
            scale,
        );
        fs::rename(&part, &path).unwrap();
        written.push(path);
    }
    written
}

fn write_file(mut out: impl Write, id: &str, role: Role, name: &str, scale: Scale) {
    let large = id == "krea-realtime-video";
    let config = scale.network(large);
    match role {
        Role::Archive | Role::Companion | Role::Processor => {}
        Role::Config => out.write_all(&config_json(&config)).unwrap(),
        Role::Tokenizer => out.write_all(&tokenizer_json(scale.tokens())).unwrap(),
        Role::TextEncoder => {
            let net = scale.text_encoder().description();
            // As it is published: linear layers in 8 bits, the rest in 16.
            let narrow = net.linears().iter().map(|linear| format!("{}.weight", linear.module));
            let narrow: Vec<String> = narrow.collect();
            let weights = RandomWeights::new(&[&net], 2);
            write_safetensors(out, &net, &weights.in_e4m3(|name| narrow.iter().any(|it| it == name)));
        }
        Role::Vae => write_torch(out, &scale.autoencoder(name), 3, |tensors| tensors),
        Role::Vace => {
            let stride = if large { 5 } else { 2 };
            let vace = VaceConfig { layers: (0..config.num_layers).step_by(stride).collect() };
            let net = config.vace_description(&vace);
            write_safetensors(out, &net, &RandomWeights::new(&[&net], 4));
        }
        Role::Generator if large => {
            let net = config.description();
            write_safetensors(out, &net, &RandomWeights::new(&[&net], 1));
        }
        Role::Generator => write_torch(out, &config.description(), 1, |tensors| {
            let prefixed =
                tensors.into_iter().map(|(name, value)| (format!("model.{name}"), value)).collect();
            if id == "reward-forcing" {
                return prefixed;
            }
            vec![("generator".to_owned(), TorchValue::OrderedDict(prefixed))]
        }),
        Role::GeneratorLora => write_built_in_adapter(out, &config, scale.adapter_rank()),
    }
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

/// A tokenizer that spells, in the format of UMT5's, with made-up words up to so many tokens.
fn tokenizer_json(tokens: usize) -> Vec<u8> {
    let mut vocabulary =
        vec![json!(["<pad>", 0.0]), json!(["</s>", 0.0]), json!(["<unk>", 0.0]), json!(["▁", -2.0])];
    vocabulary.extend(('!'..='~').map(|letter| json!([letter.to_string(), -4.0])));
    for number in vocabulary.len()..tokens {
        let letters = (0..5).map(|place| char::from(b'a' + (number / 26usize.pow(place) % 26) as u8));
        vocabulary.push(json!([format!("▁{}", letters.collect::<String>()), -5.0 - number as f64 * 1e-5]));
    }
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let document = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": false},
    });
    // Indented, as the published one is.
    serde_json::to_vec_pretty(&document).unwrap()
}

pub(crate) type Tensors = Vec<(String, TorchValue)>;

/// What `torch.save` would write of a network's weights.
pub(crate) fn torch(net: &NetworkDescription, seed: u64, wrap: impl FnOnce(Tensors) -> Tensors) -> Vec<u8> {
    let weights = RandomWeights::new(&[net], seed);
    let tensors = net.tensors().iter().map(|tensor| {
        let values = weights.read(&tensor.name).unwrap();
        (tensor.name.clone(), TorchValue::f32(&extents(&tensor.shape), &values))
    });
    TorchFile::of(TorchValue::dict(wrap(tensors.collect()))).bytes()
}

fn extents(shape: &[usize]) -> Vec<i32> {
    shape.iter().map(|&extent| extent as i32).collect()
}

/// The same, for a `wrap` that leaves the tensors in their order.
fn write_torch(out: impl Write, net: &NetworkDescription, seed: u64, wrap: impl FnOnce(Tensors) -> Tensors) {
    let weights = RandomWeights::new(&[net], seed);
    let tensors = net.tensors().iter().map(|tensor| (tensor.name.clone(), unmade(&tensor.shape)));
    let root = TorchValue::dict(wrap(tensors.collect()));
    write_archive(out, root, |index| weights.read(&net.tensors()[index].name).unwrap());
}

/// A tensor in `f32` whose values come later.
fn unmade(shape: &[usize]) -> TorchValue {
    let extents = extents(shape);
    match TorchValue::f32(&extents, &[]) {
        TorchValue::Tensor(tensor) => {
            TorchValue::Tensor(TorchTensor { elements: extents.iter().product(), ..tensor })
        }
        other => other,
    }
}

/// A torch archive, the values of its tensors made when their turn comes.
fn write_archive(out: impl Write, root: TorchValue, mut values: impl FnMut(usize) -> Vec<f32>) {
    let mut zip = ZipWriter::new(out, Zip64::Everywhere);
    for (name, data) in TorchFile::of(root).entries {
        let storage = name.strip_prefix("archive/data/").map(|index| {
            let words = values(index.parse().unwrap()).into_iter().map(f32::to_le_bytes);
            words.collect::<Vec<_>>().into_flattened()
        });
        zip.entry(&ZipEntry::stored(&name, storage.as_deref().unwrap_or(&data)));
    }
    zip.finish();
}

/// The adapter that comes with LongLive and MemFlow.
fn write_built_in_adapter(out: impl Write, config: &WanConfig, rank: usize) {
    let description = config.description();
    let layers = description.linears().iter().filter(|layer| layer.module.starts_with("blocks."));
    let shapes: Vec<(String, [usize; 2])> = layers
        .flat_map(|layer| {
            let key = |part: &str| format!("base_model.model.{}.lora_{part}.weight", layer.module);
            [(key("A"), [rank, layer.in_features]), (key("B"), [layer.out_features, rank])]
        })
        .collect();
    let tensors: Tensors = shapes.iter().map(|(name, shape)| (name.clone(), unmade(shape))).collect();
    let root = TorchValue::dict([("generator_lora", TorchValue::dict(tensors))]);
    write_archive(out, root, |index| {
        let count: usize = shapes[index].1.iter().product();
        (0..count).map(|i| (i as f32 * 0.7).sin() * 0.02).collect()
    });
}

/// A network's weights in a safetensors file, in the order in which its library puts them: wide types first, then by name.
fn write_safetensors(mut out: impl Write, net: &NetworkDescription, weights: &RandomWeights) {
    let mut tensors: Vec<_> = net.tensors().iter().collect();
    tensors.sort_by_key(|tensor| (weights.is_e4m3(&tensor.name), &tensor.name));
    let mut header = Map::new();
    let mut end = 0;
    for tensor in &tensors {
        let start = end;
        let (dtype, bytes) = if weights.is_e4m3(&tensor.name) { ("F8_E4M3", 1) } else { ("BF16", 2) };
        end += bytes * tensor.shape.iter().product::<usize>();
        let entry = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // Data begin at a multiple of 8.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    out.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    out.write_all(header.as_bytes()).unwrap();
    for tensor in &tensors {
        match weights.numbers(&tensor.name).unwrap() {
            Numbers::F8E4M3(bytes) => out.write_all(&bytes).unwrap(),
            Numbers::Bf16(values) => {
                for some in values.chunks(1 << 20) {
                    out.write_all(&bf16_bytes(some)).unwrap();
                }
            }
        }
    }
    out.flush().unwrap();
}

fn bf16_bytes(values: &[bf16]) -> Vec<u8> {
    values.iter().map(|value| value.to_le_bytes()).collect::<Vec<_>>().into_flattened()
}

/// A user's LoRA file for one layer, in the format of ComfyUI.
pub(crate) fn lora(layer: &str, [out, depth]: [usize; 2]) -> Vec<u8> {
    let values = |count: usize| {
        bf16_bytes(&(0..count).map(|i| bf16::from_f32((i as f32 * 1.3).cos() * 0.5)).collect::<Vec<_>>())
    };
    let tensors = [("A", vec![2, depth], values(2 * depth)), ("B", vec![out, 2], values(out * 2))];
    let views = tensors.iter().map(|(part, shape, data)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, shape.clone(), data);
        (format!("diffusion_model.{layer}.lora_{part}.weight"), view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// The files that a pipeline loads with these settings.
pub(crate) fn needed_with(settings: Settings) -> impl Fn(&FileEntry) -> bool {
    move |file| file.is_needed(&settings)
}
