//! A plugin's pipeline as one of ours.

use crate::installed::Installed;
use crate::process::{Process, ProcessError};
use parking_lot::Mutex;
use scope_frame::{Frame, Image, PixelFormat};
use scope_pipelines::{
    Chunk, ChunkReport, GenerateError, Generator, InputMode, LoadError, LoadParams, LoadedPipeline, Needs,
    Output, Pipeline, PipelineSchema, Sampling,
};
use scope_plugin::frames::{self, FrameError};
use scope_plugin::protocol::{
    Done, Generate, GuestMessage, HostMessage, InputPicture, MAX_ANSWERS, MAX_PIPELINES, Mode, OUTPUT_SLOTS,
    OutputFile, SLOT_BYTES, VERSION,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A plugin that ends more often than this within [`RESTART_WINDOW`] is not started again.
const MAX_RESTARTS: usize = 3;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// Characters of a plugin's message that users see.
const MAX_TEXT: usize = 2000;
/// Pictures that a session may wait for before a chunk.
const MAX_NEEDS: usize = 256;

/// One pipeline of an installed plugin.
pub struct PluginPipeline {
    plugin: Arc<Installed>,
    schema: PipelineSchema,
}

impl PluginPipeline {
    pub(crate) fn new(plugin: Arc<Installed>, schema: PipelineSchema) -> Self {
        Self { plugin, schema }
    }
}

impl Pipeline for PluginPipeline {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn load(&self, params: &LoadParams, stage: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let shared = Shared {
            plugin: Arc::clone(&self.plugin),
            pipeline: self.schema.id.clone(),
            outputs: self.schema.outputs.clone(),
            parameters: params.as_map().clone(),
            run: Mutex::default(),
            ended: Mutex::default(),
        };
        stage(&format!("Starting {}…", self.schema.name));
        let live = shared.connect(stage).map_err(|error| shared.load_error(error))?;
        shared.run.lock().live = Some(live);
        Ok(Arc::new(Loaded(Arc::new(shared))))
    }
}

/// Why a request to a plugin failed.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Frames(#[from] FrameError),
    #[error("the file of pictures: {0}")]
    Folder(#[from] std::io::Error),
    /// The plugin says so itself.
    #[error("{message}")]
    Failed { code: String, message: String },
    #[error("it ended {MAX_RESTARTS} times within a minute and is not started again")]
    GaveUp,
}

/// Asks a plugin what it is: its schemas, and that it speaks our protocol.
pub(crate) fn describe(process: &mut Process, patience: Duration) -> Result<Hello, ProcessError> {
    let host = concat!("scope ", env!("CARGO_PKG_VERSION")).to_owned();
    process.say(&HostMessage::Hello { protocol: VERSION, host })?;
    match process.hear(patience)? {
        GuestMessage::Hello { protocol: VERSION, name, version, pipelines } => {
            if pipelines.len() > MAX_PIPELINES {
                let how = format!("it has {} pipelines; {MAX_PIPELINES} are allowed", pipelines.len());
                return Err(process.broke_protocol(how));
            }
            Ok(Hello { name, version, pipelines })
        }
        GuestMessage::Hello { protocol, .. } => {
            Err(process.broke_protocol(format!("it speaks version {protocol}, we speak version {VERSION}")))
        }
        other => Err(process.broke_protocol(format!("it answered hello with {}", name(&other)))),
    }
}

/// What a plugin says of itself.
pub(crate) struct Hello {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) pipelines: Vec<Value>,
}

/// A loaded pipeline: one process, which all of its sessions share.
struct Shared {
    plugin: Arc<Installed>,
    pipeline: String,
    outputs: Vec<String>,
    parameters: Map<String, Value>,
    run: Mutex<Run>,
    /// Sessions that are over and that the process has not been told of.
    ended: Mutex<Vec<Ended>>,
}

struct Ended {
    incarnation: u64,
    session: u64,
}

