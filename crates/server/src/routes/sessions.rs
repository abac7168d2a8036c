//! Running sessions: lists, parameters, numbers, pictures; and the session of the server itself.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiPath, ApiQuery, ApiResult};
use crate::service::blocking;
use crate::sessions::{self, HEADLESS};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use scope_stream::graph::NodeType;
use scope_stream::score::{MAX_BYTES, Score};
use scope_stream::{LoadRequest, Session, SessionKind, StatusKind, StopReason};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How long a headless start waits for its pipelines.
const LOAD_PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(end))
        .routes(routes!(stop))
        .routes(routes!(parameters, set_parameters))
        .routes(routes!(metrics))
        .routes(routes!(frame))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(start))
                .routes(routes!(score, play, end_score))
                .layer(DefaultBodyLimit::max(MAX_BYTES)),
        )
}

/// Lists the sessions, oldest first.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", responses((status = 200, body = Value)))]
async fn list(State(service): State<Arc<Service>>) -> Json<Value> {
    let sessions: Vec<_> = service.sessions.all().iter().map(|session| sessions::describe(session)).collect();
    Json(json!({"sessions": sessions}))
}

/// Ends a session; also when there is none of this id.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204)))]
async fn end(State(service): State<Arc<Service>>, ApiPath(id): ApiPath<String>) -> StatusCode {
    service.end_session(&id, StopReason::Requested).await;
    StatusCode::NO_CONTENT
}

fn session(service: &Service, id: &str) -> ApiResult<Arc<Session>> {
    service.sessions.get(id).ok_or_else(|| ApiError::not_found(format!("there is no session {id:?}")))
}

/// What a session has been told since its pipeline began, as a score: each change with the frame that it came with.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/score", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404)))]
async fn score(State(service): State<Arc<Service>>, ApiPath(id): ApiPath<String>) -> ApiResult<Json<Score>> {
    let session = session(&service, &id)?;
    let score = blocking(move || session.score()).await?;
    score.map(Json).ok_or_else(|| ApiError::not_found("the session has no pipeline"))
}

/// Plays a score from the next chunk on, in place of what is being played.
#[utoipa::path(put, path = "/api/v1/sessions/{id}/score", tag = "sessions", request_body = Object,
    params(("id" = String, Path)), responses((status = 200, body = Value), (status = 400), (status = 404)))]
async fn play(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
    ApiJson(score): ApiJson<Value>,
) -> ApiResult<Json<Value>> {
    let session = session(&service, &id)?;
    let score = Score::from_value(score).and_then(|score| session.play(&score));
    let changes = score.map_err(|error| sessions::bad_score(&error))?;
    Ok(Json(json!({"changes": changes})))
}

/// Makes no more changes of the score that is being played.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}/score", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204), (status = 404)))]
async fn end_score(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<StatusCode> {
    session(&service, &id)?.end_score();
    Ok(StatusCode::NO_CONTENT)
}

/// A session without a peer.
#[derive(Debug, Deserialize, ToSchema)]
struct StartBody {
    /// Either this or `graph`.
    pipeline_id: Option<String>,
    /// `text` unless told.
    input_mode: Option<String>,
    #[schema(value_type = Option<Vec<Object>>)]
    prompts: Option<Value>,
    #[schema(value_type = Option<Object>)]
    graph: Option<Value>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    /// A score that is played from the first frame on.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    score: Option<Value>,
    /// Parameters for single nodes, by node id.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    node_parameters: Option<Map<String, Value>>,
}

impl StartBody {
    fn initial_parameters(&self) -> ApiResult<Map<String, Value>> {
        let mut initial = self.parameters.clone().unwrap_or_default();
        match (&self.graph, &self.pipeline_id) {
            (Some(graph), _) => initial.insert("graph".into(), graph.clone()),
            (None, Some(id)) => initial.insert("pipeline_ids".into(), json!([id])),
            (None, None) => {
                let msg = "Value error, give pipeline_id or graph";
                return Err(ApiError::invalid("value_error", vec!["body".into()], msg, Value::Null));
            }
        };
        initial.insert("input_mode".into(), json!(self.input_mode.as_deref().unwrap_or("text")));
        if let Some(score) = &self.score {
            initial.insert("score".into(), score.clone());
        }
        if let Some(prompts) = &self.prompts {
            initial.insert("prompts".into(), prompts.clone());
        }
        Ok(initial)
    }
}

/// Loads what is needed, waits for it, and starts the session of the server itself; one that runs is replaced.
#[utoipa::path(post, path = "/api/v1/session/start", tag = "sessions", request_body = StartBody,
    responses((status = 200, body = Value), (status = 400), (status = 422)))]
