//! Reading a case and comparing results.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use flate2::read::GzDecoder;
use scope_engine::{
    Cpu, Cuda, Device, Tensor,
    cuda::{Arithmetic, CudaOptions},
};
use scope_models::weights::TensorMap;
use serde_json::Value;

/// A recorded tensor: its shape, outermost dimension first, and its values.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// One case.
pub(crate) struct Case {
    pub(crate) json: Value,
    folder: PathBuf,
    tensors: HashMap<String, Recorded>,
    pub(crate) device: Device,
}

impl Case {
    pub(crate) fn load(json: &Path) -> Result<Self> {
        let text = fs::read(json).with_context(|| format!("reading {}", json.display()))?;
        let json_value: Value = serde_json::from_slice(&text)?;
        let is_processor = json_value["kind"].as_str().is_some_and(|kind| PROCESSORS.contains(&kind));
        Ok(Self {
            json: json_value,
            folder: json.parent().unwrap_or(Path::new(".")).to_owned(),
            tensors: read_tensors(&json.with_extension("safetensors"))?,
            device: device(is_processor)?,
        })
    }

    /// Are activations rounded to bf16 here?
    fn is_bf16(&self) -> bool {
        matches!(&self.device, Device::Cuda(cuda) if cuda.arithmetic() == Arithmetic::Bf16)
    }

    /// The tensor of this name.
    pub(crate) fn recorded(&self, name: &str) -> Result<&Recorded> {
        self.tensors.get(name).ok_or_else(|| anyhow!("the case has no tensor {name:?}"))
    }

    /// Does the case hold a tensor of this name? Cases may leave intermediate results out.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor of this name on the device, under its recorded shape.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        let recorded = self.recorded(name)?;
        Ok(Tensor::from_f32(&self.device, &recorded.shape, &recorded.values)?)
    }

    /// All names that start with `prefix`, sorted.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<_> =
            self.tensors.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        names.sort();
        names
    }

    /// The weights of the case: `w.*` without the prefix.
    pub(crate) fn weights(&self) -> TensorMap {
        weights_of(&self.tensors)
    }

    /// The weights of the case that `vae_weights_from` names, or this case's own.
    pub(crate) fn vae_weights(&self) -> Result<TensorMap> {
        match self.json.get("vae_weights_from").and_then(Value::as_str) {
            None => Ok(self.weights()),
            Some(other) => Ok(weights_of(&read_tensors(&self.folder.join(format!("{other}.safetensors")))?)),
        }
    }

    /// A value of the document by JSON pointer, such as `/config/dim`.
    pub(crate) fn value(&self, pointer: &str) -> Result<&Value> {
        self.json.pointer(pointer).ok_or_else(|| anyhow!("the case has no {pointer}"))
    }

    pub(crate) fn number(&self, pointer: &str) -> Result<usize> {
        let value = self.value(pointer)?;
        Ok(value.as_u64().ok_or_else(|| anyhow!("{pointer} is {value}, not a count"))? as usize)
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        self.json.get(key).and_then(Value::as_str).ok_or_else(|| anyhow!("the case has no text {key:?}"))
    }
}

/// Networks whose results are places in pictures: they always compute in `f32`.
const PROCESSORS: [&str; 4] = ["raft", "rife", "video_depth", "scribble"];

/// What `SCOPE_TEST_DEVICE` names: `cpu`, or a GPU that computes in `f32` or bf16, `cuda-f32` or `cuda-bf16`.
fn device(is_processor: bool) -> Result<Device> {
    let gpu = |arithmetic| Ok(Cuda::new(&CudaOptions { arithmetic, ..CudaOptions::default() })?.into());
    match env::var("SCOPE_TEST_DEVICE").as_deref() {
        Err(_) | Ok("cpu") => Ok(Cpu::new(None)?.into()),
        Ok("cuda-f32") => gpu(Arithmetic::F32),
        Ok("cuda-bf16") if is_processor => gpu(Arithmetic::F32),
        Ok("cuda-bf16") => gpu(Arithmetic::Bf16),
        Ok(other) => bail!("SCOPE_TEST_DEVICE is {other:?}"),
    }
}

