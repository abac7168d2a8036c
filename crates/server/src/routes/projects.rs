//! Named projects of the web interface.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiPath, ApiResult};
use crate::projects::{Expected, MAX_BYTES, ProjectEntry, ProjectError};
use crate::service::blocking;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, write, remove))
        .layer(DefaultBodyLimit::max(MAX_BYTES))
}

#[derive(Debug, Serialize, ToSchema)]
struct ProjectList {
    projects: Vec<ProjectEntry>,
}

/// Lists kept projects, last saved first.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", responses((status = 200, body = ProjectList)))]
async fn list(State(service): State<Arc<Service>>) -> ApiResult<Json<ProjectList>> {
    Ok(Json(ProjectList { projects: blocking(move || service.projects.list()).await? }))
}

/// Sends a project. Its `ETag` names the state that was read.
#[utoipa::path(get, path = "/api/v1/projects/{name}", tag = "projects", params(("name" = String, Path)),
    responses((status = 200, body = Object), (status = 400), (status = 404)))]
async fn read(State(service): State<Arc<Service>>, ApiPath(name): ApiPath<String>) -> ApiResult<Response> {
    let (bytes, tag) =
        blocking(move || service.projects.read(&name)).await?.map_err(|error| refusal(&error))?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok(([(header::ETAG, tag)], headers, bytes).into_response())
}

/// Keeps a project: any JSON object. `If-Match` with the `ETag` that was read, or `If-None-Match: *`, refuses to replace
/// what somebody else has saved since.
#[utoipa::path(put, path = "/api/v1/projects/{name}", tag = "projects", request_body = Object, params(("name" = String, Path)),
    responses((status = 204), (status = 400), (status = 412), (status = 413), (status = 507)))]
async fn write(
    State(service): State<Arc<Service>>,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
    ApiJson(project): ApiJson<Map<String, Value>>,
) -> ApiResult<Response> {
    let expected = expectation(&headers)?;
    let tag = blocking(move || {
        let bytes = serde_json::to_vec(&project).map_err(std::io::Error::from)?;
        service.projects.write(&name, &bytes, &expected)
    });
    let tag = tag.await?.map_err(|error| refusal(&error))?;
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, tag)]).into_response())
}

/// Throws a project away.
#[utoipa::path(delete, path = "/api/v1/projects/{name}", tag = "projects", params(("name" = String, Path)),
    responses((status = 204), (status = 400), (status = 404)))]
async fn remove(
    State(service): State<Arc<Service>>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<StatusCode> {
    blocking(move || service.projects.remove(&name)).await?.map_err(|error| refusal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn expectation(headers: &HeaderMap) -> ApiResult<Expected> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) | (Some("*"), None) => Ok(Expected::Any),
        (None, Some("*")) => Ok(Expected::Nothing),
        (Some(tag), None)
            if tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"') && !tag.contains(',') =>
        {
            Ok(Expected::Tag(tag.to_owned()))
        }
        _ => Err(ApiError::bad_request(
            "expected If-Match with the one ETag that was read, or If-None-Match: *",
        )),
    }
}

fn refusal(error: &ProjectError) -> ApiError {
    let text = error.to_string();
    match error {
        ProjectError::Name(_) => ApiError::bad_request(text),
        ProjectError::NotFound(_) => ApiError::not_found(text),
        ProjectError::Changed(_) => {
            ApiError::new(StatusCode::PRECONDITION_FAILED, text).with_code("project_changed")
        }
        ProjectError::Full => {
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, text).with_code("too_many_projects")
        }
        ProjectError::Io(cause) if cause.kind() == std::io::ErrorKind::StorageFull => {
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "the disk is full").with_code("disk_full")
        }
        ProjectError::Io(cause) => ApiError::internal("the project cannot be read or kept", cause),
    }
}