async fn start(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<StartBody>,
) -> ApiResult<Json<Value>> {
    let request = service.start_request(body.initial_parameters()?)?;
    let graph = request.graph.clone();
    let invalid =
        |error: scope_stream::GraphError| ApiError::bad_request(error.to_string()).with_code("invalid_graph");
    let plan = graph.compile(service.models.registry()).map_err(invalid)?;
    let needed = plan.pipelines.into_iter().map(|node| LoadRequest {
        node_id: node.id,
        pipeline_id: node.pipeline_id,
        params: scope_pipelines::LoadParams::default(),
    });
    service.end_session(HEADLESS, StopReason::Requested).await;
    ensure_loaded(&service, needed.collect()).await?;
    let (mode, recording) = (request.mode, request.recording);
    let session = service.start_session(HEADLESS.into(), SessionKind::Headless, request).await?;
    if recording && let Some(bus) = session.recording_bus(None) {
        let started = session.recordings().start(None, bus, None);
        started.map_err(|error| ApiError::internal("the recording cannot be started", &error))?;
    }
    for (node, values) in body.node_parameters.unwrap_or_default() {
        if let Value::Object(mut values) = values {
            values.insert("node_id".into(), node.into());
            session.apply(values, false);
        }
    }
    let mut reply = json!({"status": "ok", "input_mode": mode, "cloud_mode": false});
    if body.graph.is_some() {
        reply["graph"] = json!(true);
        reply["pipeline_ids"] = json!(graph.pipeline_ids());
        reply["sink_node_ids"] = json!(sessions::ids_of(&graph, NodeType::Sink));
        reply["source_node_ids"] = json!(sessions::ids_of(&graph, NodeType::Source));
    } else {
        reply["pipeline_id"] = json!(body.pipeline_id);
    }
    Ok(Json(reply))
}

/// Loads `needed` unless all of it can be borrowed already, whatever its parameters.
async fn ensure_loaded(service: &Service, needed: Vec<LoadRequest>) -> ApiResult<()> {
    let there = |request: &LoadRequest| service.models.lease(&request.node_id, &request.pipeline_id).is_ok();
    if needed.iter().all(there) {
        return Ok(());
    }
    let models = Arc::clone(&service.models);
    models.load(needed)?;
    let waiting = Arc::clone(&models);
    let done = blocking(move || waiting.wait_settled(LOAD_PATIENCE)).await?;
    let status = models.status();
    match status.status {
        StatusKind::Error => {
            let detail = status.error.unwrap_or_else(|| "the pipeline could not be loaded".into());
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, detail).with_code("load_failed"))
        }
        _ if !done => Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "the pipeline is still loading")),
        _ => Ok(()),
    }
}

/// Ends the session of the server itself.
#[utoipa::path(post, path = "/api/v1/session/stop", tag = "sessions",
    responses((status = 200, body = Value), (status = 404)))]
async fn stop(State(service): State<Arc<Service>>) -> ApiResult<Json<Value>> {
    if service.end_session(HEADLESS, StopReason::Requested).await {
        return Ok(Json(json!({"status": "ok", "message": "The session has ended"})));
    }
    Err(ApiError::not_found("no headless session is running"))
}

