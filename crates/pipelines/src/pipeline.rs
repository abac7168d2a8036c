use crate::{Effort, PipelineSchema, Snapshot};
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What drives a generator: its own clock, or incoming video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputMode {
    /// Free-running: a chunk needs no frames.
    #[default]
    Text,
    /// A chunk waits for input frames.
    Video,
}

/// Parameters given when a pipeline is loaded; `null` values are dropped, unknown keys are kept and ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadParams(Map<String, Value>);

impl LoadParams {
    /// Load parameters from a JSON object. `seed` is accepted as another name of `base_seed`.
    pub fn new(mut values: Map<String, Value>) -> Self {
        values.retain(|_, value| !value.is_null());
        if let Some(seed) = values.remove("seed") {
            values.entry("base_seed").or_insert(seed);
        }
        Self(values)
    }

    /// The value of `key` as an unsigned integer, if it is one.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Value::as_u64)
    }

    /// The value of `key` if it is true or false.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.0.get(key).and_then(Value::as_bool)
    }

    /// All values.
    pub const fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// Memory that a pipeline will take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// Weights, shared by all sessions.
    pub weights: u64,
    /// Keys and values of past frames, per session.
    pub cache: u64,
    /// What computing a chunk needs in between, per session.
    pub activations: u64,
    /// What the autoencoder remembers and needs in between, per session.
    pub autoencoder: u64,
}

impl MemoryEstimate {
    /// With one session.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.weights + self.cache + self.activations + self.autoencoder
    }
}

/// Why a pipeline could not be loaded. The text is shown to users: what happened, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A load parameter is outside what the pipeline supports.
    #[error("cannot load {pipeline}: {key} {problem}")]
    InvalidParameter {
        /// The pipeline's id.
        pipeline: String,
        /// The offending key.
        key: String,
        /// What is wrong with its value, and which values work.
        problem: String,
    },
    /// Memory ran out while loading.
    #[error("not enough memory to load {pipeline}: {detail}. Use a smaller size, or unload another pipeline")]
    OutOfMemory {
        /// The pipeline's id.
        pipeline: String,
        /// What was being allocated.
        detail: String,
    },
    /// Its files are not in the models folder, or not whole.
    #[error("cannot load {pipeline}: {detail}")]
    ModelsMissing {
        /// The pipeline's id.
        pipeline: String,
        /// Which files, and how to get them.
        detail: String,
    },
    /// Anything else.
    #[error("cannot load {pipeline}: {detail}")]
    Failed {
        /// The pipeline's id.
        pipeline: String,
        /// What happened.
        detail: String,
    },
}

impl LoadError {
    /// That of a pipeline whose networks could not be made.
    pub(crate) fn of(pipeline: &str, error: &(dyn Error + 'static)) -> Self {
        let (pipeline, detail) = (pipeline.into(), error.to_string());
        if scope_engine::Error::is_out_of_memory(error) {
            Self::OutOfMemory { pipeline, detail }
        } else {
            Self::Failed { pipeline, detail }
        }
    }

    /// The machine-readable code clients see.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidParameter { .. } => "invalid_parameters",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::ModelsMissing { .. } => "models_missing",
            Self::Failed { .. } => "load_failed",
        }
    }
}

/// Why a chunk failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Memory ran out: the session cannot go on.
    #[error("out of memory: {0}. Use a smaller size, or unload another pipeline")]
    OutOfMemory(String),
    /// This chunk failed; the next may work.
    #[error("{0}")]
    Failed(String),
}

impl GenerateError {
    /// That of a network which could not be run.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let detail = error.to_string();
        if scope_engine::Error::is_out_of_memory(error) {
            Self::OutOfMemory(detail)
        } else {
            Self::Failed(detail)
        }
    }

    /// The machine-readable code clients see.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Failed(_) => "pipeline_failed",
        }
    }

    /// Whether trying another chunk makes sense.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::OutOfMemory(_))
    }
}

/// How the frames of a chunk are chosen from the backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Spread evenly over everything that waits; what is between is dropped. For models slower than their input.
    Uniform,
    /// The newest consecutive frames. For pipelines that compare neighbours.
    Consecutive,
}

/// What a generator waits for before a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it runs freely, throttled by its consumers.
    Nothing,
    /// `count` frames on every connected video port.
    Frames {
        /// How many.
        count: usize,
        /// Which.
        sampling: Sampling,
    },
}

/// Reads files that clients name in parameters, inside the directories that the user has allowed.
pub trait AssetLoader: Sync {
    /// The picture at `path`.
    ///
    /// # Errors
    /// A text for the user when the path is outside the allowed directories or is no readable picture.
    fn image(&self, path: &str) -> Result<Image, String>;

    /// The file behind `path`, if it may be read.
    ///
    /// # Errors
    /// A text for the user when the path is outside the allowed directories or does not exist.
    fn resolve(&self, path: &str) -> Result<PathBuf, String>;
}

/// An [`AssetLoader`] without any files.
pub struct NoAssets;

impl AssetLoader for NoAssets {
    fn image(&self, path: &str) -> Result<Image, String> {
        Err(format!("{path}: no files can be read here"))
    }

    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        Err(format!("{path}: no files can be read here"))
    }
}