#[derive(Default)]
struct Run {
    live: Option<Live>,
    /// How often the process was started again: sessions of an earlier one have to be started anew.
    incarnation: u64,
    restarts: VecDeque<Instant>,
    sessions: u64,
}

/// A process that has loaded the pipeline. Fields are dropped in this order.
struct Live {
    process: Process,
    input: frames::Input,
    output: frames::Output,
    _folder: TempDir,
}

impl Shared {
    fn connect(&self, stage: &dyn Fn(&str)) -> Result<Live, RequestError> {
        let patience = self.plugin.manifest.load_timeout();
        let folder = tempfile::Builder::new().prefix("scope-plugin-").tempdir_in(memory_folder())?;
        let input_path = folder.path().join("input");
        let about =
            OutputFile { path: folder.path().join("output"), slots: OUTPUT_SLOTS, slot_bytes: SLOT_BYTES };
        let input = frames::Input::create(&input_path)?;
        let output = frames::Output::create(&about)?;
        let mut process = Process::start(&self.plugin.program())?;
        describe(&mut process, patience)?;
        process.say(&HostMessage::Load {
            pipeline: self.pipeline.clone(),
            parameters: self.parameters.clone(),
            input: input_path,
            output: about,
        })?;
        for _ in 0..MAX_ANSWERS {
            match process.hear(patience)? {
                GuestMessage::Progress { text } => stage(&shorten(&text)),
                GuestMessage::Loaded => return Ok(Live { process, input, output, _folder: folder }),
                GuestMessage::Failed { code, message } => return Err(failed(code, &message)),
                other => {
                    return Err(process
                        .broke_protocol(format!("it answered load with {}", name(&other)))
                        .into());
                }
            }
        }
        Err(process.broke_protocol("too many messages while loading").into())
    }

    fn start_session(&self, live: &mut Live, session: u64) -> Result<Wants, RequestError> {
        live.process.say(&HostMessage::Start { session })?;
        match live.process.hear(self.plugin.manifest.load_timeout())? {
            GuestMessage::Started { needs } => Ok(Wants::of(&needs)),
            GuestMessage::Failed { code, message } => Err(failed(code, &message)),
            other => {
                Err(live.process.broke_protocol(format!("it answered start with {}", name(&other))).into())
            }
        }
    }

    fn text(&self, error: &RequestError) -> String {
        format!("the plugin {}: {error}", self.plugin.manifest.name)
    }

    fn load_error(&self, error: RequestError) -> LoadError {
        let (pipeline, detail) = (self.pipeline.clone(), self.text(&error));
        match error {
            RequestError::Failed { code, .. } if code == OUT_OF_MEMORY => {
                LoadError::OutOfMemory { pipeline, detail }
            }
            _ => LoadError::Failed { pipeline, detail },
        }
    }
}

const OUT_OF_MEMORY: &str = "out_of_memory";

fn failed(code: String, message: &str) -> RequestError {
    RequestError::Failed { code, message: shorten(message) }
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// Where files are kept in memory, if there is such a place.
fn memory_folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

fn name(message: &GuestMessage) -> &'static str {
    match message {
        GuestMessage::Hello { .. } => "hello",
        GuestMessage::Progress { .. } => "progress",
        GuestMessage::Loaded => "loaded",
        GuestMessage::Started { .. } => "started",
        GuestMessage::Frame { .. } => "frame",
        GuestMessage::Value { .. } => "value",
        GuestMessage::Done(_) => "done",
        GuestMessage::Failed { .. } => "failed",
    }
}

struct Loaded(Arc<Shared>);

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        let shared = &self.0;
        let mut run = shared.run.lock();
        run.sessions += 1;
        let session = run.sessions;
        run.tell_ended(shared);
        let begun = run.alive(shared).and_then(|(live, _)| shared.start_session(live, session));
        let wants = begun.map_err(|error| shared.load_error(error))?;
        let incarnation = run.incarnation;
        drop(run);
        Ok(Box::new(Session { shared: Arc::clone(shared), session, incarnation, wants, reset: false }))
    }
}

