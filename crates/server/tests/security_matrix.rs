//! Every documented route × every kind of caller. A route that is not in the table below fails the test: whoever adds one
//! decides who may call it.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Server, TOKEN, request};
use serde_json::Value;
use std::collections::BTreeSet;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// Pages with a cookie, local tools, others with the token.
    Protected,
    /// Signing in.
    Auth,
    /// Any page of the same origin; local tools, whatever is required of them elsewhere.
    Health,
    /// Local tools, whatever is required of them elsewhere; otherwise as protected.
    Metrics,
}

const TABLE: &[(&str, Guard)] = &[
    ("get /health", Guard::Health),
    ("get /metrics", Guard::Metrics),
    ("get /api/v1/auth", Guard::Auth),
    ("post /api/v1/auth", Guard::Auth),
    ("get /api/v1/assets", Guard::Protected),
    ("post /api/v1/assets", Guard::Protected),
    ("get /api/v1/assets/{path}", Guard::Protected),
    ("delete /api/v1/assets/{path}", Guard::Protected),
    ("get /api/v1/cloud/status", Guard::Protected),
    ("post /api/v1/cloud/connect", Guard::Protected),
    ("post /api/v1/cloud/disconnect", Guard::Protected),
    ("get /api/v1/events", Guard::Protected),
    ("get /api/v1/hardware/info", Guard::Protected),
    ("get /api/v1/sessions/{id}/score", Guard::Protected),
    ("put /api/v1/sessions/{id}/score", Guard::Protected),
    ("delete /api/v1/sessions/{id}/score", Guard::Protected),
    ("post /api/v1/workflow/resolve", Guard::Protected),
    ("get /api/v1/projects", Guard::Protected),
    ("get /api/v1/projects/{name}", Guard::Protected),
    ("put /api/v1/projects/{name}", Guard::Protected),
    ("delete /api/v1/projects/{name}", Guard::Protected),
    ("get /api/v1/keys", Guard::Protected),
    ("put /api/v1/keys/{id}", Guard::Protected),
    ("delete /api/v1/keys/{id}", Guard::Protected),
    ("get /api/v1/logs/current", Guard::Protected),
    ("get /api/v1/logs/tail", Guard::Protected),
    ("get /api/v1/lora/list", Guard::Protected),
    ("post /api/v1/lora/download", Guard::Protected),
    ("delete /api/v1/lora/download/{filename}", Guard::Protected),
    ("put /api/v1/lora/{filename}/provenance", Guard::Protected),
    ("get /api/v1/loras", Guard::Protected),
    ("post /api/v1/loras", Guard::Protected),
    ("post /api/v1/loras/upload", Guard::Protected),
    ("delete /api/v1/loras/{name}", Guard::Protected),
    ("get /api/v1/models", Guard::Protected),
    ("get /api/v1/models/status", Guard::Protected),
    ("post /api/v1/models/download", Guard::Protected),
    ("delete /api/v1/models/download/{pipeline_id}", Guard::Protected),
    ("post /api/v1/models/verify", Guard::Protected),
    ("delete /api/v1/models/{pipeline_id}", Guard::Protected),
    ("get /api/v1/nodes/definitions", Guard::Protected),
    ("get /api/v1/plugins", Guard::Protected),
    ("post /api/v1/plugins", Guard::Protected),
    ("delete /api/v1/plugins/{name}", Guard::Protected),
    ("post /api/v1/plugins/{name}/reload", Guard::Protected),
    ("get /api/v1/onboarding/status", Guard::Protected),
    ("put /api/v1/onboarding/status", Guard::Protected),
    ("delete /api/v1/pipeline/error", Guard::Protected),
    ("post /api/v1/pipeline/load", Guard::Protected),
    ("get /api/v1/pipeline/status", Guard::Protected),
    ("post /api/v1/pipeline/unload", Guard::Protected),
    ("get /api/v1/pipelines/schemas", Guard::Protected),
    ("get /api/v1/renders", Guard::Protected),
    ("post /api/v1/renders", Guard::Protected),
    ("delete /api/v1/renders/{id}", Guard::Protected),
    ("get /api/v1/recordings/{session_id}", Guard::Protected),
    ("post /api/v1/recordings/{session_id}/start", Guard::Protected),
    ("post /api/v1/recordings/{session_id}/stop", Guard::Protected),
    ("post /api/v1/restart", Guard::Protected),
    ("get /api/v1/session/frame", Guard::Protected),
    ("get /api/v1/session/metrics", Guard::Protected),
    ("get /api/v1/session/parameters", Guard::Protected),
    ("post /api/v1/session/parameters", Guard::Protected),
    ("post /api/v1/session/start", Guard::Protected),
    ("post /api/v1/session/stop", Guard::Protected),
    ("get /api/v1/sessions", Guard::Protected),
    ("delete /api/v1/sessions/{id}", Guard::Protected),
    ("get /api/v1/webrtc/ice-servers", Guard::Protected),
    ("post /api/v1/webrtc/offer", Guard::Protected),
    ("patch /api/v1/webrtc/offer/{session_id}", Guard::Protected),
    ("delete /api/v1/webrtc/offer/{session_id}", Guard::Protected),
    ("post /api/v1/webrtc/offer/{session_id}/restart", Guard::Protected),
];

