//! Signalling: offers, candidates, restarts, ends.

use super::{MAX_CANDIDATES, OfferError, parse_candidate};
use crate::Service;
use crate::http::{ApiError, ApiJson, ApiPath, ApiResult};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use scope_stream::StopReason;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(offer)).routes(routes!(trickle, close)).routes(routes!(restart))
}

#[derive(Debug, Deserialize, ToSchema)]
struct OfferBody {
    sdp: String,
    #[serde(rename = "type")]
    kind: String,
    /// The first parameters, and what describes the start: `graph`, `pipeline_ids`, `input_mode`, `recording`.
    #[serde(rename = "initialParameters")]
    #[schema(value_type = Option<Object>)]
    initial_parameters: Option<Map<String, Value>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AnswerBody {
    sdp: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "sessionId")]
    session_id: String,
}

impl AnswerBody {
    const fn new(sdp: String, session_id: String) -> Self {
        Self { sdp, kind: "answer", session_id }
    }
}

/// Starts a session: takes an SDP offer, answers with all of the server's candidates.
#[utoipa::path(post, path = "/api/v1/webrtc/offer", tag = "webrtc", request_body = OfferBody,
    responses((status = 200, body = AnswerBody), (status = 400, description = "Pipeline not loaded, bad graph or bad SDP"),
        (status = 503, description = "Too many sessions")))]
async fn offer(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<OfferBody>,
) -> ApiResult<Json<AnswerBody>> {
    check_kind(&body.kind)?;
    let (sdp, id) = service.accept_offer(&body.sdp, body.initial_parameters.unwrap_or_default()).await?;
    Ok(Json(AnswerBody::new(sdp, id)))
}

#[derive(Debug, Deserialize, ToSchema)]
struct RestartBody {
    sdp: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Restarts ICE: a new offer for the same session, which goes on meanwhile.
#[utoipa::path(post, path = "/api/v1/webrtc/offer/{session_id}/restart", tag = "webrtc",
    params(("session_id" = String, Path)), request_body = RestartBody,
    responses((status = 200, body = AnswerBody), (status = 404, description = "No such session")))]
async fn restart(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
    ApiJson(body): ApiJson<RestartBody>,
) -> ApiResult<Json<AnswerBody>> {
    check_kind(&body.kind)?;
    let peer = service.webrtc.peer(&id).ok_or_else(no_session)?;
    let sdp = peer.restart(&body.sdp).await?;
    Ok(Json(AnswerBody::new(sdp, id)))
}

#[derive(Debug, Deserialize, ToSchema)]
struct CandidatesBody {
    candidates: Vec<CandidateBody>,
}

/// A candidate as browsers write it; `sdpMid` and `sdpMLineIndex` say nothing to a bundled connection.
#[derive(Debug, Deserialize, ToSchema)]
struct CandidateBody {
    candidate: Option<String>,
}

/// Adds candidates of the client, one or many, at any time.
#[utoipa::path(patch, path = "/api/v1/webrtc/offer/{session_id}", tag = "webrtc",
    params(("session_id" = String, Path)), request_body = CandidatesBody,
    responses((status = 204), (status = 404, description = "No such session, or a candidate that cannot be read")))]
async fn trickle(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
    ApiJson(body): ApiJson<CandidatesBody>,
) -> ApiResult<StatusCode> {
    let peer = service.webrtc.peer(&id).ok_or_else(no_session)?;
    let texts = body.candidates.iter().filter_map(|entry| entry.candidate.as_deref()).take(MAX_CANDIDATES);
    let candidates: Result<Vec<_>, _> = texts.map(parse_candidate).collect();
    // Existing clients know 404 for a candidate that cannot be read.
    let candidates = candidates.map_err(ApiError::not_found)?.into_iter().flatten().collect();
    peer.add_candidates(candidates).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a session; also when there is none of this id.
#[utoipa::path(delete, path = "/api/v1/webrtc/offer/{session_id}", tag = "webrtc",
    params(("session_id" = String, Path)), responses((status = 204)))]
async fn close(State(service): State<Arc<Service>>, ApiPath(id): ApiPath<String>) -> StatusCode {
    if let Some(peer) = service.webrtc.peer(&id) {
        peer.close();
        service.end_session(&id, StopReason::Requested).await;
    }
    StatusCode::NO_CONTENT
}

fn check_kind(kind: &str) -> ApiResult<()> {
    if kind == "offer" {
        return Ok(());
    }
    let loc = vec![json!("body"), json!("type")];
    Err(ApiError::invalid("literal_error", loc, "Input should be 'offer'", json!(kind)))
}

fn no_session() -> ApiError {
    ApiError::not_found("there is no such session; it may have ended")
}

impl From<OfferError> for ApiError {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Closed => no_session(),
            _ => Self::bad_request(error.to_string()).with_code("invalid_offer"),
        }
    }
}
