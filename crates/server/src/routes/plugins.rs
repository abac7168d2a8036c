//! Installed plugins. They are listed here; installing runs foreign code and is done by a person at this machine.

use crate::Service;
use crate::http::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use scope_plugins::{Installed, Scan, Source};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(list, install)).routes(routes!(remove)).routes(routes!(reload))
}

/// What is installed, and what could not be read.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", responses((status = 200, body = Value)))]
async fn list(State(service): State<Arc<Service>>) -> Json<Value> {
    let Scan { plugins, broken } = &service.plugins;
    let failed = broken.iter().map(|broken| {
        json!({"package_name": broken.name, "entry_point_name": null, "error_type": "unreadable", "error_message": broken.problem})
    });
    Json(json!({
        "plugins": plugins.iter().map(describe).collect::<Vec<_>>(),
        "total": plugins.len(),
        "failed_plugins": failed.collect::<Vec<_>>(),
    }))
}

fn describe(plugin: &Installed) -> Value {
    let (source, editable, package) = match &plugin.source {
        Source::Local { path, editable } => ("local", *editable, path.display().to_string()),
        Source::Pypi { package } => ("pypi", false, package.clone()),
        Source::Git { package } => ("git", false, package.clone()),
    };
    let pipelines = plugin.schemas.iter();
    let pipelines = pipelines.map(|schema| json!({"pipeline_id": schema.id, "pipeline_name": schema.name}));
    json!({
        "name": plugin.manifest.name,
        "version": plugin.version,
        "author": null,
        "description": plugin.schemas.first().map(|schema| schema.description.as_str()),
        "source": source,
        "editable": editable,
        "editable_path": editable.then_some(&package),
        "package_spec": package,
        "pipelines": pipelines.collect::<Vec<_>>(),
        "latest_version": null,
        "update_available": null,
        "bundled": false,
    })
}

fn by_hand(command: &str) -> ApiError {
    let detail = format!(
        "plugins run foreign code, so they are managed at the machine itself: run `{command}` there, then restart"
    );
    ApiError::new(StatusCode::FORBIDDEN, detail).with_code("by_hand")
}

/// Refused: see the text of the answer.
#[utoipa::path(post, path = "/api/v1/plugins", tag = "plugins", responses((status = 403)))]
async fn install() -> ApiError {
    by_hand("scope plugins install …")
}

/// Refused: see the text of the answer.
#[utoipa::path(delete, path = "/api/v1/plugins/{name}", tag = "plugins", params(("name" = String, Path)),
    responses((status = 403)))]
async fn remove() -> ApiError {
    by_hand("scope plugins remove …")
}

/// Refused: see the text of the answer. An edited plugin is read again when its pipeline is next loaded.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/reload", tag = "plugins", params(("name" = String, Path)),
    responses((status = 403)))]
async fn reload() -> ApiError {
    by_hand("scope plugins install --force …")
}
