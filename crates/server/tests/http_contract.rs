//! What clients can send wrong, and what they are told.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

mod common;

use axum::body::Body;
use common::{Server, request};
use proptest::prelude::*;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// `(method, path)` of all routes that read a JSON body, from the document.
fn json_routes() -> Vec<(String, String)> {
    let api = serde_json::to_value(scope_server::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.pointer("/requestBody/content/application~1json").is_some() {
                let path = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
                found.push((method.to_uppercase(), path.collect::<Vec<_>>().join("/")));
            }
        }
    }
    assert!(found.len() >= 8, "{found:?}");
    found
}

#[tokio::test]
async fn json_routes_take_nothing_else() {
    for (method, path) in json_routes() {
        let server = Server::new();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
        {
            let reply = server.send(&method, &path, &[("content-type", kind)], "{}").await;
            assert_eq!(reply.status, 415, "{method} {path} {kind:?}");
            assert!(reply.json()["detail"].is_string());
        }
        let reply =
            server.send(&method, &path, &[("content-type", "Application/JSON; charset=utf-8")], "{}").await;
        assert_ne!(reply.status, 415, "{method} {path}");
    }
}

#[tokio::test]
async fn broken_json_is_422_with_the_list_that_clients_parse() {
    for (method, path) in json_routes() {
        let server = Server::new();
        for body in ["{", "[1,", "nul", "\u{0}", "{\"a\":}", "{}}"] {
            let reply = server.send(&method, &path, &[JSON], body).await;
            assert_eq!(reply.status, 422, "{method} {path} {body:?}");
            let problem = reply.json()["detail"][0].clone();
            assert_eq!((&problem["type"], &problem["loc"][0]), (&json!("json_invalid"), &json!("body")));
            assert!(problem["msg"].is_string() && problem.get("input").is_some());
        }
    }
}

