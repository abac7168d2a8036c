//! Reading the log.

use crate::Service;
use crate::http::{ApiError, ApiQuery, ApiResult};
use crate::logs::LogFile;
use crate::service::blocking;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(current)).routes(routes!(tail))
}

fn log_of(service: &Service) -> ApiResult<Arc<LogFile>> {
    service.log.clone().ok_or_else(|| ApiError::not_found("there is no log file"))
}

fn unreadable(error: &std::io::Error) -> ApiError {
    ApiError::internal("the log cannot be read", error)
}

/// The whole log file of this start.
#[utoipa::path(get, path = "/api/v1/logs/current", tag = "logs",
    responses((status = 200, content_type = "text/plain", body = String), (status = 404)))]
async fn current(State(service): State<Arc<Service>>) -> ApiResult<Response> {
    let log = log_of(&service)?;
    let name = log.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = blocking(move || log.open()).await?.map_err(|error| unreadable(&error))?;
    let len = file.metadata().map_err(|error| unreadable(&error))?.len();
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, crate::assets::stream_of(file, 0, len)).into_response())
}

/// The last lines, or those written since `since_offset`; offsets stay good when the file is rotated.
#[utoipa::path(get, path = "/api/v1/logs/tail", tag = "logs",
    params(("lines" = Option<u64>, Query, description = "1 to 1000; 200 unless told"),
        ("since_offset" = Option<u64>, Query, description = "The `offset` of an earlier answer")),
    responses((status = 200, body = Value), (status = 404)))]
async fn tail(State(service): State<Arc<Service>>, query: ApiQuery) -> ApiResult<Json<Value>> {
    let lines = query.integer("lines", 200, 1..=1000)? as usize;
    let since = query.integer("since_offset", 0, 0..=u64::MAX)?;
    let log = log_of(&service)?;
    let read = move || match since {
        0 => log.last_lines(lines),
        _ => log.lines_since(since)?.map_or_else(|| log.last_lines(lines), Ok),
    };
    let tail = blocking(read).await?.map_err(|error| unreadable(&error))?;
    Ok(Json(json!({"lines": tail.lines, "offset": tail.offset})))
}
