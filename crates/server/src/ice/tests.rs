use super::*;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a mock service behaves.
#[derive(Clone, Copy)]
enum Behaviour {
    Good,
    Unauthorized,
    Garbage,
    Slow,
    GoodOnce,
}

struct Mock {
    endpoints: Endpoints,
    calls: Arc<AtomicUsize>,
}

async fn answer(
    State((behaviour, calls)): State<(Behaviour, Arc<AtomicUsize>)>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let known = match (uri.path(), uri.query(), authorization) {
        ("/credentials", Some("ttl=600"), Some("Bearer hf")) => true,
        ("/v1/turn/keys/key/credentials/generate-ice-servers", None, Some("Bearer api")) => {
            body == r#"{"ttl":600}"#
        }
        ("/2010-04-01/Accounts/AC1/Tokens.json", None, Some("Basic QUMxOnR3")) => true,
        _ => false,
    };
    assert!(known, "{uri} {authorization:?} {body}");
    let server = json!({"urls": [format!("turn:call-{call}")], "username": "u", "credential": "c"});
    match behaviour {
        Behaviour::Good => Json(json!({"iceServers": [server]})).into_response(),
        Behaviour::GoodOnce if call == 1 => Json(json!({"iceServers": [server]})).into_response(),
        Behaviour::Unauthorized | Behaviour::GoodOnce => StatusCode::UNAUTHORIZED.into_response(),
        Behaviour::Garbage => "<html>".into_response(),
        Behaviour::Slow => {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Json(json!({"iceServers": [server]})).into_response()
        }
    }
}

async fn mock(behaviour: Behaviour) -> Mock {
    let calls = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(answer).with_state((behaviour, Arc::clone(&calls)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Mock {
        endpoints: Endpoints { hugging_face: base.clone(), cloudflare: base.clone(), twilio: base },
        calls,
    }
}

fn servers(mock: &Mock, providers: Vec<Provider>) -> IceServers {
    IceServers::new(IceConfig { providers, endpoints: mock.endpoints.clone(), ..IceConfig::default() })
}

fn cloudflare() -> Provider {
    Provider::Cloudflare { key_id: "key".into(), api_token: "api".into() }
}

fn twilio() -> Provider {
    Provider::Twilio { account_sid: "AC1".into(), auth_token: "tw".into() }
}

fn default_stun() -> Vec<IceServer> {
    vec![IceServer::stun(DEFAULT_STUN)]
}

#[tokio::test]
async fn every_service_is_asked_in_its_own_way() {
    let mock = mock(Behaviour::Good).await;
    for (token, providers) in [(Some("hf"), vec![]), (None, vec![cloudflare()]), (None, vec![twilio()])] {
        let got = servers(&mock, providers).get(token, Instant::now()).await;
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].username.as_deref(), Some("u"));
    }
}

#[tokio::test]
async fn without_anything_there_is_public_stun_unless_it_is_unwanted() {
    let plain = IceServers::new(IceConfig::default());
    assert_eq!(plain.get(None, Instant::now()).await, default_stun());
    let none = IceServers::new(IceConfig { no_stun: true, ..IceConfig::default() });
    assert_eq!(none.get(None, Instant::now()).await, []);
}

#[tokio::test]
async fn refusals_and_garbage_fall_back_and_are_not_repeated_at_once() {
    for behaviour in [Behaviour::Unauthorized, Behaviour::Garbage] {
        let mock = mock(behaviour).await;
        let (servers, now) = (servers(&mock, vec![twilio()]), Instant::now());
        for _ in 0..3 {
            assert_eq!(servers.get(None, now).await, default_stun());
        }
        assert_eq!(mock.calls.load(Ordering::SeqCst), 1);
        servers.get(None, now + RETRY_AFTER).await;
        assert_eq!(mock.calls.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn the_next_service_is_tried_when_one_fails() {
    let (dead, good) = (mock(Behaviour::Unauthorized).await, mock(Behaviour::Good).await);
    let endpoints = Endpoints { hugging_face: dead.endpoints.hugging_face, ..good.endpoints };
    let config = IceConfig { providers: vec![twilio()], endpoints, ..IceConfig::default() };
    let got = IceServers::new(config).get(Some("hf"), Instant::now()).await;
    assert_eq!(got[0].username.as_deref(), Some("u"));
}

#[tokio::test]
async fn credentials_are_kept_for_four_fifths_of_their_life() {
    let mock = mock(Behaviour::Good).await;
    let (servers, now) = (servers(&mock, vec![cloudflare()]), Instant::now());
    let first = servers.get(None, now).await;
    assert_eq!(servers.get(None, now + Duration::from_secs(479)).await, first);
    assert_ne!(servers.get(None, now + Duration::from_secs(481)).await, first);
    assert_eq!(mock.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_failed_refresh_leaves_credentials_that_are_still_good() {
    let mock = mock(Behaviour::GoodOnce).await;
    let (servers, now) = (servers(&mock, vec![cloudflare()]), Instant::now());
    let first = servers.get(None, now).await;
    assert_eq!(servers.get(None, now + Duration::from_secs(500)).await, first);
    assert_eq!(servers.get(None, now + Duration::from_secs(601)).await, default_stun());
}

#[tokio::test]
async fn many_callers_cause_one_request() {
    let mock = mock(Behaviour::Slow).await;
    let (servers, now) = (Arc::new(servers(&mock, vec![twilio()])), Instant::now());
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let servers = Arc::clone(&servers);
            tokio::spawn(async move { servers.get(None, now).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap()[0].urls, Urls::Many(vec!["turn:call-1".into()]));
    }
    assert_eq!(mock.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let endpoints = Endpoints { twilio: base, ..Endpoints::default() };
    let config = IceConfig { providers: vec![twilio()], endpoints, ..IceConfig::default() };
    let started = Instant::now();
    assert_eq!(IceServers::new(config).get(None, started).await, default_stun());
    assert!(started.elapsed() < TIMEOUT + Duration::from_secs(2));
}

#[tokio::test]
async fn a_token_saved_later_takes_effect_at_once() {
    let mock = mock(Behaviour::Good).await;
    let (servers, now) = (servers(&mock, vec![]), Instant::now());
    assert_eq!(servers.get(None, now).await, default_stun());
    assert_eq!(servers.get(Some("hf"), now).await[0].username.as_deref(), Some("u"));
}

#[test]
fn servers_are_read_from_the_command_line() {
    let turn = IceServer::parse("turn:me:p:w@turn.example:3478?transport=udp").unwrap();
    assert_eq!(turn.urls, Urls::One("turn:turn.example:3478?transport=udp".into()));
    assert_eq!((turn.username.as_deref(), turn.credential.as_deref()), (Some("me"), Some("p:w")));
    assert_eq!(IceServer::parse("stun:s.example").unwrap(), IceServer::stun("stun:s.example"));
    for bad in ["", "stun", "stun:", "http://x", "turn:host", "turn:user@host", "stun:a b"] {
        assert!(IceServer::parse(bad).is_err(), "{bad}");
    }
    assert!(!format!("{turn:?}").contains("p:w"));
}
