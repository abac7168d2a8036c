//! Plugins installed from the examples, and a way to run their pipelines.

#![allow(clippy::expect_used, clippy::unwrap_used, dead_code)]

use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_pipelines::{
    Chunk, ChunkReport, GenerateError, Generator, InputMode, LoadError, LoadParams, LoadedPipeline, NoAssets,
    Output, ParameterStore, Registry,
};
use scope_plugins::{InstallError, Installed, Library};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The program of an example of this crate.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// A folder with plugins, gone at the end.
pub(crate) struct Plugins {
    pub(crate) folder: TempDir,
    pub(crate) library: Library,
}

impl Plugins {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::new(folder.path().join("plugins"));
        Self { folder, library }
    }

    /// A folder as an author has it: an example's program and a manifest.
    pub(crate) fn source(&self, program: &str, arguments: &[&str]) -> PathBuf {
        let folder = self.folder.path().join("source").join(program);
        std::fs::create_dir_all(&folder).unwrap();
        let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
        std::fs::copy(example(&file), folder.join(&file)).unwrap();
        let mut command = vec![format!("./{file}")];
        command.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let manifest = format!(
            "name = {program:?}\ncommand = {}\nchunk_timeout_s = 1\nload_timeout_s = 5\n",
            serde_json::to_string(&command).unwrap()
        );
        std::fs::write(folder.join("scope-plugin.toml"), manifest).unwrap();
        folder
    }

    pub(crate) fn install(&self, source: &Path) -> Result<Installed, InstallError> {
        let plan = self.library.plan(source.to_str().unwrap(), false)?;
        self.library.install(&plan, false, &mut |_| ())
    }

    pub(crate) fn registry(&self) -> Registry {
        let mut registry = Registry::builtin();
        let mut scan = self.library.scan();
        scan.register(&mut registry);
        assert_eq!(scan.broken, []);
        registry
    }
}

pub(crate) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// Loads a pipeline; what it says while it does is collected.
pub(crate) fn load(
    registry: &Registry,
    id: &str,
    parameters: Value,
) -> Result<(Arc<dyn LoadedPipeline>, Vec<String>), LoadError> {
    let told = Mutex::new(Vec::new());
    let tell = |text: &str| told.lock().unwrap().push(text.to_owned());
    let loaded = registry.get(id).unwrap().load(&LoadParams::new(map(parameters)), &tell)?;
    Ok((loaded, told.into_inner().unwrap()))
}

/// The parameter that chooses a misdeed.
pub(crate) fn rogue(misdeed: &str) -> Value {
    json!({"misdeed": misdeed})
}

/// One chunk of `pictures`, numbered `index`.
pub(crate) fn chunk(
    generator: &mut dyn Generator,
    index: u64,
    pictures: &[Image],
    parameters: Value,
) -> Result<(Vec<Output>, ChunkReport), GenerateError> {
    let mut outputs = Vec::new();
    let report = watched(generator, index, pictures, parameters, &mut |output| outputs.push(output))?;
    Ok((outputs, report))
}

/// The same; `emit` gets each output as soon as it comes.
pub(crate) fn watched(
    generator: &mut dyn Generator,
    index: u64,
    pictures: &[Image],
    parameters: Value,
    emit: &mut (dyn FnMut(Output) + Send),
) -> Result<ChunkReport, GenerateError> {
    let snapshot = ParameterStore::new(&map(parameters)).take();
    let frames = pictures.iter().zip(1..);
    let frames = frames.map(|(image, i)| Frame::new(image.clone(), Timestamp::from_micros(i * 1000)));
    let inputs = match pictures {
        [] => BTreeMap::new(),
        _ => BTreeMap::from([("video".to_owned(), frames.collect())]),
    };
    let mode = if inputs.is_empty() { InputMode::Text } else { InputMode::Video };
    let chunk = Chunk {
        index,
        mode,
        parameters: &snapshot,
        inputs,
        assets: &NoAssets,
        now: Timestamp::from_micros(0),
        effort: 0,
        format: PixelFormat::Rgb8,
    };
    generator.generate(chunk, emit)
}

/// The pictures among outputs, with their capture times.
pub(crate) fn pictures(outputs: &[Output]) -> Vec<(Image, Option<Timestamp>)> {
    let pictures = outputs.iter().filter_map(|output| match output {
        Output::Frame { image, captured_at, .. } => Some((image.clone(), *captured_at)),
        Output::Value { .. } => None,
    });
    pictures.collect()
}
