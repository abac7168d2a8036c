//! The sessions that run, and how one begins and ends.

use crate::Service;
use crate::http::{ApiError, ApiResult};
use crate::service::blocking;
use axum::http::StatusCode;
use parking_lot::Mutex;
use scope_pipelines::{AssetLoader, InputMode, Registry};
use scope_stream::graph::{NodeType, VIDEO_PORT};
use scope_stream::score::{Score, ScoreError};
use scope_stream::{
    Graph, Session, SessionError, SessionEvent, SessionKind, SessionSpec, StatusKind, StopReason,
};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Weak};
use std::time::UNIX_EPOCH;
use tokio::sync::broadcast::error::RecvError;

/// Id of the one session that belongs to the server itself.
pub const HEADLESS: &str = "headless";

/// All running sessions, oldest first.
#[derive(Default)]
pub struct Sessions(Mutex<Vec<Arc<Session>>>);

impl Sessions {
    /// The session with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.0.lock().iter().find(|session| session.id() == id).cloned()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.0.lock().clone()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    fn insert(&self, session: Arc<Session>, max: usize) -> Result<(), Arc<Session>> {
        let mut sessions = self.0.lock();
        if sessions.len() >= max || sessions.iter().any(|other| other.id() == session.id()) {
            return Err(session);
        }
        sessions.push(session);
        Ok(())
    }

    fn take(&self, id: &str) -> Option<Arc<Session>> {
        let mut sessions = self.0.lock();
        let index = sessions.iter().position(|session| session.id() == id)?;
        Some(sessions.remove(index))
    }

    /// Takes this very session; another may have its id by now.
    fn take_same(&self, wanted: &Weak<Session>) -> Option<Arc<Session>> {
        let mut sessions = self.0.lock();
        let index =
            sessions.iter().position(|session| std::ptr::eq(Arc::as_ptr(session), wanted.as_ptr()))?;
        Some(sessions.remove(index))
    }
}

/// What a client wants a session to be.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// What it runs.
    pub graph: Graph,
    /// What drives it.
    pub mode: InputMode,
    /// Its parameters, without the keys that describe the start.
    pub parameters: Map<String, Value>,
    /// Whether to record from the start.
    pub recording: bool,
    /// Which source node each of the client's video tracks feeds.
    pub source_track_order: Option<Vec<String>>,
    /// What is played from the first frame on.
    pub score: Option<Score>,
}

impl StartRequest {
    /// Reads a client's initial parameters. Without a graph the pipelines it names form a chain, or else those that are
    /// `loaded`.
    ///
    /// # Errors
    /// 400 for a graph that is none, or when there is nothing to run.
    pub fn new(
        mut parameters: Map<String, Value>,
        registry: &Registry,
        loaded: &[String],
    ) -> ApiResult<Self> {
        let mut take = |key: &str| parameters.remove(key).filter(|value| !value.is_null());
        let (graph, ids) = (take("graph"), take("pipeline_ids"));
        let recording = take("recording").and_then(|value| value.as_bool()).unwrap_or(false);
        let score = take("score").map(Score::from_value).transpose();
        let score = score.map_err(|error| bad_score(&error))?;
        let texts = |value: Value| -> Option<Vec<String>> { serde_json::from_value(value).ok() };
        let source_track_order = take("source_track_order").and_then(texts);
        let mut mode: Option<InputMode> =
            take("input_mode").and_then(|value| serde_json::from_value(value).ok());
        for ignored in ["produces_video", "produces_audio"] {
            take(ignored);
        }
        let graph = match graph {
            Some(graph) => serde_json::from_value(graph).map_err(|error| {
                ApiError::bad_request(format!("the graph cannot be read: {error}")).with_code("invalid_graph")
            })?,
            None => {
                let ids =
                    ids.and_then(texts).filter(|ids| !ids.is_empty()).unwrap_or_else(|| loaded.to_vec());
                if ids.is_empty() {
                    return Err(not_loaded("Pipeline not loaded. Please load pipeline first."));
                }
                // A client that says nothing means text, unless the pipeline can do nothing without video.
                let first = registry.get(&ids[0]).map(|pipeline| pipeline.schema());
                let needs_video = first.is_some_and(|it| !it.supported_modes.contains(&InputMode::Text));
                if needs_video {
                    mode.get_or_insert(InputMode::Video);
                }
                let port = first_port(&parameters, registry, &ids[0]);
                Graph::linear(ids.iter().map(String::as_str), mode == Some(InputMode::Video), port)
            }
        };
        let mode = mode.unwrap_or_default();
        Ok(Self { graph, mode, parameters, recording, source_track_order, score })
    }
}

