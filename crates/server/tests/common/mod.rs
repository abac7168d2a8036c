//! A whole server without a socket.

// Every test program uses some of it; in tests, whatever should not happen may panic.
#![allow(dead_code, clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use scope_pipelines::Registry;
use scope_server::security::Credentials;
use scope_server::{Config, Service, Ui, UiFile, router};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tower::ServiceExt;

pub(crate) const TOKEN: &str = "token-for-tests";

const PAGE: &[UiFile] = &[UiFile {
    path: "index.html",
    mime: "text/html; charset=utf-8",
    etag: "\"page\"",
    body: b"<!doctype html>",
    gzip: false,
}];

pub(crate) struct Server {
    pub(crate) service: Arc<Service>,
    pub(crate) router: Router,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} {:?}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body.get("code")?.as_str().map(str::to_owned)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("data"));
        config.token = Some(TOKEN.into());
        // Tests stay on this machine.
        config.ice.no_stun = true;
        change(&mut config);
        let service = Arc::new(Service::new(config, Registry::builtin(), Ui(PAGE), None).unwrap());
        Self { router: router(Arc::clone(&service)), service, dir }
    }

    pub(crate) fn cookie(&self) -> String {
        let credentials: &Credentials = &self.service.gate.credentials;
        format!("scope_session={}", credentials.issue_cookie(SystemTime::now()))
    }

    /// Sends a request as `peer`; reads at most 8 MiB of the answer, and nothing of endless ones.
    pub(crate) async fn send_from(&self, peer: [u8; 4], mut request: Request<Body>) -> Reply {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 50_000))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let endless = parts.headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        let body = if endless { Vec::new() } else { to_bytes(body, 8 << 20).await.unwrap().to_vec() };
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// As a tool on this machine.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        self.send_from([127, 0, 0, 1], request(method, path, headers, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.service.models.stop();
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:8000");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}