impl Run {
    /// The process; one that has ended is started again, as long as that does not happen too often.
    fn alive(&mut self, shared: &Shared) -> Result<(&mut Live, u64), RequestError> {
        if self.live.is_none() {
            let now = Instant::now();
            while self.restarts.front().is_some_and(|then| now.duration_since(*then) > RESTART_WINDOW) {
                self.restarts.pop_front();
            }
            if self.restarts.len() >= MAX_RESTARTS {
                return Err(RequestError::GaveUp);
            }
            self.restarts.push_back(now);
            tracing::warn!(plugin = shared.plugin.manifest.name, "starting the plugin again");
            self.incarnation += 1;
            self.live = Some(shared.connect(&|_| ())?);
        }
        let incarnation = self.incarnation;
        // Just made where it was missing.
        self.live.as_mut().map(|live| (live, incarnation)).ok_or(RequestError::GaveUp)
    }

    /// Tells the process which sessions are over. A process that has ended has forgotten them too.
    fn tell_ended(&mut self, shared: &Shared) {
        for Ended { incarnation, session } in shared.ended.lock().drain(..) {
            if let Some(live) = self.live.as_mut().filter(|_| incarnation == self.incarnation) {
                live.process.say(&HostMessage::Stop { session }).ok();
            }
        }
    }
}

/// What a session waits for, as far as we believe it.
#[derive(Clone, Copy, Default)]
struct Wants {
    frames: usize,
    consecutive: bool,
    frame_rate: Option<f64>,
}

impl Wants {
    fn of(needs: &scope_plugin::protocol::Needs) -> Self {
        Self {
            frames: needs.frames.min(MAX_NEEDS),
            consecutive: needs.consecutive,
            frame_rate: needs.frame_rate.filter(|rate| (0.1..=240.0).contains(rate)),
        }
    }
}

/// One session's run.
struct Session {
    shared: Arc<Shared>,
    session: u64,
    incarnation: u64,
    wants: Wants,
    reset: bool,
}

impl Session {
    fn chunk(
        &mut self,
        run: &mut Run,
        chunk: &Chunk<'_>,
        emit: &mut dyn FnMut(Output),
    ) -> Result<ChunkReport, RequestError> {
        run.tell_ended(&self.shared);
        let (live, incarnation) = run.alive(&self.shared)?;
        if self.incarnation != incarnation {
            self.wants = self.shared.start_session(live, self.session)?;
            self.incarnation = incarnation;
        }
        let mut inputs = BTreeMap::new();
        let mut offset = 0;
        for (port, frames) in &chunk.inputs {
            let mut pictures = Vec::with_capacity(frames.len());
            for frame in frames {
                let image = frame.image.to_rgb8();
                let picture = InputPicture {
                    offset,
                    width: image.width(),
                    height: image.height(),
                    captured_at_us: frame.captured_at.as_micros(),
                };
                offset = live.input.write(&picture, image.data())?;
                pictures.push(picture);
            }
            inputs.insert(port.clone(), pictures);
        }
        live.process.say(&HostMessage::Generate(Generate {
            session: self.session,
            chunk: chunk.index,
            mode: match chunk.mode {
                InputMode::Text => Mode::Text,
                InputMode::Video => Mode::Video,
            },
            reset: self.reset || chunk.parameters.is_true("reset_cache"),
            parameters: chunk.parameters.as_map().clone(),
            inputs,
        }))?;
        let sources = chunk.inputs.get("video").or_else(|| chunk.inputs.values().next());
        let done = self.shared.answers(live, sources.map_or(&[], Vec::as_slice), emit)?;
        self.reset = false;
        if let Some(needs) = &done.needs {
            self.wants = Wants::of(needs);
        }
        let problems = done.problems.into_iter().take(MAX_NEEDS);
        Ok(ChunkReport {
            parameter_problems: problems.map(|(key, problem)| (shorten(&key), shorten(&problem))).collect(),
            ..ChunkReport::default()
        })
    }
}

