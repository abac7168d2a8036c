//! The files of models: which are there, and how the others get there.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiPath, ApiQuery, ApiResult};
use axum::extract::State;
use axum::response::Json;
use scope_store::{ModelSize, Settings, VaeType};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(status))
        .routes(routes!(download))
        .routes(routes!(cancel))
        .routes(routes!(verify))
        .routes(routes!(remove))
}

/// Where the files of all pipelines are that need some, and how much room the disk has for more.
#[utoipa::path(get, path = "/api/v1/models", tag = "models", responses((status = 200, body = Value)))]
async fn list(State(service): State<Arc<Service>>) -> ApiResult<Json<Value>> {
    let (models, room) = (service.store.statuses().await?, service.store.room().await);
    Ok(Json(json!({"models": models, "room_bytes": room})))
}

/// Whether a pipeline's weights are on disk, and how far their download is. Settings limit the answer to the files they need.
#[utoipa::path(get, path = "/api/v1/models/status", tag = "models",
    params(("pipeline_id" = String, Query), ("vae_type" = Option<String>, Query), ("vace_enabled" = Option<bool>, Query),
        ("model_size" = Option<String>, Query)),
    responses((status = 200, body = Value), (status = 404)))]
async fn status(State(service): State<Arc<Service>>, query: ApiQuery) -> ApiResult<Json<Value>> {
    let pipeline = query.required("pipeline_id")?;
    let vae_type = query.text("vae_type").map(|text| vae_type(text, "query")).transpose()?;
    let vace = query.text("vace_enabled").map(|text| matches!(text, "true" | "1"));
    let size = query.text("model_size").map(|text| model_size(text, "query")).transpose()?;
    Ok(Json(service.model_status(pipeline, settings(vae_type, vace, size)).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct DownloadBody {
    pipeline_id: String,
    /// Only what this autoencoder needs; everything unless given.
    vae_type: Option<String>,
    /// Whether VACE is wanted.
    vace_enabled: Option<bool>,
    /// Only what a network of this size needs, `small` or `large`.
    model_size: Option<String>,
}

/// Downloads what a pipeline lacks, in the background. What is there in part is resumed.
#[utoipa::path(post, path = "/api/v1/models/download", tag = "models", request_body = DownloadBody,
    responses((status = 200, body = Value), (status = 400), (status = 404), (status = 409)))]
async fn download(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<DownloadBody>,
) -> ApiResult<Json<Value>> {
    if body.pipeline_id.is_empty() {
        return Err(ApiError::bad_request("pipeline_id is empty"));
    }
    let vae_type = body.vae_type.as_deref().map(|text| vae_type(text, "body")).transpose()?;
    let size = body.model_size.as_deref().map(|text| model_size(text, "body")).transpose()?;
    let settings = settings(vae_type, body.vace_enabled, size);
    Ok(Json(json!({"message": service.download_models(&body.pipeline_id, settings).await?})))
}

/// Ends a download. What was fetched stays, and is resumed by the next.
#[utoipa::path(delete, path = "/api/v1/models/download/{pipeline_id}", tag = "models",
    params(("pipeline_id" = String, Path)), responses((status = 200, body = Value), (status = 404)))]
async fn cancel(
    State(service): State<Arc<Service>>,
    ApiPath(pipeline): ApiPath<String>,
) -> ApiResult<Json<Value>> {
    if service.store.cancel(&pipeline) {
        return Ok(Json(json!({"message": "The download is cancelled; what is there stays"})));
    }
    Err(ApiError::not_found("no download of this pipeline is running"))
}

#[derive(Debug, Deserialize, ToSchema)]
struct VerifyBody {
    pipeline_id: String,
}

/// Reads a pipeline's files in full and checks their checksums. Takes as long as the disk does.
#[utoipa::path(post, path = "/api/v1/models/verify", tag = "models", request_body = VerifyBody,
    responses((status = 200, body = Value), (status = 404), (status = 409)))]
async fn verify(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<VerifyBody>,
) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"files": service.store.verify(&body.pipeline_id, |_, _| ()).await?})))
}

/// Removes a pipeline's files that no other complete one needs.
#[utoipa::path(delete, path = "/api/v1/models/{pipeline_id}", tag = "models",
    params(("pipeline_id" = String, Path)), responses((status = 200, body = Value), (status = 404), (status = 409)))]
async fn remove(
    State(service): State<Arc<Service>>,
    ApiPath(pipeline): ApiPath<String>,
) -> ApiResult<Json<Value>> {
    Ok(Json(service.remove_models(&pipeline).await?))
}

/// All files, unless something is said about the settings.
fn settings(
    vae_type: Option<VaeType>,
    vace: Option<bool>,
    model_size: Option<ModelSize>,
) -> Option<Settings> {
    let usual = Settings::default();
    let said = vae_type.is_some() || vace.is_some() || model_size.is_some();
    said.then(|| Settings {
        vae_type: vae_type.unwrap_or(usual.vae_type),
        vace: vace.unwrap_or(usual.vace),
        model_size: model_size.unwrap_or(usual.model_size),
    })
}

fn model_size(text: &str, place: &str) -> ApiResult<ModelSize> {
    ModelSize::parse(text).ok_or_else(|| {
        let loc = vec![place.into(), "model_size".into()];
        ApiError::invalid("enum", loc, "Input should be small or large", text.into())
    })
}

fn vae_type(text: &str, place: &str) -> ApiResult<VaeType> {
    VaeType::parse(text).ok_or_else(|| {
        let loc = vec![place.into(), "vae_type".into()];
        ApiError::invalid("enum", loc, "Input should be wan, lightvae, tae or lighttae", text.into())
    })
}