/// 400: the score cannot be played.
pub(crate) fn bad_score(error: &ScoreError) -> ApiError {
    ApiError::bad_request(error.to_string()).with_code("invalid_score")
}

/// Where the input of an implicit chain goes.
fn first_port(parameters: &Map<String, Value>, registry: &Registry, first: &str) -> &'static str {
    let on = |key: &str| parameters.get(key).and_then(Value::as_bool);
    let controls = on("vace_enabled") == Some(true) && on("vace_use_input_video").unwrap_or(true);
    let supported = registry.get(first).is_some_and(|pipeline| pipeline.schema().supports_vace);
    if controls && supported { "vace_input_frames" } else { VIDEO_PORT }
}

pub(crate) fn not_loaded(detail: impl Into<String>) -> ApiError {
    ApiError::bad_request(detail).with_code("pipeline_unloaded")
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        match &error {
            SessionError::Thread(cause) => Self::internal("the session could not be started", cause),
            _ => Self::bad_request(error.to_string()).with_code(error.code()),
        }
    }
}

impl Service {
    /// Reads a client's initial parameters against what is loaded now.
    ///
    /// # Errors
    /// As [`StartRequest::new`].
    pub fn start_request(&self, parameters: Map<String, Value>) -> ApiResult<StartRequest> {
        let loaded: Vec<_> = self.models.loaded().into_iter().map(|node| node.pipeline_id).collect();
        StartRequest::new(parameters, self.models.registry(), &loaded)
    }

    /// Starts a session and looks after it until it ends: its end and its failures reach everybody who should know.
    ///
    /// # Errors
    /// 400 when the graph is wrong or its pipelines are not loaded, 503 when there are too many sessions.
    pub async fn start_session(
        self: &Arc<Self>,
        id: String,
        kind: SessionKind,
        request: StartRequest,
    ) -> ApiResult<Arc<Session>> {
        if self.sessions.count() >= self.config.max_sessions {
            return Err(too_many(self.config.max_sessions));
        }
        let spec = SessionSpec {
            id,
            kind,
            graph: request.graph,
            mode: request.mode,
            parameters: request.parameters,
            score: request.score,
            assets: Arc::clone(&self.files) as Arc<dyn AssetLoader + Send + Sync>,
            recordings_dir: self.config.dirs.recordings.clone(),
        };
        let models = Arc::clone(&self.models);
        let session = blocking(move || Session::start(spec, &models)).await??;
        let events = session.events();
        if let Err(session) = self.sessions.insert(Arc::clone(&session), self.config.max_sessions) {
            blocking(move || session.stop(StopReason::Requested)).await?;
            return Err(too_many(self.config.max_sessions));
        }
        self.announce_sessions();
        tokio::spawn(look_after(Arc::clone(self), Arc::downgrade(&session), session.id().to_owned(), events));
        tracing::info!(session = session.id(), "session started: {}", session.pipeline_ids().join(" → "));
        Ok(session)
    }

    /// Ends a session; whether there was one.
    pub async fn end_session(&self, id: &str, reason: StopReason) -> bool {
        let Some(session) = self.sessions.take(id) else { return false };
        self.see_off(session, reason).await;
        true
    }

    /// Ends a session that is in no list any more.
    async fn see_off(&self, session: Arc<Session>, reason: StopReason) {
        tracing::info!(session = session.id(), "session ended");
        // Waits for threads, and so may the last reference.
        blocking(move || session.stop(reason)).await.ok();
        self.announce_sessions();
    }

    /// Ends all sessions, with a reason that their clients can show.
    pub async fn end_all_sessions(&self) {
        let reason = || StopReason::Failed {
            code: "server_stopping".into(),
            message: "the server is stopping".into(),
        };
        let ending = self.sessions.all().into_iter().map(|session| async move {
            self.end_session(session.id(), reason()).await;
            blocking(move || drop(session)).await.ok();
        });
        futures_util::future::join_all(ending).await;
    }

    fn announce_sessions(&self) {
        self.events.send("sessions", json!({"count": self.sessions.count()}));
    }

