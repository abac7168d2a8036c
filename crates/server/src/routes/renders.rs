//! Rendering shows again.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiPath, ApiResult};
use crate::renders::{RenderBody, RenderDocument};
use crate::service::blocking;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Json;
use scope_stream::score;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    let large = OpenApiRouter::new().routes(routes!(list, render));
    let large = large.layer(DefaultBodyLimit::max(score::MAX_BYTES));
    OpenApiRouter::new().routes(routes!(remove)).merge(large)
}

/// Lists the renders that go on and the last that ended, newest first.
#[utoipa::path(get, path = "/api/v1/renders", tag = "sessions", responses((status = 200, body = Value)))]
async fn list(State(service): State<Arc<Service>>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"renders": service.list_renders().await?})))
}

/// Makes the frames of a score again, as a film among the assets, beside whatever runs. One at a time.
#[utoipa::path(post, path = "/api/v1/renders", tag = "sessions", request_body = RenderBody,
    responses((status = 202, body = RenderDocument), (status = 400), (status = 404), (status = 409), (status = 507)))]
async fn render(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<RenderBody>,
) -> ApiResult<(StatusCode, Json<RenderDocument>)> {
    Ok((StatusCode::ACCEPTED, Json(service.render(body).await?)))
}

/// Cancels a render; nothing of its film stays. One that has ended is forgotten, and its film stays.
#[utoipa::path(delete, path = "/api/v1/renders/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204), (status = 404)))]
async fn remove(State(service): State<Arc<Service>>, ApiPath(id): ApiPath<String>) -> ApiResult<StatusCode> {
    let (renders, wanted) = (Arc::clone(&service), id.clone());
    // Another that is just beginning may hold the list for a while.
    match blocking(move || renders.renders.remove(&wanted)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found(format!("there is no render {id:?}"))),
    }
}