/// The session that single-session routes mean: the server's own, or else the oldest.
fn first(service: &Service) -> ApiResult<Arc<Session>> {
    let found = service.sessions.get(HEADLESS).or_else(|| service.sessions.all().into_iter().next());
    found.ok_or_else(|| ApiError::not_found("no session is running"))
}

/// The parameters that hold now.
#[utoipa::path(get, path = "/api/v1/session/parameters", tag = "sessions",
    responses((status = 200, body = Value), (status = 404)))]
async fn parameters(State(service): State<Arc<Service>>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"parameters": first(&service)?.parameters()})))
}

/// Changes parameters of all sessions. What one key gets wrong does not affect the others.
#[utoipa::path(post, path = "/api/v1/session/parameters", tag = "sessions", request_body = Object,
    responses((status = 200, body = Value), (status = 400), (status = 404), (status = 422)))]
async fn set_parameters(
    State(service): State<Arc<Service>>,
    ApiJson(message): ApiJson<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    if message.is_empty() {
        return Err(ApiError::bad_request("name at least one parameter").with_code("invalid_parameters"));
    }
    first(&service)?;
    let (mut taken, mut problems) = (Map::new(), Vec::new());
    for session in service.sessions.all() {
        let applied = session.apply(message.clone(), true);
        taken.extend(applied.parameters);
        problems.extend(applied.problems.into_iter().filter(|it| !problems.contains(it)).collect::<Vec<_>>());
    }
    if taken.is_empty() && !problems.is_empty() {
        return Err(all_refused(&message, &problems));
    }
    Ok(Json(json!({"status": "ok", "applied_parameters": taken, "problems": problems})))
}

fn all_refused(message: &Map<String, Value>, problems: &[scope_pipelines::ParameterError]) -> ApiError {
    let problem = |it: &scope_pipelines::ParameterError| json!({"type": "value_error", "loc": ["body", it.key], "msg": it.message, "input": message.get(&it.key)});
    let mut error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "").with_code("invalid_parameters");
    error.detail = problems.iter().map(problem).collect();
    error
}

/// Numbers of all sessions.
#[utoipa::path(get, path = "/api/v1/session/metrics", tag = "sessions",
    responses((status = 200, body = Value), (status = 404)))]
async fn metrics(State(service): State<Arc<Service>>) -> ApiResult<Json<Value>> {
    first(&service)?;
    let sessions: Map<_, _> = service
        .sessions
        .all()
        .iter()
        .map(|session| (session.id().to_owned(), sessions::stats(session)))
        .collect();
    Ok(Json(json!({"sessions": sessions, "gpu": {}})))
}

/// The newest picture, as JPEG.
#[utoipa::path(get, path = "/api/v1/session/frame", tag = "sessions",
    params(("quality" = Option<u64>, Query, description = "1 to 100; 85 unless told"),
        ("sink_node_id" = Option<String>, Query, description = "The first sink unless told"),
        ("session_id" = Option<String>, Query, description = "The first session with a picture unless told")),
    responses((status = 200, content_type = "image/jpeg", body = String), (status = 404)))]
async fn frame(State(service): State<Arc<Service>>, query: ApiQuery) -> ApiResult<impl IntoResponse> {
    let quality = u8::try_from(query.integer("quality", 85, 1..=100)?).unwrap_or(85);
    let wanted = |session: &Arc<Session>| query.text("session_id").is_none_or(|id| session.id() == id);
    let sink = query.text("sink_node_id");
    let newest = service.sessions.all().iter().filter(|it| wanted(it)).find_map(|it| it.last_frame(sink));
    let frame = newest.ok_or_else(|| ApiError::not_found("no session has a picture to show"))?;
    let jpeg = blocking(move || scope_media::still::encode_jpeg(&frame.image, quality)).await?;
    let jpeg = jpeg.map_err(|error| ApiError::internal("the picture could not be encoded", &error))?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], jpeg))
}
