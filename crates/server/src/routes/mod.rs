//! All routes, each registered together with its documentation.

mod access;
mod assets;
mod core;
mod docs;
mod document;
mod logs;
mod loras;
mod models;
mod pipelines;
mod plugins;
mod projects;
mod recordings;
mod renders;
mod sessions;
mod settings;
mod system;
mod workflow;

use crate::Service;
use crate::http::ApiError;
use crate::security;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

/// Bytes of a JSON body.
const MAX_JSON_BYTES: usize = 1 << 20;
/// Bytes of an offer, or of a batch of candidates.
const MAX_OFFER_BYTES: usize = 256 << 10;

fn documented() -> OpenApiRouter<Arc<Service>> {
    let info = InfoBuilder::new()
        .title("Scope")
        .description(Some(
            "Real-time, interactive generative video. Errors are `{\"detail\": …}` with a `code` where a client can act on it.",
        ))
        .version(env!("CARGO_PKG_VERSION"));
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info.build()).build())
        .merge(access::routes())
        .merge(system::routes())
        .merge(assets::routes())
        .merge(logs::routes())
        .merge(settings::routes())
        .merge(pipelines::routes())
        .merge(plugins::routes())
        .merge(models::routes())
        .merge(loras::routes())
        .merge(sessions::routes())
        .merge(recordings::routes())
        .merge(renders::routes())
        .merge(projects::routes())
        .merge(workflow::routes())
        .merge(crate::webrtc::routes().layer(DefaultBodyLimit::max(MAX_OFFER_BYTES)))
}

/// The description of all routes.
pub fn openapi() -> OpenApi {
    document::complete(documented().to_openapi())
}

/// The whole server as a service: routes, interface, access control.
pub fn router(service: Arc<Service>) -> Router {
    Router::from(documented())
        .merge(docs::routes())
        .fallback(interface)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), security::guard))
        .with_state(service)
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this route does not know the method; /docs lists those it does",
    )
}

/// Whatever no route wanted: the interface, or its sign-in by address.
async fn interface(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if parts.uri.path() == "/"
        && let Some(token) = query_value(parts.uri.query(), "token")
    {
        return access::sign_in_by_address(&service, &parts, &token).into_response();
    }
    service.ui.respond(&parts.method, parts.uri.path(), &parts.headers)
}

fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let uri = format!("/?{}", query?).parse().ok()?;
    let pairs: axum::extract::Query<Vec<(String, String)>> = axum::extract::Query::try_from_uri(&uri).ok()?;
    pairs.0.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
