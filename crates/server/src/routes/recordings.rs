//! Recordings of running sessions.

use crate::Service;
use crate::assets;
use crate::http::{ApiError, ApiPath, ApiQuery, ApiResult};
use crate::kept;
use crate::service::blocking;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Json, Response};
use scope_stream::{Keep, RecordingError, Session};
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(start)).routes(routes!(stop)).routes(routes!(download))
}

/// What is recorded: a session's first sink, or one of its record nodes.
struct Subject {
    session: Arc<Session>,
    node: Option<String>,
}

impl Subject {
    /// With record nodes in the graph one must be named; without, none may be.
    fn find(service: &Service, id: &str, query: &ApiQuery) -> ApiResult<Self> {
        let session = service
            .sessions
            .get(id)
            .ok_or_else(|| ApiError::not_found(format!("no session {id:?} is running")))?;
        let node = query.text("node_id").map(str::to_owned);
        let records = session.record_ids();
        let problem = match &node {
            None if records.is_empty() => None,
            None => Some(format!("name one of the record nodes in node_id: {}", records.join(", "))),
            Some(_) if records.is_empty() => {
                Some("the session's graph has no record nodes; leave node_id out".into())
            }
            Some(node) if records.contains(&node.as_str()) => None,
            Some(node) => {
                Some(format!("there is no record node {node:?}; these are: {}", records.join(", ")))
            }
        };
        problem.map_or_else(|| Ok(Self { session, node }), |detail| Err(ApiError::bad_request(detail)))
    }

    fn start(&self, keep: Option<Keep>) -> Result<bool, RecordingError> {
        let node = self.node.as_deref();
        // `find` made sure of the node.
        let Some(bus) = self.session.recording_bus(node) else { return Ok(false) };
        self.session.recordings().start(node, bus, keep)
    }

    /// Completes the newest file. A session's own recording goes on in a new one.
    fn finish(&self) -> Result<Option<PathBuf>, RecordingError> {
        let recordings = self.session.recordings();
        let (running, keep) =
            (recordings.is_running(self.node.as_deref()), recordings.kept(self.node.as_deref()));
        let finished = recordings.finish(self.node.as_deref())?;
        if running && self.node.is_none() {
            self.start(keep)?;
        }
        Ok(finished)
    }
}

/// `true`, `false` or nothing.
fn wants_to_keep(query: &ApiQuery) -> ApiResult<bool> {
    match query.text("keep") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ApiError::bad_request(format!("keep is true or false, not {other:?}"))),
    }
}

fn failed(error: &RecordingError) -> ApiError {
    ApiError::internal("the recording failed", error)
}

/// Starts to record. With `keep`, the file goes to the assets, folder `recordings`, when the recording or its session
/// ends in whatever way; without, it goes with its session.
#[utoipa::path(post, path = "/api/v1/recordings/{session_id}/start", tag = "recordings",
    params(("session_id" = String, Path, description = "An id, or `headless`"),
        ("node_id" = Option<String>, Query, description = "A record node, where the graph has any"),
        ("keep" = Option<bool>, Query, description = "Whether the file stays when its session ends")),
    responses((status = 200, body = Value), (status = 400), (status = 404)))]
async fn start(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
    query: ApiQuery,
) -> ApiResult<Json<Value>> {
    let subject = Subject::find(&service, &id, &query)?;
    let keep = wants_to_keep(&query)?.then(|| kept::keep(&service.assets, "scope"));
    let started = blocking(move || subject.start(keep)).await?.map_err(|error| failed(&error))?;
    Ok(Json(json!({"status": if started { "started" } else { "already_recording" }})))
}

/// Stops recording. The file stays until the session ends, or longer: `asset` is the entry of one that is kept.
#[utoipa::path(post, path = "/api/v1/recordings/{session_id}/stop", tag = "recordings",
    params(("session_id" = String, Path, description = "An id, or `headless`"),
        ("node_id" = Option<String>, Query, description = "A record node, where the graph has any")),
    responses((status = 200, body = Value), (status = 400), (status = 404)))]
async fn stop(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
    query: ApiQuery,
) -> ApiResult<Json<Value>> {
    let Subject { session, node } = Subject::find(&service, &id, &query)?;
    let stopped = blocking(move || {
        let running = session.recordings().is_running(node.as_deref());
        let file = session.recordings().stop(node.as_deref())?;
        Ok((running, file.and_then(|file| service.assets.entry(&file))))
    });
    let (running, asset) = stopped.await?.map_err(|error| failed(&error))?;
    Ok(Json(json!({"status": if running { "stopped" } else { "not_recording" }, "asset": asset})))
}

/// Sends the newest recording; one that is going on is completed first.
#[utoipa::path(get, path = "/api/v1/recordings/{session_id}", tag = "recordings",
    params(("session_id" = String, Path, description = "An id, or `headless`"),
        ("node_id" = Option<String>, Query, description = "A record node, where the graph has any")),
    responses((status = 200, content_type = "video/mp4", body = String), (status = 400), (status = 404)))]
async fn download(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
    query: ApiQuery,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let subject = Subject::find(&service, &id, &query)?;
    let name = file_name(subject.node.as_deref());
    let finished = blocking(move || subject.finish()).await?.map_err(|error| failed(&error))?;
    let path = finished.ok_or_else(|| ApiError::not_found("nothing was recorded"))?;
    let opened = blocking(move || File::open(&path).map(|file| (file, path))).await?;
    let (file, path) = opened.map_err(|_| ApiError::not_found("the recording is gone"))?;
    let mut response = assets::send(file, &path, &headers).await?;
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// `recording[-node]-DATE_TIME.mp4`, in letters that every system takes.
fn file_name(node: Option<&str>) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let node =
        node.map(|node| format!("-{}", node.chars().map(safe).collect::<String>())).unwrap_or_default();
    format!("recording{node}-{}.mp4", jiff::Zoned::now().strftime("%Y%m%d_%H%M%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_cannot_break_out_of_their_header() {
        assert!(file_name(Some("a\"/..\r\nb")).starts_with("recording-a______b-"));
        assert!(file_name(None).starts_with("recording-2"));
    }
}