fn weights_of(tensors: &HashMap<String, Recorded>) -> TensorMap {
    let mut map = TensorMap::default();
    for (name, recorded) in tensors {
        if let Some(name) = name.strip_prefix("w.") {
            map.insert(name, recorded.shape.clone(), recorded.values.clone());
        }
    }
    map
}

/// Reads a safetensors file with the format's own crate: the product's reader is not what is tested here.
fn read_tensors(path: &Path) -> Result<HashMap<String, Recorded>> {
    let mut bytes = Vec::new();
    // Those that travel with the program are compressed.
    let packed = path.with_extension("safetensors.gz");
    let file = File::open(if packed.is_file() { &packed } else { path });
    let file = file.with_context(|| format!("reading {}", path.display()))?;
    match packed.is_file() {
        true => GzDecoder::new(file).read_to_end(&mut bytes)?,
        false => BufReader::new(file).read_to_end(&mut bytes)?,
    };
    let file = safetensors::SafeTensors::deserialize(&bytes)?;
    let mut tensors = HashMap::new();
    for (name, view) in file.tensors() {
        let data = view.data();
        let values: Vec<f32> = match view.dtype() {
            safetensors::Dtype::F32 => words(data, f32::from_le_bytes),
            safetensors::Dtype::F64 => words(data, |b| f64::from_le_bytes(b) as f32),
            safetensors::Dtype::I64 => words(data, |b| i64::from_le_bytes(b) as f32),
            safetensors::Dtype::I32 => words(data, |b| i32::from_le_bytes(b) as f32),
            safetensors::Dtype::BF16 => words(data, |b| half::bf16::from_le_bytes(b).to_f32()),
            safetensors::Dtype::F16 => words(data, |b| half::f16::from_le_bytes(b).to_f32()),
            // Bytes of float8 tensors are compared as bytes.
            safetensors::Dtype::U8 | safetensors::Dtype::BOOL | safetensors::Dtype::F8_E4M3 => {
                data.iter().map(|&b| f32::from(b)).collect()
            }
            other => bail!("tensor {name:?} is {other:?}"),
        };
        tensors.insert(name.clone(), Recorded { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

fn words<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|&bytes| read(bytes)).collect()
}

/// The comparisons of one case.
#[derive(Default)]
pub(crate) struct Check {
    comparisons: usize,
    is_bf16: bool,
    /// Layers that what is compared next went through, each rounded to bf16.
    layers: usize,
    /// Largest absolute difference, and where.
    worst: (f32, String),
    failures: Vec<String>,
}

/// More layers than the tolerance for results in bf16 grows with: whole videos, and autoencoders, which have dozens of
/// convolutions one after the other.
pub(crate) const MANY_LAYERS: usize = usize::MAX;

/// How far results in bf16 may be off after so many layers of a network, as a share of their size; without layers, those of a
/// single call.
///
/// Rounding of a network's weights, of each layer's inputs, queries, keys, sums and results adds up: emulated for the recorded
/// UMT5, whose scores are not scaled and so make the most of it, they are off by 1.07e-2 after one layer, 2.1e-2 after two
/// and 3.1e-2 after three; no kind of rounding alone makes more than 1.6e-2. The same for the decoder of the recorded Wan
/// autoencoder: 3.9e-2 at the end, 2.4e-2 by its weights alone and 2.2e-2 by what its convolutions give. Its encoder is off by
/// less than 1e-2.
fn bf16_tolerance(layers: usize) -> f32 {
    const OF_A_CALL: f32 = 2e-2;
    const OF_A_LAYER: f32 = 1.2e-2;
    const OF_ANYTHING: f32 = 4e-2;
    (OF_A_LAYER * layers as f32).clamp(OF_A_CALL, OF_ANYTHING)
}

impl Check {
    /// What is compared from here on went through so many layers.
    pub(crate) fn after(&mut self, layers: usize) -> &mut Self {
        self.layers = layers;
        self
    }

    /// `got` equals the recorded values within `atol + rtol · |recorded|`.
    pub(crate) fn close(&mut self, name: &str, got: &[f32], recorded: &[f32], atol: f32, rtol: f32) {
        self.comparisons += 1;
        if got.len() != recorded.len() {
            self.fail(format!("{name}: {} values for {}", got.len(), recorded.len()));
            return;
        }
        if self.is_bf16 {
            return self.near(name, got, recorded);
        }
        let mut wrong: Option<(usize, f32)> = None;
        for (index, (&got, &recorded)) in got.iter().zip(recorded).enumerate() {
            let error = (got - recorded).abs();
            if error > self.worst.0 {
                self.worst = (error, name.to_owned());
            }
            let fits = error <= atol + rtol * recorded.abs();
            // NaN fits nowhere, and nothing is worse.
            if !fits && wrong.is_none_or(|(_, worst)| error > worst || error.is_nan()) {
                wrong = Some((index, error));
            }
        }
        if let Some((index, error)) = wrong {
            let (got, recorded) = (got[index], recorded[index]);
            self.fail(format!("{name}[{index}] is {got}, recorded {recorded} (off by {error:.2e})"));
        }
    }

    /// As a whole, `got` is what arithmetic in bf16 makes of the recorded values: `‖got − recorded‖` is a small part of
    /// `‖recorded‖`.
    fn near(&mut self, name: &str, got: &[f32], recorded: &[f32]) {
        let norm = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt() as f32
        };
        let difference = norm(&mut got.iter().zip(recorded).map(|(got, recorded)| got - recorded));
        let error = difference / norm(&mut recorded.iter().copied()).max(1e-6);
        if error > self.worst.0 {
            self.worst = (error, name.to_owned());
        }
        // NaN is not small.
        if error.is_nan() || error > bf16_tolerance(self.layers) {
            self.fail(format!("{name} is off by {error:.2e} of its size"));
        }
    }

    /// A statement about the case that must hold.
    pub(crate) fn holds(&mut self, what: &str, holds: bool) {
        self.comparisons += 1;
        if !holds {
            self.fail(format!("{what} does not hold"));
        }
    }

    pub(crate) fn fail(&mut self, message: String) {
        self.failures.push(message);
    }

    /// Something was compared and nothing failed.
    pub(crate) fn passed(&self) -> bool {
        self.failures.is_empty() && self.comparisons > 0
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        if self.comparisons == 0 && self.failures.is_empty() {
            return vec!["nothing was compared".to_owned()];
        }
        let mut shown: Vec<_> = self.failures.iter().take(5).cloned().collect();
        if self.failures.len() > shown.len() {
            shown.push(format!("and {} more", self.failures.len() - shown.len()));
        }
        shown
    }

    pub(crate) fn summary(&self) -> String {
        let verdict = if self.passed() { "pass" } else { "FAIL" };
        let (error, name) = &self.worst;
        format!("{verdict}  {:4} comparisons, largest error {error:.2e} {name}", self.comparisons)
    }
}

/// How a kind of case is replayed.
pub(crate) type Replay = fn(&Case, &mut Check) -> Result<()>;

/// The cases of this repository, and those of the folder that `SCOPE_GOLDEN_DIR` names.
fn folders() -> Vec<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/data");
    [Some(own), env::var_os("SCOPE_GOLDEN_DIR").map(PathBuf::from)].into_iter().flatten().collect()
}

/// Replays every case of these kinds; a kind without a replay is left to another test.
pub(crate) fn replay_all(kinds: &[(&str, Option<Replay>)]) {
    let mut failures = Vec::new();
    let mut count = 0;
    for folder in folders() {
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a folder entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        files.sort();
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut check = Check::default();
            let found = Case::load(&file).and_then(|case| {
                let kind = case.text("kind")?;
                let known = kinds.iter().find(|(name, _)| *name == kind);
                let replay = known.ok_or_else(|| anyhow!("no replay for cases of kind {kind:?}"))?.1;
                Ok(replay.map(|replay| (replay, case)))
            });
            match found {
                Ok(None) => continue,
                Ok(Some((replay, case))) => {
                    check.is_bf16 = case.is_bf16();
                    if let Err(error) = replay(&case, &mut check) {
                        check.fail(format!("{error:#}"));
                    }
                }
                Err(error) => check.fail(format!("{error:#}")),
            }
            count += 1;
            println!("{name:28} {}", check.summary());
            if !check.passed() {
                failures.push(format!("{name}: {}", check.failures().join("; ")));
            }
        }
    }
    println!("{count} cases, {} failed", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 0, "there are no cases to replay");
}
