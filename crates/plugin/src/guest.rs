//! The side of the plugin.

use crate::frames::{FrameError, Input, Output as OutputFrames};
use crate::protocol::{Done, Generate, GuestMessage, HostMessage, VERSION};
use crate::wire::{self, WireError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{Read, Write};

pub use crate::protocol::{Mode, Needs};

/// A program with pipelines.
pub trait Plugin {
    /// Its name.
    fn name(&self) -> &str;

    /// Its version.
    fn version(&self) -> &str;

    /// The schema of each of its pipelines: keys as in `GET /api/v1/pipelines/schemas`, of which only `id` must be there.
    fn pipelines(&self) -> Vec<Value>;

    /// Makes a pipeline ready; `progress` is told what is going on, in a few words for the user.
    ///
    /// # Errors
    /// A [`Failure`] for the user.
    fn load(
        &mut self,
        pipeline: &str,
        parameters: &Map<String, Value>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Box<dyn Loaded>, Failure>;
}

/// What loading yields: everything that sessions share.
pub trait Loaded {
    /// A session with fresh state.
    ///
    /// # Errors
    /// A [`Failure`] for the user.
    fn start(&mut self) -> Result<Box<dyn Session>, Failure>;
}

/// One session's run.
pub trait Session {
    /// What the next chunk waits for.
    fn needs(&self) -> Needs;

    /// Works on a chunk; every picture is on its way to the viewer as soon as it is handed to `output`.
    ///
    /// # Errors
    /// A [`Failure`]; the next chunk is tried.
    fn generate(&mut self, chunk: &Chunk, output: &mut Output<'_>) -> Result<Report, Failure>;
}

/// Why a request failed, for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// A word for programs: `out_of_memory` ends the session, anything else does not.
    pub code: String,
    /// What happened, to what, and what to do about it.
    pub message: String,
}

impl Failure {
    /// A failure after which the next chunk is tried.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: "pipeline_failed".into(), message: message.into() }
    }

    /// Memory ran out.
    pub fn out_of_memory(message: impl Into<String>) -> Self {
        Self { code: "out_of_memory".into(), message: message.into() }
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::new(error.to_string())
    }
}

/// Why [`serve`] ended before the host asked for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The conversation broke.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The host speaks another version.
    #[error("the host speaks version {0} of the protocol; this plugin speaks version {VERSION}")]
    Version(u32),
    /// The host asked for something at the wrong time.
    #[error("the host said {0} at the wrong time")]
    Order(&'static str),
    /// The files of pictures can't be opened.
    #[error(transparent)]
    Frames(#[from] FrameError),
}

/// A picture: packed 8-bit RGB rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// When it was captured, in microseconds on the host's clock.
    pub captured_at_us: u64,
    /// Three bytes a pixel.
    pub pixels: Vec<u8>,
}

/// A chunk's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Number of the chunk in its session, from 1.
    pub index: u64,
    /// What drives it.
    pub mode: Mode,
    /// Temporal state is to be forgotten first.
    pub reset: bool,
    /// Run-time parameters.
    pub parameters: Map<String, Value>,
    inputs: BTreeMap<String, Vec<Picture>>,
}

impl Chunk {
    /// The pictures on an input port, oldest first.
    #[must_use]
    pub fn pictures(&self, port: &str) -> &[Picture] {
        self.inputs.get(port).map_or(&[], Vec::as_slice)
    }
}

/// What a chunk tells about itself beyond its pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Parameters that could not be used, each with the reason.
    pub problems: BTreeMap<String, String>,
}

/// Takes what a chunk makes.
pub struct Output<'a> {
    link: &'a mut dyn Link,
    files: &'a Files,
    free: &'a mut Vec<u32>,
    /// The conversation broke while a picture was handed out.
    broken: Option<ServeError>,
}

impl Output<'_> {
    /// Hands out a picture. `source` is the picture of the chunk's first input port that it derives from, counted from 0. Waits
    /// while the host has not read earlier ones.
    ///
    /// # Errors
    /// When the picture can't be passed on.
    pub fn picture(
        &mut self,
        port: &str,
        width: u32,
        height: u32,
        pixels: &[u8],
        source: Option<usize>,
    ) -> Result<(), Failure> {
        let slot = self.place()?;
        let sent = self.files.output.write(slot, width, height, pixels);
        if let Err(error) = sent {
            self.free.push(slot);
            return Err(error.into());
        }
        let port = port.to_owned();
        self.say(&GuestMessage::Frame { port, slot, width, height, source })
    }

    /// Hands out a value on a port that carries no pictures.
    ///
    /// # Errors
    /// When the conversation broke.
    pub fn value(&mut self, port: &str, value: Value) -> Result<(), Failure> {
        self.say(&GuestMessage::Value { port: port.to_owned(), value })
    }

    fn place(&mut self) -> Result<u32, Failure> {
        loop {
            if let Some(slot) = self.free.pop() {
                return Ok(slot);
            }
            match self.link.next() {
                Ok(Some(HostMessage::Taken { slot })) => self.free.push(slot),
                Ok(Some(other)) => return Err(self.end(ServeError::Order(name(&other)))),
                Ok(None) => return Err(self.end(ServeError::Order("nothing more"))),
                Err(error) => return Err(self.end(error.into())),
            }
        }
    }

    fn say(&mut self, message: &GuestMessage) -> Result<(), Failure> {
        self.link.say(message).map_err(|error| self.end(error.into()))
    }

    fn end(&mut self, error: ServeError) -> Failure {
        let failure = Failure::new(error.to_string());
        self.broken = Some(error);
        failure
    }
}

