//! API keys, first-run answers, and what clients ask about a cloud that is not ours.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiPath, ApiResult};
use crate::ice::IceServer;
use crate::keys::KeyEntry;
use crate::onboarding::Onboarding;
use crate::service::blocking;
use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(keys))
        .routes(routes!(set_key, remove_key))
        .routes(routes!(onboarding, set_onboarding))
        .routes(routes!(cloud_status))
        .routes(routes!(cloud_connect))
        .routes(routes!(cloud_disconnect))
        .routes(routes!(ice_servers))
}

#[derive(Debug, Serialize, ToSchema)]
struct KeyList {
    keys: Vec<KeyEntry>,
}

#[derive(Deserialize, ToSchema)]
struct KeyValue {
    /// The key.
    value: String,
}

/// Lists the API keys, without their values.
#[utoipa::path(get, path = "/api/v1/keys", tag = "settings", responses((status = 200, body = KeyList)))]
async fn keys(State(service): State<Arc<Service>>) -> ApiResult<Json<KeyList>> {
    let store = Arc::clone(&service.keys);
    Ok(Json(KeyList { keys: blocking(move || store.list()).await? }))
}

/// Stores an API key.
#[utoipa::path(put, path = "/api/v1/keys/{id}", tag = "settings", request_body = KeyValue,
    params(("id" = String, Path, description = "`huggingface` or `civitai`")),
    responses((status = 200, body = Value), (status = 404), (status = 409)))]
async fn set_key(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
    ApiJson(body): ApiJson<KeyValue>,
) -> ApiResult<Json<Value>> {
    let store = Arc::clone(&service.keys);
    let message = blocking(move || store.set(&id, &body.value)).await??;
    Ok(Json(json!({"success": true, "message": message})))
}

/// Forgets a stored API key.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "settings",
    params(("id" = String, Path, description = "`huggingface` or `civitai`")),
    responses((status = 200, body = Value), (status = 404), (status = 409)))]
async fn remove_key(
    State(service): State<Arc<Service>>,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<Json<Value>> {
    let store = Arc::clone(&service.keys);
    let message = blocking(move || store.remove(&id)).await??;
    Ok(Json(json!({"success": true, "message": message})))
}

/// The first-run answers.
#[utoipa::path(get, path = "/api/v1/onboarding/status", tag = "settings", responses((status = 200, body = Onboarding)))]
async fn onboarding(State(service): State<Arc<Service>>) -> ApiResult<Json<Onboarding>> {
    let store = Arc::clone(&service.onboarding);
    Ok(Json(blocking(move || store.read()).await?))
}

/// Keeps the first-run answers.
#[utoipa::path(put, path = "/api/v1/onboarding/status", tag = "settings", request_body = Onboarding,
    responses((status = 200, body = Onboarding)))]
async fn set_onboarding(
    State(service): State<Arc<Service>>,
    ApiJson(answers): ApiJson<Onboarding>,
) -> ApiResult<Json<Onboarding>> {
    let store = Arc::clone(&service.onboarding);
    let written = blocking(move || store.write(&answers).map(|()| answers)).await?;
    written.map(Json).map_err(|error| ApiError::internal("the answers could not be stored", &error))
}

/// The state of a cloud connection, which this server never has.
#[utoipa::path(get, path = "/api/v1/cloud/status", tag = "settings", responses((status = 200, body = Value)))]
async fn cloud_status() -> Json<Value> {
    Json(json!({
        "connected": false, "connecting": false, "error": null, "connect_stage": null, "webrtc_connected": false,
        "app_id": null, "connection_id": null, "credentials_configured": false, "stats": null,
        "last_close_code": null, "last_close_reason": null,
    }))
}

/// Always 400: models run on this machine.
#[utoipa::path(post, path = "/api/v1/cloud/connect", tag = "settings", responses((status = 400)))]
async fn cloud_connect() -> ApiError {
    ApiError::bad_request("this server has no cloud; models run on this machine")
}

/// Does nothing.
#[utoipa::path(post, path = "/api/v1/cloud/disconnect", tag = "settings", responses((status = 200, body = Value)))]
async fn cloud_disconnect() -> Json<Value> {
    cloud_status().await
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IceServerList {
    ice_servers: Vec<IceServer>,
}

/// The STUN and TURN servers that a peer connection should use.
#[utoipa::path(get, path = "/api/v1/webrtc/ice-servers", tag = "webrtc", responses((status = 200, body = IceServerList)))]
async fn ice_servers(State(service): State<Arc<Service>>) -> Json<IceServerList> {
    Json(IceServerList { ice_servers: service.ice_servers().await })
}