#[tokio::test]
async fn oversized_bodies_are_413() {
    for (method, path) in json_routes() {
        let server = Server::new();
        let limit = match &path {
            path if path.contains("/webrtc/") => 256 << 10,
            path if path.contains("/projects/") => 8 << 20,
            // What holds a score, or may.
            path if ["/score", "/renders", "/session/start"].iter().any(|it| path.ends_with(it)) => 8 << 20,
            _ => 1 << 20,
        };
        let reply = server.send(&method, &path, &[JSON], vec![b' '; limit + 1]).await;
        assert_eq!(reply.status, 413, "{method} {path}");
        assert!(reply.json()["detail"].is_string());
        let reply = server.send(&method, &path, &[JSON], vec![b' '; limit]).await;
        assert_ne!(reply.status, 413, "{method} {path}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_in_json() {
    let server = Server::new();
    for (method, path, status) in [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api", 404),
        ("POST", "/api/v1/assets/x", 405),
        ("PATCH", "/health", 405),
        ("POST", "/", 405),
        ("BREW", "/api/v1/keys", 405),
    ] {
        let reply = server.send(method, path, &[], "").await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path}");
        assert!(reply.json()["detail"].is_string());
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::new();
    for path in ["/health", "/", "/api/v1/keys", "/docs"] {
        let reply = server.send("HEAD", path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn health_has_what_clients_poll_for() {
    let server = Server::new();
    let health = server.get("/health").await.json();
    assert_eq!(health["status"], "healthy");
    assert!(
        health["server_start_time"].is_f64()
            && health["version"].is_string()
            && health["git_commit"].is_string()
    );
}

async fn put(server: &Server, name: &str, body: impl Into<Body>) -> common::Reply {
    server.send("POST", &format!("/api/v1/assets?filename={name}"), &[], body).await
}

#[tokio::test]
async fn uploads_are_listed_read_in_parts_and_removed() {
    let server = Server::new();
    let stored = put(&server, "sets/a.mp4", "0123456789").await.json();
    assert_eq!(
        (&stored["name"], &stored["folder"], &stored["type"]),
        (&json!("a"), &json!("sets"), &json!("video"))
    );
    let listed = server.get("/api/v1/assets?type=video").await.json();
    assert_eq!(listed["assets"], json!([stored]));
    assert_eq!(server.get("/api/v1/assets?type=audio").await.json()["assets"], json!([]));
    assert_eq!(server.get("/api/v1/assets?type=text").await.status, 422);

    let whole = server.get("/api/v1/assets/sets/a.mp4").await;
    assert_eq!((whole.body.as_slice(), whole.header("content-type")), (&b"0123456789"[..], "video/mp4"));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = server.send("GET", "/api/v1/assets/sets/a.mp4", &[("range", "bytes=2-4")], "").await;
    assert_eq!((part.status.as_u16(), part.body.as_slice()), (206, &b"234"[..]));
    assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 2-4/10", "3"));
    let beyond = server.send("GET", "/api/v1/assets/sets/a.mp4", &[("range", "bytes=10-")], "").await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */10"));
    let etag = whole.header("etag").to_owned();
    let same = server.send("GET", "/api/v1/assets/sets/a.mp4", &[("if-none-match", &etag)], "").await;
    assert_eq!(same.status, 304);
    let changed = [("range", "bytes=2-4"), ("if-range", "\"other\"")];
    assert_eq!(server.send("GET", "/api/v1/assets/sets/a.mp4", &changed, "").await.status, 200);

    let absolute = format!("/api/v1/assets/{}", stored["path"].as_str().unwrap());
    assert_eq!(server.get(&absolute).await.body, b"0123456789");
    assert_eq!(server.send("DELETE", "/api/v1/assets/sets/a.mp4", &[], "").await.status, 204);
    assert_eq!(server.get("/api/v1/assets/sets/a.mp4").await.status, 404);
}

#[tokio::test]
async fn uploads_have_a_cap_and_leave_nothing_behind() {
    let server = Server::with(|config| config.max_upload_bytes = 1000);
    assert_eq!(put(&server, "a.mkv", vec![0; 1000]).await.status, 200);
    let reply = put(&server, "b.mkv", vec![0; 1001]).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_deref()), (413, Some("body_too_large")));
    assert_eq!(put(&server, "c.mkv", "").await.status, 400);
    let files = std::fs::read_dir(server.dir.path().join("data/assets")).unwrap().count();
    assert_eq!(files, 1);
}

#[tokio::test]
async fn what_is_only_named_like_a_picture_is_refused_and_not_kept() {
    let server = Server::new();
    for name in ["a.png", "b.jpg", "c.webp", "d.bmp"] {
        let reply = put(&server, name, "<html>").await;
        assert_eq!(reply.status, 400, "{name}");
        assert!(reply.json()["detail"].as_str().unwrap().contains("picture"));
    }
    assert_eq!(server.get("/api/v1/assets").await.json()["assets"], json!([]));
    assert_eq!(put(&server, "e.webp", &b"RIFF\x04\0\0\0WEBP"[..]).await.status, 200);
}

#[tokio::test]
async fn larger_uploads_than_json_bodies_arrive_whole() {
    let server = Server::new();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(put(&server, "big.mkv", content.clone()).await.status, 200);
    assert_eq!(server.get("/api/v1/assets/big.mkv").await.body, content);
}

#[tokio::test]
async fn simultaneous_uploads_of_one_name_all_survive() {
    let server = Server::new();
    let uploads = (0..4).map(|n| put(&server, "a.mkv", vec![n; 100]));
    for reply in futures_util::future::join_all(uploads).await {
        assert_eq!(reply.status, 200);
    }
    let mut seen: Vec<_> = (0..4)
        .map(|n| if n == 0 { "a.mkv".to_owned() } else { format!("a-{n}.mkv") })
        .map(|name| std::fs::read(server.dir.path().join("data/assets").join(name)).unwrap()[0])
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[tokio::test]
async fn nothing_outside_the_assets_can_be_named() {
    let server = Server::new();
    assert_eq!(put(&server, "a.png", &b"\x89PNG\r\n\x1a\n"[..]).await.status, 200);
    std::fs::write(server.dir.path().join("data/secret.png"), "secret").unwrap();
    for path in [
        "../secret.png",
        "..%2fsecret.png",
        "%2e%2e/secret.png",
        "%2e%2e%2fsecret.png",
        "..%5csecret.png",
        "a.png/../../secret.png",
        "./../secret.png",
        "%00",
        "a.png%00.txt",
        "/etc/passwd",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "file:%2f%2f%2fetc%2fpasswd",
        "~/secret.png",
        "%ff%fe",
    ] {
        for method in ["GET", "DELETE"] {
            let reply = server.send(method, &format!("/api/v1/assets/{path}"), &[], "").await;
            assert!(matches!(reply.status.as_u16(), 403 | 404 | 422), "{method} {path}: {}", reply.status);
            assert!(reply.json()["detail"].is_string() || reply.json()["detail"].is_array(), "{path}");
        }
    }
    for name in [
        "../evil.png",
        "..%2fevil.png",
        "%2fetc%2fevil.png",
        "a%5c..%5c..%5cevil.png",
        ".hidden.png",
        "evil.html",
        "evil",
    ] {
        assert_eq!(put(&server, name, "x").await.status, 400, "{name}");
    }
    assert_eq!(std::fs::read(server.dir.path().join("data/secret.png")).unwrap(), b"secret");
}

#[tokio::test]
async fn missing_query_parameters_are_named() {
    let server = Server::new();
    for path in ["/api/v1/models/status", "/api/v1/models/status?pipeline_id="] {
        let detail = server.get(path).await.json()["detail"][0].clone();
        assert_eq!((&detail["type"], &detail["loc"]), (&json!("missing"), &json!(["query", "pipeline_id"])));
    }
    assert_eq!(server.get("/api/v1/session/frame?quality=0").await.status, 422);
    assert_eq!(server.get("/api/v1/models/status?pipeline_id=nobody").await.status, 404);
}

#[tokio::test]
async fn the_document_is_served_and_its_page_is_clean() {
    let server = Server::new();
    let api = server.get("/openapi.json").await.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3."));
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{method} {path}"
            );
            assert!(operation["tags"][0].is_string(), "{method} {path}");
        }
    }
    let page = String::from_utf8(server.get("/docs").await.body).unwrap();
    assert!(
        !page.contains("<style")
            && !page.contains("http")
            && !page.contains("<script>")
            && !page.contains(" on")
    );
}

#[tokio::test]
async fn metrics_count_requests() {
    let server = Server::new();
    server.get("/health").await;
    let text = String::from_utf8(server.get("/metrics").await.body).unwrap();
    let line = "scope_http_requests_total{method=\"GET\",route=\"/health\",status=\"200\"} 1";
    assert!(text.lines().any(|it| it == line), "{text}");
}

#[tokio::test]
async fn first_run_answers_and_keys_round_trip() {
    let server = Server::new();
    assert_eq!(server.get("/api/v1/onboarding/status").await.json()["completed"], false);
    let reply = server.send("PUT", "/api/v1/onboarding/status", &[JSON], r#"{"completed": true}"#).await;
    assert_eq!(reply.status, 200);
    assert_eq!(server.get("/api/v1/onboarding/status").await.json()["completed"], true);
    let reply = server.send("PUT", "/api/v1/keys/civitai_token", &[JSON], r#"{"value": "secret"}"#).await;
    assert_eq!(reply.json()["success"], true);
    let keys = String::from_utf8(server.get("/api/v1/keys").await.body).unwrap();
    assert!(keys.contains("stored") && !keys.contains("secret"), "{keys}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("pipelines".to_owned()),
        Just("pipeline_ids".to_owned()),
        Just("graph".to_owned()),
        Just("nodes".to_owned()),
        Just("candidates".to_owned()),
        Just("sdp".to_owned()),
        Just("type".to_owned()),
        "[a-z_]{1,8}",
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing that can be written in JSON is a mistake of the server.
    #[test]
    fn no_json_body_causes_an_internal_error(body in any_json()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = Server::new();
        for (method, path) in json_routes() {
            let sent = request(&method, &path, &[JSON], body.to_string());
            let reply = runtime.block_on(server.send_from([127, 0, 0, 1], sent));
            prop_assert!(reply.status.as_u16() < 500, "{} {}: {} {}", method, path, reply.status, body);
        }
    }
}

#[tokio::test]
async fn projects_are_kept_and_never_overwritten_unseen() {
    let server = Server::new();
    let json = ("content-type", "application/json");
    let path = "/api/v1/projects/My%20show";
    assert_eq!(server.get("/api/v1/projects").await.json(), json!({"projects": []}));
    assert_eq!(server.get(path).await.status, 404);
    let fresh = [json, ("if-none-match", "*")];
    let kept = server.send("PUT", path, &fresh, r#"{"version":1}"#).await;
    assert_eq!(kept.status, 204);
    let first = kept.header("etag").to_owned();
    let read = server.get(path).await;
    assert_eq!((read.json(), read.header("etag")), (json!({"version": 1}), first.as_str()));
    assert_eq!(server.get("/api/v1/projects").await.json()["projects"][0]["name"], "My show");

    let again = server.send("PUT", path, &fresh, "{}").await;
    assert_eq!((again.status.as_u16(), again.code().as_deref()), (412, Some("project_changed")));
    let mine = [json, ("if-match", first.as_str())];
    assert_eq!(server.send("PUT", path, &mine, r#"{"version":2}"#).await.status, 204);
    assert_eq!(server.send("PUT", path, &mine, r#"{"version":3}"#).await.status, 412);
    assert_eq!(server.get(path).await.json(), json!({"version": 2}));

    assert_eq!(server.send("PUT", path, &[json], "[]").await.status, 422, "not an object");
    assert_eq!(server.send("PUT", "/api/v1/projects/..%2Fkeys", &[json], "{}").await.status, 400);
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(3 << 20));
    assert_eq!(server.send("PUT", path, &[json], large).await.status, 204, "more than other JSON bodies");
    let larger = format!(r#"{{"a":"{}"}}"#, "x".repeat(9 << 20));
    assert_eq!(server.send("PUT", path, &[json], larger).await.status, 413);
    assert_eq!(server.send("DELETE", path, &[], "").await.status, 204);
    assert_eq!(server.send("DELETE", path, &[], "").await.status, 404);
}