/// Both directions of the conversation.
trait Link {
    fn next(&mut self) -> Result<Option<HostMessage>, WireError>;
    fn say(&mut self, message: &GuestMessage) -> Result<(), WireError>;
}

struct Pipes<R, W>(R, W);

impl<R: Read, W: Write> Link for Pipes<R, W> {
    fn next(&mut self) -> Result<Option<HostMessage>, WireError> {
        wire::read(&mut self.0)
    }

    fn say(&mut self, message: &GuestMessage) -> Result<(), WireError> {
        wire::write(&mut self.1, message)
    }
}

struct Files {
    input: Input,
    output: OutputFrames,
}

/// A pipeline that is ready.
struct Running {
    loaded: Box<dyn Loaded>,
    files: Files,
    free: Vec<u32>,
    sessions: BTreeMap<u64, Box<dyn Session>>,
}

/// Runs a plugin over the process's standard input and output until the host has had enough. Nothing else may be written to
/// the standard output; what is written to the standard error becomes lines of the host's log.
///
/// # Errors
/// [`ServeError`].
pub fn serve(plugin: impl Plugin) -> Result<(), ServeError> {
    serve_on(plugin, std::io::stdin().lock(), std::io::stdout().lock())
}

/// As [`serve`], over other pipes.
///
/// # Errors
/// [`ServeError`].
pub fn serve_on(mut plugin: impl Plugin, from: impl Read, to: impl Write) -> Result<(), ServeError> {
    let mut link = Pipes(from, to);
    let mut running: Option<Running> = None;
    while let Some(message) = link.next()? {
        let order = Err(ServeError::Order(name(&message)));
        match (message, &mut running) {
            (HostMessage::Bye, _) => break,
            (HostMessage::Hello { protocol, .. }, None) => {
                if protocol != VERSION {
                    return Err(ServeError::Version(protocol));
                }
                link.say(&GuestMessage::Hello {
                    protocol: VERSION,
                    name: plugin.name().to_owned(),
                    version: plugin.version().to_owned(),
                    pipelines: plugin.pipelines(),
                })?;
            }
            (HostMessage::Load { pipeline, parameters, input, output }, None) => {
                let mut told = Ok(());
                let mut progress = |text: &str| {
                    if told.is_ok() {
                        told = link.say(&GuestMessage::Progress { text: text.to_owned() });
                    }
                };
                let loaded = plugin.load(&pipeline, &parameters, &mut progress);
                told?;
                match loaded {
                    Ok(loaded) => {
                        let files =
                            Files { input: Input::open(&input)?, output: OutputFrames::open(&output)? };
                        let free = (0..files.output.slots()).collect();
                        running = Some(Running { loaded, files, free, sessions: BTreeMap::new() });
                        link.say(&GuestMessage::Loaded)?;
                    }
                    Err(failure) => link.say(&failed(failure))?,
                }
            }
            (HostMessage::Start { session }, Some(running)) => {
                let answer = match running.loaded.start() {
                    Ok(started) => {
                        let needs = started.needs();
                        running.sessions.insert(session, started);
                        GuestMessage::Started { needs }
                    }
                    Err(failure) => failed(failure),
                };
                link.say(&answer)?;
            }
            (HostMessage::Generate(request), Some(running)) => {
                let answer = running.generate(request, &mut link)?;
                link.say(&answer)?;
            }
            (HostMessage::Taken { slot }, Some(running)) => running.free.push(slot),
            (HostMessage::Stop { session }, Some(running)) => _ = running.sessions.remove(&session),
            _ => return order,
        }
    }
    Ok(())
}

impl Running {
    fn generate(&mut self, request: Generate, link: &mut dyn Link) -> Result<GuestMessage, ServeError> {
        let Some(session) = self.sessions.get_mut(&request.session) else {
            return Ok(failed(Failure::new(format!("session {} was never started", request.session))));
        };
        let mut inputs = BTreeMap::new();
        for (port, pictures) in request.inputs {
            let read = |picture| -> Result<Picture, FrameError> {
                let pixels = self.files.input.read(&picture)?;
                let crate::protocol::InputPicture { width, height, captured_at_us, .. } = picture;
                Ok(Picture { width, height, captured_at_us, pixels })
            };
            inputs.insert(port, pictures.into_iter().map(read).collect::<Result<_, _>>()?);
        }
        let chunk = Chunk {
            index: request.chunk,
            mode: request.mode,
            reset: request.reset,
            parameters: request.parameters,
            inputs,
        };
        let before = session.needs();
        let mut output = Output { link, files: &self.files, free: &mut self.free, broken: None };
        let outcome = session.generate(&chunk, &mut output);
        if let Some(error) = output.broken {
            return Err(error);
        }
        Ok(match outcome {
            Ok(report) => {
                let needs = session.needs();
                let needs = (needs != before).then_some(needs);
                GuestMessage::Done(Done { problems: report.problems, needs })
            }
            Err(failure) => failed(failure),
        })
    }
}

fn failed(failure: Failure) -> GuestMessage {
    GuestMessage::Failed { code: failure.code, message: failure.message }
}

fn name(message: &HostMessage) -> &'static str {
    match message {
        HostMessage::Hello { .. } => "hello",
        HostMessage::Load { .. } => "load",
        HostMessage::Start { .. } => "start",
        HostMessage::Generate(_) => "generate",
        HostMessage::Taken { .. } => "taken",
        HostMessage::Stop { .. } => "stop",
        HostMessage::Bye => "bye",
    }
}