/// One call's input.
pub struct Chunk<'a> {
    /// Number of this chunk in its session, from 1.
    pub index: u64,
    /// What drives the session.
    pub mode: InputMode,
    /// The chunk's parameters.
    pub parameters: &'a Snapshot,
    /// Frames per connected video port, oldest first, as many as [`Needs::Frames`] asked for; empty in text mode.
    pub inputs: BTreeMap<String, Vec<Frame>>,
    /// Resolves files named in parameters.
    pub assets: &'a dyn AssetLoader,
    /// The time at which the chunk starts.
    pub now: Timestamp,
    /// Which of [`Generator::efforts`] to make; 0, the best, where there is no choice.
    pub effort: usize,
    /// The pixel format in which pictures are of most use to those who get them: a wish, for whoever can fulfil it for
    /// less than a conversion afterwards takes. Pictures in any format are taken.
    pub format: PixelFormat,
}

/// Something a generator hands out while it works on a chunk.
#[derive(Clone, Debug)]
pub enum Output {
    /// A picture, on an output port. It is on its way to the viewer before the chunk ends.
    Frame {
        /// The port's name.
        port: Cow<'static, str>,
        /// The picture.
        image: Image,
        /// The capture time of the input it derives from; `None` lets the pacer schedule it.
        captured_at: Option<Timestamp>,
    },
    /// A value for non-video ports: becomes a parameter of whatever is connected.
    Value {
        /// The port's name.
        port: Cow<'static, str>,
        /// The value.
        value: Value,
    },
}

/// What a chunk tells about itself beyond its outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkReport {
    /// Parameters that could not be used, each with its reason; the chunk went on without them.
    pub parameter_problems: Vec<(String, String)>,
    /// Time spent per named stage, for profiles.
    pub stages: Vec<(&'static str, Duration)>,
}

/// One session's run of a pipeline, owned by one thread.
pub trait Generator: Send {
    /// What the next chunk waits for.
    fn needs(&self, mode: InputMode) -> Needs;

    /// Works on one chunk and hands every output to `emit` as soon as it exists.
    ///
    /// # Errors
    /// [`GenerateError`]; one-shot parameters of a failed chunk are delivered again with the next.
    fn generate(
        &mut self,
        chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError>;

    /// The rate at which its pictures should be shown, if it has one of its own; otherwise they are shown at the rate at
    /// which they are made.
    fn frame_rate(&self, mode: InputMode) -> Option<f64> {
        let _ = mode;
        None
    }

    /// Ways to make the next chunk, the best first and each cheaper than the one before. What the user has set by hand is no
    /// matter of choice. Fewer than two: there is nothing to choose.
    fn efforts(&self, mode: InputMode, parameters: &Snapshot) -> Vec<Effort> {
        let _ = (mode, parameters);
        Vec::new()
    }

    /// Pictures a second below which less effort is better; by default the rate at which they should be shown.
    fn least_rate(&self, mode: InputMode) -> Option<f64> {
        self.frame_rate(mode)
    }

    /// Forgets all temporal state, as for a hard cut.
    fn reset(&mut self);
}

/// What loading yields: everything that sessions may share.
pub trait LoadedPipeline: Send + Sync {
    /// A generator with fresh state.
    ///
    /// # Errors
    /// [`LoadError`] when the session's own memory cannot be had.
    fn start(&self) -> Result<Box<dyn Generator>, LoadError>;

    /// The LoRA adapters in use, as `{path, scale, …}` objects.
    fn loaded_lora_adapters(&self) -> Vec<Value> {
        Vec::new()
    }
}

/// A kind of processing that can be loaded.
pub trait Pipeline: Send + Sync {
    /// The document that describes it to clients.
    fn schema(&self) -> &PipelineSchema;

    /// How much memory it would take with these parameters, if that can be told. May read the disk.
    fn estimate(&self, params: &LoadParams) -> Option<MemoryEstimate> {
        let _ = params;
        None
    }

    /// Memory that a load could get, in bytes, where that is not the memory of the program: on a GPU.
    fn free_memory(&self) -> Option<u64> {
        None
    }

    /// Loads it. `stage` is told what is going on, in a few words for the user ("Loading text encoder…").
    ///
    /// # Errors
    /// [`LoadError`]. Whatever was allocated is freed.
    fn load(&self, params: &LoadParams, stage: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_load_parameters_equal_absent_ones_and_seed_is_base_seed() {
        let Value::Object(map) = json!({"height": null, "seed": 7}) else { panic!() };
        let Value::Object(plain) = json!({"base_seed": 7}) else { panic!() };
        assert_eq!(LoadParams::new(map), LoadParams::new(plain));
    }

    #[test]
    fn running_out_of_memory_is_told_apart_however_deep_it_happened() {
        use scope_models::prompt::PromptError;
        use scope_models::text::TextError;
        use scope_models::vae::VaeError;
        use scope_models::video::{ConditionError, VideoError};
        let out = || scope_engine::Error::OutOfMemory { bytes: 5_000_000, free: Some(1_000_000) };
        let shallow = VideoError::Autoencoder(VaeError::Engine(out()));
        let text = ConditionError(Box::new(TextError::Engine(out())));
        let deep = VideoError::Prompt(PromptError::Encoder(text));
        for error in [shallow, deep] {
            assert!(error.to_string().ends_with("5 MB more are needed, 1 MB are free"), "{error}");
            assert_eq!(GenerateError::of(&error).code(), "out_of_memory");
            assert_eq!(LoadError::of("longlive", &error).code(), "out_of_memory");
        }
        let other = VideoError::Engine(scope_engine::Error::Threads("none".into()));
        assert_eq!(GenerateError::of(&other).code(), "pipeline_failed");
        assert_eq!(LoadError::of("longlive", &other).code(), "load_failed");
    }
}
