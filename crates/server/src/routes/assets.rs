//! Uploads.

use crate::Service;
use crate::assets::{self, AssetEntry, AssetKind, SandboxError};
use crate::http::{ApiError, ApiPath, ApiQuery, ApiResult};
use crate::service::blocking;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Json, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list, upload))
        .routes(routes!(download, remove))
        // The upload handler counts for itself.
        .layer(DefaultBodyLimit::disable())
}

#[derive(Debug, Serialize, ToSchema)]
struct AssetList {
    assets: Vec<AssetEntry>,
}

/// Lists uploads, newest first.
#[utoipa::path(get, path = "/api/v1/assets", tag = "assets",
    params(("type" = Option<AssetKind>, Query, description = "Only files of this kind")),
    responses((status = 200, body = AssetList)))]
async fn list(State(service): State<Arc<Service>>, query: ApiQuery) -> ApiResult<Json<AssetList>> {
    let kind = match query.text("type") {
        None => None,
        Some(text) => Some(AssetKind::parse(text).ok_or_else(|| {
            let loc = vec!["query".into(), "type".into()];
            ApiError::invalid("enum", loc, "Input should be image, video or audio", text.into())
        })?),
    };
    let store = service.assets.clone();
    Ok(Json(AssetList { assets: blocking(move || store.list(kind)).await? }))
}

/// Stores the request body as a file. A taken name gets a number; nothing is overwritten.
#[utoipa::path(post, path = "/api/v1/assets", tag = "assets",
    params(("filename" = String, Query, description = "Name, with subdirectories if wanted")),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = AssetEntry), (status = 400), (status = 408), (status = 413), (status = 507)))]
async fn upload(
    State(service): State<Arc<Service>>,
    query: ApiQuery,
    body: Body,
) -> ApiResult<Json<AssetEntry>> {
    let name = query.required("filename")?.to_owned();
    let (max_bytes, piece_timeout) = (service.config.max_upload_bytes, service.config.body_timeout);
    let stored = assets::receive(service.assets.clone(), name, body, max_bytes, piece_timeout).await?;
    Ok(Json(stored))
}

/// Sends a file, or the range of it that is asked for.
#[utoipa::path(get, path = "/api/v1/assets/{*path}", tag = "assets",
    params(("path" = String, Path, description = "Relative path, or an absolute one as listings give it")),
    responses((status = 200, content_type = "application/octet-stream", body = String), (status = 206), (status = 403),
        (status = 404), (status = 416)))]
async fn download(
    State(service): State<Arc<Service>>,
    ApiPath(path): ApiPath<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let store = service.assets.clone();
    let (file, path) = blocking(move || store.open(&path)).await?.map_err(|error| refusal(&error))?;
    assets::send(file, &path, &headers).await
}

/// Removes a file.
#[utoipa::path(delete, path = "/api/v1/assets/{*path}", tag = "assets",
    params(("path" = String, Path, description = "Relative path, or an absolute one as listings give it")),
    responses((status = 204), (status = 403), (status = 404)))]
async fn remove(
    State(service): State<Arc<Service>>,
    ApiPath(path): ApiPath<String>,
) -> ApiResult<StatusCode> {
    let store = service.assets.clone();
    blocking(move || store.remove(&path)).await?.map_err(|error| refusal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn refusal(error: &SandboxError) -> ApiError {
    match error {
        SandboxError::NotFound(_) | SandboxError::NotAFile(_) => ApiError::not_found("there is no such file"),
        _ => ApiError::forbidden("this path leads outside the assets directory"),
    }
}
