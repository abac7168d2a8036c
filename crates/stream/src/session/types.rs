//! What goes into a session, and what comes out of it besides pictures.

use crate::counters::DropTotals;
use crate::graph::{Graph, GraphError};
use crate::runner::EffortReport;
use crate::score::{Score, ScoreError};
use scope_pipelines::{AssetLoader, InputMode, ParameterError};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Who a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// A WebRTC client.
    Webrtc,
    /// The server itself, on behalf of a tool.
    Headless,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// No picture yet.
    Waiting,
    /// Pictures come out.
    Live,
    /// Held by the client.
    Paused,
    /// Its pipeline is being replaced.
    Parked,
    /// Over.
    Stopping,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked for it.
    Requested,
    /// Something went wrong: a machine-readable code and a text for people.
    Failed {
        /// One of the codes in `docs/protocol.md`.
        code: String,
        /// What happened and what to do.
        message: String,
    },
}

/// Something that a session's client should know.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    /// It stands elsewhere now.
    State(SessionState),
    /// Parameters changed by somebody else: another tool, or a node of the graph.
    ParametersUpdated(Map<String, Value>),
    /// A change waits for a beat, for so long.
    ChangeScheduled(Duration),
    /// The change that waited has been applied.
    ChangeApplied,
    /// Changes of the score that is played were made.
    Score {
        /// The first frame that shows them, counted from the score's beginning.
        frame: u64,
        /// How many.
        made: usize,
        /// How many are to come.
        left: usize,
    },
    /// Something failed, and the session goes on.
    Error {
        /// Machine-readable code.
        code: String,
        /// For people.
        message: String,
        /// The parameters concerned.
        parameters: Vec<ParameterError>,
    },
    /// Something works less well than asked for.
    Warning {
        /// Machine-readable code.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// It is over. The last event.
    Stopped(StopReason),
}

/// What a session is started with.
pub struct SessionSpec {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub kind: SessionKind,
    /// What it runs.
    pub graph: Graph,
    /// What drives it. A graph without sources always runs freely.
    pub mode: InputMode,
    /// Parameters from the start, unchecked.
    pub parameters: Map<String, Value>,
    /// What is played from the first frame on.
    pub score: Option<Score>,
    /// Resolves files named in parameters.
    pub assets: Arc<dyn AssetLoader + Send + Sync>,
    /// Where recordings go.
    pub recordings_dir: std::path::PathBuf,
}

/// Why a session could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The graph is wrong.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A pipeline is not loaded.
    #[error(transparent)]
    NotLoaded(#[from] crate::LeaseError),
    /// The score cannot be played.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A source's file cannot be read.
    #[error("source {node:?}: {problem}")]
    Source {
        /// The node.
        node: String,
        /// What is wrong.
        problem: String,
    },
}

impl SessionError {
    /// The machine-readable code clients see.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Graph(_) | Self::Source { .. } => "invalid_graph",
            Self::NotLoaded(_) => "pipeline_unloaded",
            Self::Score(_) => "invalid_score",
            Self::Thread(_) => "internal",
        }
    }
}

/// A source that a client's track can feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// The node's id.
    pub node_id: String,
    /// What [`Session::push_input`](super::Session::push_input) takes.
    pub index: usize,
}

/// The numbers of a session, as clients see them. The transport adds its own.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Metrics {
    pub fps_in: f64,
    pub fps_generated: f64,
    pub fps_out: f64,
    pub chunk_ms: f64,
    pub chunk_frames: usize,
    pub queue_frames: usize,
    pub frames_in: u64,
    pub frames_out: u64,
    pub drops: DropTotals,
    pub elapsed_seconds: f64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub recording: bool,
    /// How much effort the last pipeline that has a choice makes.
    pub effort: Option<EffortReport>,
}

/// What became of a message.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Number of the update: frames that show it carry at least this
    /// [`Frame::revision`](scope_frame::Frame::revision).
    pub revision: u64,
    /// The sender's name for it.
    pub id: Option<String>,
    /// What was refused or changed.
    pub problems: Vec<ParameterError>,
    /// What was taken.
    pub parameters: Map<String, Value>,
}
