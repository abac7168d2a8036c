//! The description of the API: as a document for programs, and as a page of our own for people.

use crate::Service;
use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use std::sync::Arc;

const PAGE: &str = include_str!("../docs/page.html");
const SCRIPT: &str = include_str!("../docs/app.js");
const STYLE: &str = include_str!("../docs/app.css");

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/openapi.json", get(|| async { Json(super::openapi()) }))
        .route("/docs", get(|| async { file("text/html; charset=utf-8", PAGE) }))
        .route("/redoc", get(|| async { file("text/html; charset=utf-8", PAGE) }))
        .route("/docs/app.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/docs/app.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
}

fn file(mime: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 2] =
        [(header::CONTENT_TYPE, mime), (header::CACHE_CONTROL, "no-cache")];
    (headers, text)
}