/// How a request fared with the guard; what the handler then makes of it does not matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    NoToken,
    BadOrigin,
    BadHost,
}

const LOCAL: [u8; 4] = [127, 0, 0, 1];
const REMOTE: [u8; 4] = [192, 168, 1, 7];
const EVIL: &str = "https://evil.example";

struct Caller {
    name: &'static str,
    peer: [u8; 4],
    /// On a server that requires the token of everybody.
    strict: bool,
    headers: Vec<(&'static str, String)>,
    expected: fn(Guard) -> Fate,
}

fn callers(cookie: &str) -> Vec<Caller> {
    let bearer = || ("authorization", format!("Bearer {TOKEN}"));
    let cookie = || ("cookie", cookie.to_owned());
    let header = |name: &'static str, value: &str| (name, value.to_owned());
    let caller = |name, peer, headers, expected| Caller { name, peer, strict: false, headers, expected };
    let passed: fn(Guard) -> Fate = |_| Fate::Passed;
    let bad_origin: fn(Guard) -> Fate = |_| Fate::BadOrigin;
    let bad_host: fn(Guard) -> Fate = |_| Fate::BadHost;
    let sign_in_only: fn(Guard) -> Fate =
        |guard| if guard == Guard::Auth { Fate::Passed } else { Fate::NoToken };
    let page_without_cookie: fn(Guard) -> Fate = |guard| match guard {
        Guard::Auth | Guard::Health => Fate::Passed,
        Guard::Protected | Guard::Metrics => Fate::NoToken,
    };
    let strict_tool: fn(Guard) -> Fate = |guard| match guard {
        Guard::Protected => Fate::NoToken,
        _ => Fate::Passed,
    };
    let same_origin = || header("sec-fetch-site", "same-origin");
    let origin = || header("origin", "http://localhost:8000");
    let mut all = vec![
        caller("foreign page", LOCAL, vec![header("origin", EVIL), cookie()], bad_origin),
        caller("foreign page with the token", LOCAL, vec![header("origin", EVIL), bearer()], bad_origin),
        caller(
            "foreign page without an origin",
            LOCAL,
            vec![header("sec-fetch-site", "cross-site"), cookie()],
            bad_origin,
        ),
        caller(
            "page of another port",
            LOCAL,
            vec![header("origin", "http://localhost:9000"), cookie()],
            bad_origin,
        ),
        caller("sandboxed page", LOCAL, vec![header("origin", "null"), bearer()], bad_origin),
        caller(
            "link from a foreign page",
            LOCAL,
            vec![
                header("sec-fetch-site", "cross-site"),
                header("sec-fetch-mode", "navigate"),
                header("sec-fetch-dest", "document"),
                cookie(),
            ],
            bad_origin,
        ),
        caller("rebound name", LOCAL, vec![header("host", "evil.example:8000"), cookie()], bad_host),
        caller(
            "rebound name, same origin",
            LOCAL,
            vec![
                header("host", "evil.example"),
                header("origin", "http://evil.example"),
                same_origin(),
                bearer(),
            ],
            bad_host,
        ),
        caller("page without cookie", LOCAL, vec![origin(), same_origin()], page_without_cookie),
        caller(
            "page with a forged cookie",
            LOCAL,
            vec![same_origin(), header("cookie", "scope_session=9999999999.00")],
            page_without_cookie,
        ),
        caller("page with cookie", LOCAL, vec![origin(), same_origin(), cookie()], passed),
        caller("remote page with cookie", REMOTE, vec![origin(), same_origin(), cookie()], passed),
        caller("local tool", LOCAL, vec![], passed),
        caller("local tool behind a proxy", LOCAL, vec![header("x-forwarded-for", "1.2.3.4")], sign_in_only),
        caller("remote tool", REMOTE, vec![], sign_in_only),
        caller(
            "remote tool with a wrong token",
            REMOTE,
            vec![header("authorization", "Bearer wrong")],
            sign_in_only,
        ),
        caller("remote tool with the token", REMOTE, vec![bearer()], passed),
    ];
    let strict = |name, headers, expected| Caller { name, peer: LOCAL, strict: true, headers, expected };
    all.extend([
        strict("local tool, token required", vec![], strict_tool),
        strict("local tool with the required token", vec![bearer()], passed),
    ]);
    all
}

fn documented() -> BTreeSet<String> {
    let api = serde_json::to_value(scope_server::openapi()).unwrap();
    let methods = ["get", "post", "put", "patch", "delete", "head", "options"];
    let routes = |(path, item): (&String, &Value)| {
        let known = item.as_object().unwrap().keys().filter(|key| methods.contains(&key.as_str()));
        known.map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    };
    api["paths"].as_object().unwrap().iter().flat_map(routes).collect()
}

#[test]
fn the_table_names_every_documented_route_and_no_other() {
    let expected: BTreeSet<String> = TABLE.iter().map(|(route, _)| (*route).to_owned()).collect();
    let documented = documented();
    let missing: Vec<_> = documented.difference(&expected).collect();
    let gone: Vec<_> = expected.difference(&documented).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in the table: {missing:#?}\nnot documented: {gone:#?}"
    );
}

fn path_of(template: &str) -> String {
    let parts = template.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_caller_gets_to_every_route_exactly_as_far_as_it_may() {
    let mut wrong = Vec::new();
    for (route, guard) in TABLE {
        let (method, template) = route.split_once(' ').unwrap();
        let (method, path) = (method.to_uppercase(), path_of(template));
        // Fresh ones per route: nothing that a request does, wrong tokens included, reaches the next.
        let open = Server::new();
        let strict = Server::with(|config| config.require_token = true);
        for caller in callers(&open.cookie()) {
            let server = if caller.strict { &strict } else { &open };
            let mut headers: Vec<_> =
                caller.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            if method != "GET" {
                headers.push(("content-type", "application/json"));
            }
            let reply = server.send_from(caller.peer, request(&method, &path, &headers, "{}")).await;
            let fate = match (reply.status.as_u16(), reply.code().as_deref()) {
                (403, Some("host_forbidden")) => Fate::BadHost,
                (403, Some("origin_forbidden")) => Fate::BadOrigin,
                (401, Some("token_required")) => Fate::NoToken,
                _ => Fate::Passed,
            };
            let expected = (caller.expected)(*guard);
            if fate != expected {
                wrong.push(format!(
                    "{}: {route}: {fate:?} ({}) instead of {expected:?}",
                    caller.name, reply.status
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the page itself consists of is for everybody who may connect, but not for foreign pages.
#[tokio::test]
async fn files_of_the_interface_need_no_cookie() {
    let server = Server::new();
    for path in ["/", "/some/page", "/docs", "/redoc", "/docs/app.js", "/docs/app.css"] {
        let reply = server.send("GET", path, &[("sec-fetch-site", "same-origin")], "").await;
        assert_eq!(reply.status, 200, "{path}");
        let reply = server.send_from([10, 0, 0, 1], request("GET", path, &[], "")).await;
        assert_eq!(reply.status, 200, "{path} from elsewhere");
        let reply = server.send("GET", path, &[("sec-fetch-site", "cross-site")], "").await;
        assert_eq!(reply.code().as_deref(), Some("origin_forbidden"), "{path} embedded elsewhere");
    }
    let reply = server.send("GET", "/openapi.json", &[("sec-fetch-site", "same-origin")], "").await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn unknown_paths_of_the_api_are_protected_too() {
    let server = Server::new();
    let reply = server.send("GET", "/api/v1/unknown", &[("sec-fetch-site", "same-origin")], "").await;
    assert_eq!(reply.status, 401);
    let reply = server.get("/api/v1/unknown").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (404, "application/json"));
}

#[tokio::test]
async fn named_origins_get_cors_headers_and_others_do_not() {
    let server =
        Server::with(|config| config.allow_origins = vec!["https://Studio.example/".into(), "null".into()]);
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("origin", "https://studio.example"), ("authorization", &authorization)];
    let reply = server.send("GET", "/api/v1/keys", &headers, "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "https://studio.example");
    assert_eq!(reply.header("access-control-allow-credentials"), "true");
    assert_eq!(reply.header("vary"), "Origin");
    let reply = server
        .send("GET", "/api/v1/keys", &[("origin", "null"), ("authorization", &authorization)], "")
        .await;
    assert_eq!(reply.header("access-control-allow-origin"), "null");
    assert_eq!(reply.header("access-control-allow-credentials"), "");
    let reply = server.send("GET", "/api/v1/keys", &[("origin", "https://studio.example")], "").await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (401, ""));
    let reply = server.send("GET", "/health", &[("origin", EVIL)], "").await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn preflights_are_answered_for_named_origins_only() {
    let server = Server::with(|config| config.allow_origins = vec!["https://studio.example".into()]);
    let ask = |origin: &'static str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        request("OPTIONS", "/api/v1/pipeline/load", &headers, "")
    };
    let reply = server.send_from(LOCAL, ask("https://studio.example")).await;
    assert_eq!(reply.status, 204);
    assert!(reply.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(server.send_from(LOCAL, ask(EVIL)).await.status, 403);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = Server::new();
    for (path, headers) in [
        ("/", vec![]),
        ("/health", vec![]),
        ("/api/v1/unknown", vec![]),
        ("/api/v1/keys", vec![("origin", EVIL)]),
        ("/api/v1/keys", vec![("host", "evil.example")]),
    ] {
        let reply = server.send("GET", path, &headers, "").await;
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
        assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin");
    }
}

#[tokio::test]
async fn the_printed_address_signs_in_and_leaves_no_token_behind() {
    let server = Server::new();
    let reply = server.get(&format!("/?token={TOKEN}")).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/"));
    let cookie = reply.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"));
    let value = cookie.split(';').next().unwrap();
    let headers = [("sec-fetch-site", "same-origin"), ("cookie", value)];
    assert_eq!(server.send("GET", "/api/v1/auth", &headers, "").await.json()["authorized"], true);
    assert_eq!(server.send("GET", "/api/v1/keys", &headers, "").await.status, 200);

    let wrong = server.get("/?token=wrong").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("location"), wrong.header("set-cookie")), (303, "/", ""));
}

#[tokio::test]
async fn a_pasted_token_signs_in_and_guessing_is_slowed_down() {
    let server = Server::new();
    let page = [("sec-fetch-site", "same-origin"), ("content-type", "application/json")];
    let sign_in = |token: &str| request("POST", "/api/v1/auth", &page, format!("{{\"token\":\"{token}\"}}"));
    let reply = server.send_from(REMOTE, sign_in(TOKEN)).await;
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").starts_with("scope_session="));
    for _ in 0..10 {
        assert_eq!(
            server.send_from(REMOTE, sign_in("guess")).await.code().as_deref(),
            Some("token_required")
        );
    }
    let reply = server.send_from(REMOTE, sign_in(TOKEN)).await;
    assert_eq!(reply.status, 429);
    assert!(!reply.header("retry-after").is_empty());
    let bearer = [("authorization", "Bearer token-for-tests")];
    assert_eq!(server.send_from(REMOTE, request("GET", "/api/v1/keys", &bearer, "")).await.status, 429);
    // Others, and whoever has a cookie, are not affected.
    assert_eq!(server.send_from(LOCAL, sign_in(TOKEN)).await.status, 204);
    let cookie = [("cookie", &*server.cookie())];
    assert_eq!(server.send_from(REMOTE, request("GET", "/api/v1/keys", &cookie, "")).await.status, 200);
}

#[tokio::test]
async fn a_page_without_a_cookie_may_ask_whether_it_is_signed_in() {
    let server = Server::new();
    let reply = server.send("GET", "/api/v1/auth", &[("sec-fetch-site", "same-origin")], "").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["authorized"]), (200, &Value::Bool(false)));
    assert_eq!(server.get("/api/v1/auth").await.json()["authorized"], true);
}