impl Shared {
    /// Everything that a plugin says to a chunk, up to its end.
    fn answers(
        &self,
        live: &mut Live,
        sources: &[Frame],
        emit: &mut dyn FnMut(Output),
    ) -> Result<Done, RequestError> {
        let patience = self.plugin.manifest.chunk_timeout();
        for _ in 0..MAX_ANSWERS {
            match live.process.hear(patience)? {
                GuestMessage::Frame { port, slot, width, height, source } => {
                    self.check_port(live, &port)?;
                    let pixels = match live.output.read(slot, width, height) {
                        Ok(pixels) => pixels,
                        Err(error) => return Err(live.process.broke_protocol(error.to_string()).into()),
                    };
                    live.process.say(&HostMessage::Taken { slot })?;
                    let image = match Image::new(PixelFormat::Rgb8, width, height, pixels) {
                        Ok(image) => image,
                        Err(error) => return Err(live.process.broke_protocol(error.to_string()).into()),
                    };
                    let source = source.and_then(|source| sources.get(source));
                    let captured_at = source.map(|frame| frame.captured_at);
                    emit(Output::Frame { port: port.into(), image, captured_at });
                }
                GuestMessage::Value { port, value } => {
                    self.check_port(live, &port)?;
                    emit(Output::Value { port: port.into(), value });
                }
                GuestMessage::Done(done) => return Ok(done),
                GuestMessage::Failed { code, message } => return Err(failed(code, &message)),
                other => {
                    let how = format!("it answered generate with {}", name(&other));
                    return Err(live.process.broke_protocol(how).into());
                }
            }
        }
        Err(live.process.broke_protocol(format!("more than {MAX_ANSWERS} messages to one chunk")).into())
    }

    fn check_port(&self, live: &mut Live, port: &str) -> Result<(), ProcessError> {
        if self.outputs.iter().any(|known| known == port) {
            return Ok(());
        }
        let how = format!("it has no output port {}", shorten(port));
        Err(live.process.broke_protocol(how))
    }
}

impl Generator for Session {
    fn needs(&self, mode: InputMode) -> Needs {
        match (mode, self.wants.frames) {
            (InputMode::Text, _) | (_, 0) => Needs::Nothing,
            (InputMode::Video, count) => Needs::Frames {
                count,
                sampling: if self.wants.consecutive { Sampling::Consecutive } else { Sampling::Uniform },
            },
        }
    }

    fn generate(
        &mut self,
        chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        let shared = Arc::clone(&self.shared);
        let mut run = shared.run.lock();
        self.chunk(&mut run, &chunk, emit).map_err(|error| {
            // What the plugin says itself leaves it as it was; after anything else nothing can be relied on.
            if !matches!(error, RequestError::Failed { .. } | RequestError::Frames(_)) {
                run.live = None;
            }
            let text = shared.text(&error);
            match error {
                RequestError::Failed { code, .. } if code == OUT_OF_MEMORY => {
                    GenerateError::OutOfMemory(text)
                }
                _ => GenerateError::Failed(text),
            }
        })
    }

    fn frame_rate(&self, mode: InputMode) -> Option<f64> {
        self.wants.frame_rate.filter(|_| mode == InputMode::Text)
    }

    fn reset(&mut self) {
        self.reset = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Self { session, incarnation, .. } = *self;
        self.shared.ended.lock().push(Ended { incarnation, session });
        // Another session's chunk is not waited for: whoever works with the process next tells it.
        if let Some(mut run) = self.shared.run.try_lock() {
            run.tell_ended(&self.shared);
        }
    }
}
