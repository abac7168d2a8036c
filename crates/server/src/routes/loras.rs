//! LoRA adapters.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiPath, ApiQuery, ApiResult};
use crate::loras::{self, DownloadBody};
use crate::service::blocking;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Json;
use scope_store::{InstallRequest, LoraSource, Provenance};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    let upload = OpenApiRouter::new().routes(routes!(upload)).layer(DefaultBodyLimit::disable());
    OpenApiRouter::new()
        .routes(routes!(list, install))
        .routes(routes!(list_again))
        .routes(routes!(remove))
        .routes(routes!(download))
        .routes(routes!(cancel))
        .routes(routes!(set_provenance))
        .merge(upload)
}

/// Lists the adapters by folder and name.
#[utoipa::path(get, path = "/api/v1/loras", tag = "loras", responses((status = 200, body = Value)))]
async fn list(State(service): State<Arc<Service>>) -> ApiResult<Json<Value>> {
    let folder = service.loras.folder().clone();
    Ok(Json(json!({"lora_files": blocking(move || folder.list()).await?})))
}

/// The same list under an older name.
#[utoipa::path(get, path = "/api/v1/lora/list", tag = "loras", responses((status = 200, body = Value)))]
async fn list_again(State(service): State<Arc<Service>>) -> ApiResult<Json<Value>> {
    list(State(service)).await
}

#[derive(Debug, Deserialize, ToSchema)]
struct InstallBody {
    /// The address of a file on Hugging Face, or of a page on CivitAI.
    url: String,
    /// Its name; the source's unless given.
    filename: Option<String>,
}

/// Installs an adapter from an address. Answers when it is there; progress is told to watching pages.
#[utoipa::path(post, path = "/api/v1/loras", tag = "loras", request_body = InstallBody,
    responses((status = 200, body = Value), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409), (status = 507)))]
async fn install(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<InstallBody>,
) -> ApiResult<Json<Value>> {
    let source = LoraSource::parse(&body.url)?;
    let request = InstallRequest { file_name: body.filename, ..InstallRequest::new(source) };
    let installed = service.install_lora(request).await?;
    let message = format!("{} is installed", installed.entry.name);
    Ok(Json(json!({"message": message, "file": installed.entry})))
}

/// Stores the request body as an adapter.
#[utoipa::path(post, path = "/api/v1/loras/upload", tag = "loras",
    params(("filename" = String, Query, description = "Name, ending in .safetensors")),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = Value), (status = 400), (status = 408), (status = 409), (status = 413), (status = 507)))]
async fn upload(State(service): State<Arc<Service>>, query: ApiQuery, body: Body) -> ApiResult<Json<Value>> {
    let installed = loras::receive(&service, query.required("filename")?, body).await?;
    let message = format!("{} is installed", installed.entry.name);
    Ok(Json(json!({"message": message, "file": installed.entry})))
}

/// Removes an adapter by its name without extension.
#[utoipa::path(delete, path = "/api/v1/loras/{name}", tag = "loras", params(("name" = String, Path)),
    responses((status = 200, body = Value), (status = 403), (status = 404)))]
async fn remove(
    State(service): State<Arc<Service>>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Value>> {
    let folder = service.loras.folder().clone();
    let place = blocking(move || folder.remove(&name)).await??;
    Ok(Json(json!({"success": true, "message": format!("{place} is removed")})))
}

/// Installs an adapter from a source. Answers when it is there.
#[utoipa::path(post, path = "/api/v1/lora/download", tag = "loras", request_body = DownloadBody,
    responses((status = 200, body = Value), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409), (status = 507)))]
async fn download(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<DownloadBody>,
) -> ApiResult<Json<Value>> {
    let installed = service.install_lora(body.request()?).await?;
    Ok(Json(json!({
        "filename": installed.place, "path": installed.entry.path,
        "sha256": installed.sha256, "size_bytes": installed.size_bytes,
    })))
}

/// Ends a download that goes on, under the name that its progress has. Who waits for it is told 409, `cancelled`.
#[utoipa::path(delete, path = "/api/v1/lora/download/{filename}", tag = "loras",
    params(("filename" = String, Path, description = "Its place in the folder")),
    responses((status = 204), (status = 400), (status = 404)))]
async fn cancel(
    State(service): State<Arc<Service>>,
    ApiPath(filename): ApiPath<String>,
) -> ApiResult<StatusCode> {
    match service.loras.cancel(&loras::place(&filename)?) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found(format!("{filename} is not being downloaded"))),
    }
}

/// Writes down where an adapter came from.
#[utoipa::path(put, path = "/api/v1/lora/{filename}/provenance", tag = "loras", request_body = Object,
    params(("filename" = String, Path, description = "Its place in the folder")),
    responses((status = 200, body = Value), (status = 400), (status = 404)))]
async fn set_provenance(
    State(service): State<Arc<Service>>,
    ApiPath(filename): ApiPath<String>,
    ApiJson(provenance): ApiJson<Provenance>,
) -> ApiResult<Json<Value>> {
    let place = loras::place(&filename)?;
    let folder = service.loras.folder().clone();
    Ok(Json(json!(blocking(move || folder.set_provenance(&place, provenance)).await??)))
}
