//! The server itself: health, hardware, restart, metrics, events.

use crate::Service;
use crate::events::Event;
use crate::http::ApiResult;
use crate::metrics::PrometheusText;
use crate::service::Stop;
use axum::extract::State;
use axum::http::header;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Json};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(hardware))
        .routes(routes!(restart))
        .routes(routes!(metrics))
        .routes(routes!(events))
}

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `healthy`: a sick server does not answer.
    status: &'static str,
    /// Local time, ISO 8601.
    timestamp: String,
    /// Seconds since 1970; changes with every start.
    server_start_time: f64,
    version: &'static str,
    git_commit: &'static str,
}

/// Whether the server is there, and since when.
#[utoipa::path(get, path = "/health", tag = "system", responses((status = 200, body = Health)))]
async fn health(State(service): State<Arc<Service>>) -> Json<Health> {
    Json(Health {
        status: "healthy",
        timestamp: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
        server_start_time: service.started_at.duration_since(UNIX_EPOCH).map_or(0.0, |it| it.as_secs_f64()),
        version: service.config.version,
        git_commit: service.config.git_commit,
    })
}

/// Whether a way in or out of this machine exists.
#[derive(Debug, Serialize, ToSchema)]
struct Availability {
    available: bool,
    reason: Option<&'static str>,
    install_hint: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Hardware {
    /// Memory of the first GPU in GiB.
    vram_gb: Option<f64>,
    spout: Availability,
    ndi: Availability,
    syphon: Availability,
}

/// What this machine has.
#[utoipa::path(get, path = "/api/v1/hardware/info", tag = "system", responses((status = 200, body = Hardware)))]
async fn hardware(State(service): State<Arc<Service>>) -> Json<Hardware> {
    let absent = |reason| Availability { available: false, reason: Some(reason), install_hint: None };
    let vram_gb = service.gpus().await.first().map(|gpu| gpu.memory_mib / 1024.0);
    Json(Hardware {
        vram_gb,
        spout: absent("Spout is not part of this build"),
        ndi: absent("NDI is not part of this build"),
        syphon: absent("Syphon is not part of this build"),
    })
}

/// Restarts the server.
#[utoipa::path(post, path = "/api/v1/restart", tag = "system", responses((status = 200, body = Value)))]
async fn restart(State(service): State<Arc<Service>>) -> Json<Value> {
    service.stop_after(Duration::from_millis(500), Stop::Restart);
    Json(json!({"message": "The server is restarting"}))
}

/// Numbers in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let mut text = PrometheusText::default();
    let uptime = service.started_at.elapsed().unwrap_or_default().as_secs_f64();
    text.gauge("scope_uptime_seconds", "Time since the start", uptime);
    service.metrics.write(&mut text);
    super::core::write_metrics(&service, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text.finish())
}

/// What happens, as it happens, as server-sent events. The current pipeline status comes first.
#[utoipa::path(get, path = "/api/v1/events", tag = "system",
    responses((status = 200, content_type = "text/event-stream", body = String)))]
async fn events(
    State(service): State<Arc<Service>>,
) -> ApiResult<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>> {
    let watcher = service.events.watch()?;
    let first = super::core::current_events(&service);
    let stopped = Arc::clone(&service);
    let stream = watcher.into_stream(first).map(|event| Ok(encode(&event)));
    let stream = stream.take_until(async move { stopped.stopped().await });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn encode(event: &Event) -> sse::Event {
    sse::Event::default().event(event.name).data(event.data.to_string())
}