    /// Tells watching pages about the pipelines, until the server stops.
    pub(crate) async fn watch_models(self: Arc<Self>) {
        let mut changes = self.models.changes();
        // What changed before this task began was told to nobody: a page may already watch.
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            self.events.send("pipeline_status", json!(self.models.status()));
        }
    }

    /// Whether a pipeline is loaded or on its way.
    pub fn has_pipelines(&self) -> bool {
        matches!(self.models.status().status, StatusKind::Loaded | StatusKind::Loading)
    }
}

/// Follows one session's events until its end.
async fn look_after(
    service: Arc<Service>,
    session: Weak<Session>,
    id: String,
    mut events: tokio::sync::broadcast::Receiver<SessionEvent>,
) {
    let tell = |code: &str, message: &str| {
        service.events.send("error", json!({"code": code, "message": message, "session_id": id}));
    };
    loop {
        match events.recv().await {
            Ok(SessionEvent::Error { code, message, .. }) => tell(&code, &message),
            Ok(SessionEvent::Stopped(reason)) => {
                if let StopReason::Failed { code, message } = &reason {
                    tell(code, message);
                    if code != "server_stopping" {
                        service.models.record_error(code, message);
                    }
                }
                if let Some(session) = service.sessions.take_same(&session) {
                    service.see_off(session, reason).await;
                }
                return;
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn too_many(max: usize) -> ApiError {
    let detail = format!("{max} sessions are running, as many as this server accepts; end one first");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_code("session_limit").retry_after(5)
}

/// What is told about a session in lists: the table of `docs/protocol.md`.
pub(crate) fn describe(session: &Session) -> Value {
    let created = session.created_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "id": session.id(),
        "kind": session.kind(),
        "state": session.state(),
        "created_at": created.as_secs_f64(),
        "pipeline_ids": session.pipeline_ids(),
        "stats": stats(session),
    })
}

/// The numbers of a session under the names that existing clients read, and ours.
pub(crate) fn stats(session: &Session) -> Value {
    let metrics = session.metrics();
    let mut stats = json!(metrics);
    stats["pipeline_fps"] = json!(metrics.fps_generated);
    stats["output_sinks"] = json!({});
    stats["input_source_enabled"] = json!(false);
    stats["input_source_type"] = Value::Null;
    stats["relay_mode"] = json!(false);
    if session.kind() == SessionKind::Headless {
        stats["headless"] = json!(true);
    }
    stats
}

/// Ids of the sources and sinks of a graph, as the reply to a headless start names them.
pub(crate) fn ids_of(graph: &Graph, kind: NodeType) -> Vec<&str> {
    graph.nodes.iter().filter(|node| node.kind == kind).map(|node| node.id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(parameters: Value, loaded: &[&str]) -> ApiResult<StartRequest> {
        let Value::Object(parameters) = parameters else { panic!("no object") };
        let loaded: Vec<_> = loaded.iter().map(|id| (*id).to_owned()).collect();
        StartRequest::new(parameters, &Registry::builtin(), &loaded)
    }

    #[test]
    fn clients_that_name_nothing_get_what_is_loaded() {
        let start = request(json!({"prompts": ["x"], "recording": true}), &["testcard"]).unwrap();
        assert_eq!(start.graph.pipeline_ids(), ["testcard"]);
        assert!(start.recording && !start.graph.has_source());
        assert_eq!(Value::Object(start.parameters), json!({"prompts": ["x"]}));
        assert_eq!(request(json!({}), &[]).unwrap_err().code, Some("pipeline_unloaded"));
    }

    #[test]
    fn video_mode_brings_a_source() {
        let start =
            request(json!({"input_mode": "video", "pipeline_ids": ["passthrough"]}), &["testcard"]).unwrap();
        assert_eq!((start.mode, start.graph.has_source()), (InputMode::Video, true));
        assert_eq!(start.graph.pipeline_ids(), ["passthrough"]);
    }

    #[test]
    fn a_pipeline_that_only_takes_video_gets_a_source_unasked() {
        let start = request(json!({}), &["passthrough"]).unwrap();
        assert_eq!((start.mode, start.graph.has_source()), (InputMode::Video, true));
    }

    #[test]
    fn a_graph_wins_and_a_wrong_one_is_named() {
        let graph = json!({"nodes": [{"id": "o", "type": "sink"}], "edges": []});
        let start = request(json!({"graph": graph, "pipeline_ids": ["x"]}), &[]).unwrap();
        assert_eq!(start.graph.nodes.len(), 1);
        let error = request(json!({"graph": {"nodes": [{"type": 3}]}}), &[]).unwrap_err();
        assert_eq!(error.code, Some("invalid_graph"));
    }
}
