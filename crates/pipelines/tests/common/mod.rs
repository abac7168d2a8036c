//! Tiny models in the real formats under the real names, and sessions that run them.
#![allow(dead_code, unused_imports, clippy::expect_used, clippy::unwrap_used)]

mod files;
mod models;

pub(crate) use files::test_files::{TorchFile, TorchValue};
pub(crate) use models::{Scale, Tensors, lora, needed_with, torch, write_families, write_family};

use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_pipelines::{
    AssetLoader, Chunk, Compute, Generator, InputMode, LoadError, LoadParams, LoadedPipeline, Needs, Output,
    ParameterStore, Registry,
};
use scope_store::{Manifest, ModelFolder, Role};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
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
