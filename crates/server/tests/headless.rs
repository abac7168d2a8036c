//! A session of the server itself, from loading to its recording, over the API alone.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

mod common;

use axum::extract::ConnectInfo;
use common::Server;
use futures_util::StreamExt;
use scope_server::Stop;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// Polls as clients do.
async fn until(server: &Server, path: &str, done: impl Fn(&common::Reply) -> bool) -> common::Reply {
    for _ in 0..400 {
        let reply = server.get(path).await;
        if done(&reply) {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{path} never got there: {}", String::from_utf8_lossy(&server.get(path).await.body));
}

async fn status(server: &Server, wanted: &str) -> Value {
    until(server, "/api/v1/pipeline/status", |reply| reply.json()["status"] == wanted).await.json()
}

#[tokio::test]
async fn loading_is_visible_at_once_and_both_shapes_work() {
    let server = Server::new();
    assert_eq!(status(&server, "not_loaded").await["pipeline_id"], Value::Null);
    let body =
        json!({"pipeline_ids": ["testcard"], "load_params": {"width": 128, "height": 96}, "user_id": "x"});
    assert_eq!(server.post("/api/v1/pipeline/load", &body).await.status, 200);
    assert_ne!(server.get("/api/v1/pipeline/status").await.json()["status"], "not_loaded");
    assert_eq!(status(&server, "loaded").await["pipeline_id"], "testcard");
    let body = json!({"pipelines": [{"node_id": "n", "pipeline_id": "passthrough", "load_params": null}]});
    assert_eq!(server.post("/api/v1/pipeline/load", &body).await.status, 200);
    until(&server, "/api/v1/pipeline/status", |reply| {
        let it = reply.json();
        it["status"] == "loaded" && it["pipelines"] == json!([{"node_id": "n", "pipeline_id": "passthrough"}])
    })
    .await;
    assert_eq!(server.post("/api/v1/pipeline/unload", &json!({})).await.status, 200);
    status(&server, "not_loaded").await;
}

#[tokio::test]
async fn a_load_error_sticks_until_it_is_cleared() {
    let server = Server::new();
    let body = json!({"pipeline_ids": ["testcard"], "load_params": {"width": 7}});
    server.post("/api/v1/pipeline/load", &body).await;
    for _ in 0..2 {
        let status = status(&server, "error").await;
        assert!(status["error"].as_str().unwrap().contains("width"), "{status}");
        assert_eq!(status["error_code"], "invalid_parameters");
    }
    assert_eq!(server.send("DELETE", "/api/v1/pipeline/error", &[], "").await.status, 204);
    status(&server, "not_loaded").await;
    let unknown = server.post("/api/v1/pipeline/load", &json!({"pipeline_ids": ["nobody"]})).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_deref()), (400, Some("unknown_pipeline")));
}

#[tokio::test]
async fn adapters_from_anywhere_else_on_the_disk_are_refused_before_anything_is_loaded() {
    let server = Server::new();
    let secret = server.dir.path().join("secret.safetensors");
    std::fs::write(&secret, b"not for clients").unwrap();
    let data = server.dir.path().join("data");
    for path in [secret.clone(), data.join("models/lora/../../../secret.safetensors"), "/etc/passwd".into()] {
        let loras = json!({"loras": [{"path": path, "scale": 1.0}]});
        let node = json!({"node_id": "a", "pipeline_id": "testcard", "load_params": loras});
        for body in
            [json!({"pipeline_ids": ["testcard"], "load_params": loras}), json!({"pipelines": [node]})]
        {
            let reply = server.post("/api/v1/pipeline/load", &body).await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_deref()),
                (400, Some("invalid_parameters")),
                "{path:?}"
            );
            status(&server, "not_loaded").await;
        }
    }
    // One that was installed is no matter of the guard.
    let installed = data.join("models/lora/cat.safetensors");
    std::fs::create_dir_all(installed.parent().unwrap()).unwrap();
    std::fs::write(&installed, b"").unwrap();
    let body = json!({"pipeline_ids": ["testcard"], "load_params": {"loras": [{"path": installed}]}});
    assert_eq!(server.post("/api/v1/pipeline/load", &body).await.status, 200);
    status(&server, "loaded").await;
}

#[tokio::test]
async fn a_headless_session_plays_is_steered_recorded_and_stopped() {
    let server = Server::new();
    for path in ["/api/v1/session/frame", "/api/v1/session/parameters", "/api/v1/session/metrics"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    let started = server
        .post("/api/v1/session/start", &json!({"pipeline_id": "testcard", "prompts": [{"text": "red"}]}))
        .await;
    let expected =
        json!({"status": "ok", "input_mode": "text", "cloud_mode": false, "pipeline_id": "testcard"});
    assert_eq!(started.json(), expected);

    let frame = until(&server, "/api/v1/session/frame?quality=50", |reply| reply.status == 200).await;
    assert_eq!((frame.header("content-type"), &frame.body[..2]), ("image/jpeg", &[0xff, 0xd8][..]));
    let reply =
        server.post("/api/v1/session/parameters", &json!({"prompts": ["blue"], "noise_scale": "x"})).await;
    let reply = reply.json();
    assert_eq!((&reply["status"], &reply["problems"][0]["key"]), (&json!("ok"), &json!("noise_scale")));
    assert_eq!(reply["applied_parameters"]["prompts"][0]["text"], "blue");
    // Nothing that was not sent may appear: that is how model defaults leak.
    assert_eq!(reply["applied_parameters"].as_object().unwrap().len(), 1);
    let parameters = server.get("/api/v1/session/parameters").await.json();
    assert_eq!(parameters["parameters"]["prompts"][0]["text"], "blue");
    assert_eq!(server.post("/api/v1/session/parameters", &json!({})).await.status, 400);
    assert_eq!(server.post("/api/v1/session/parameters", &json!({"noise_scale": "x"})).await.status, 422);

    let stats = server.get("/api/v1/session/metrics").await.json()["sessions"]["headless"].clone();
    assert!(stats["frames_out"].as_u64().unwrap() > 0 && stats["headless"] == true, "{stats}");
    let listed = server.get("/api/v1/sessions").await.json();
    assert_eq!(
        (&listed["sessions"][0]["id"], &listed["sessions"][0]["kind"]),
        (&json!("headless"), &json!("headless"))
    );

    assert_eq!(
        server.post("/api/v1/recordings/headless/start", &json!({})).await.json()["status"],
        "started"
    );
    assert_eq!(
        server.post("/api/v1/recordings/headless/start", &json!({})).await.json()["status"],
        "already_recording"
    );
    tokio::time::sleep(Duration::from_millis(600)).await;
    let wrong = server.post("/api/v1/recordings/headless/start?node_id=x", &json!({})).await;
    assert_eq!(wrong.status, 400);
    let file = server.get("/api/v1/recordings/headless").await;
    assert_eq!((file.status.as_u16(), file.header("content-type")), (200, "video/mp4"));
    assert!(file.header("content-disposition").contains("recording-") && &file.body[4..8] == b"ftyp");
    assert_eq!(server.post("/api/v1/recordings/headless/stop", &json!({})).await.json()["status"], "stopped");
    assert_eq!(server.get("/api/v1/recordings/nobody").await.status, 404);

    let keep = "/api/v1/recordings/headless/start?keep=";
    assert_eq!(server.post(&format!("{keep}perhaps"), &json!({})).await.status, 400);
    let films = async || {
        let listed = server.get("/api/v1/assets?type=video").await.json();
        listed["assets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    server.post(&format!("{keep}true"), &json!({})).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(films().await.is_empty(), "a recording is listed while it is written");
    let stopped = server.post("/api/v1/recordings/headless/stop", &json!({})).await.json();
    assert_eq!((&stopped["status"], &stopped["asset"]["folder"]), (&json!("stopped"), &json!("recordings")));
    let name = stopped["asset"]["name"].as_str().unwrap();
    assert_eq!(films().await, [name]);
    let film = server.get(&format!("/api/v1/assets/recordings/{name}.mp4")).await;
    assert_eq!((film.status.as_u16(), &film.body[4..8]), (200, b"ftyp".as_slice()));
    // One that nobody stops is kept when its session ends.
    server.post(&format!("{keep}true"), &json!({})).await;
    tokio::time::sleep(Duration::from_millis(600)).await;

    let metrics = String::from_utf8(server.get("/metrics").await.body).unwrap();
    assert!(metrics.contains("scope_sessions 1"), "{metrics}");
    assert_eq!(server.post("/api/v1/session/stop", &json!({})).await.json()["status"], "ok");
    assert_eq!(server.post("/api/v1/session/stop", &json!({})).await.status, 404);
    assert_eq!(films().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_show_is_rendered_again_beside_what_runs() {
    let server = Server::new();
    let score = |frames: u64| {
        json!({"format": "scope-score", "format_version": "1.0", "pipeline_id": "testcard", "frames": frames, "exact": true,
            "load": {"width": 64, "height": 64}, "changes": [{"frame": 0, "parameters": {"prompts": [{"text": "a dog"}]}}]})
    };
    let render = async |body: Value| server.post("/api/v1/renders", &body).await;
    let refused = render(json!({"score": score(20)})).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_deref()), (409, Some("pipeline_unloaded")));
    let body = json!({"pipeline_ids": ["testcard"], "load_params": {"width": 64, "height": 64}});
    server.post("/api/v1/pipeline/load", &body).await;
    status(&server, "loaded").await;
    for (body, wanted) in [
        (json!({"score": {}}), (400, "invalid_score")),
        (json!({"score": score(0)}), (400, "invalid_score")),
        (json!({"score": score(5), "total_frames": u64::MAX}), (400, "invalid_score")),
    ] {
        let reply = render(body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_deref()), (wanted.0, Some(wanted.1)));
    }
    assert_eq!(render(json!({"score": score(5), "input": "nothing.mp4"})).await.status, 404);

    let mut watcher = server.service.events.watch().unwrap();
    let begun = render(json!({"score": score(20)})).await;
    assert_eq!(begun.status, 202);
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let done = loop {
        let event = watcher.next().await.unwrap();
        if event.name == "renders" && event.data["state"] != "rendering" {
            break event.data;
        }
    };
    assert_eq!((&done["state"], &done["frames"], &done["exact"]), (&json!("done"), &json!(20), &json!(true)));
    assert_eq!((&done["id"], &done["asset"]["folder"]), (&json!(id), &json!("recordings")));
    let film = format!("/api/v1/assets/recordings/{}.mp4", done["asset"]["name"].as_str().unwrap());
    assert_eq!(server.get(&film).await.status, 200);

    let long = render(json!({"score": score(20), "total_frames": 4_000_000})).await.json();
    let busy = render(json!({"score": score(20)})).await;
    assert_eq!((busy.status.as_u16(), busy.code().as_deref()), (409, Some("render_running")));
    let remove = async |id: &Value| {
        let path = format!("/api/v1/renders/{}", id.as_str().unwrap());
        server.send("DELETE", &path, &[], "").await.status.as_u16()
    };
    assert_eq!(remove(&long["id"]).await, 204);
    let over = until(&server, "/api/v1/renders", |it| it.json()["renders"][0]["state"] == "cancelled").await;
    assert_eq!(over.json()["renders"][1], done);
    assert_eq!(
        (remove(&long["id"]).await, remove(&json!(id)).await, remove(&json!(id)).await),
        (204, 204, 404)
    );
    assert_eq!(server.get("/api/v1/renders").await.json(), json!({"renders": []}));
    assert_eq!(server.get(&film).await.status, 200, "forgetting a render takes its film away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_replaced_session_does_not_end_the_one_that_replaced_it() {
    let server = Server::new();
    for _ in 0..30 {
        let start = json!({"pipeline_id": "testcard"});
        assert_eq!(server.post("/api/v1/session/start", &start).await.status, 200);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(server.service.sessions.count(), 1);
    }
    server.post("/api/v1/session/stop", &json!({})).await;
}

#[tokio::test]
async fn a_second_start_replaces_the_first() {
    let server = Server::new();
    for _ in 0..2 {
        assert_eq!(
            server.post("/api/v1/session/start", &json!({"pipeline_id": "testcard"})).await.status,
            200
        );
    }
    assert_eq!(server.get("/api/v1/sessions").await.json()["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(server.send("DELETE", "/api/v1/sessions/headless", &[], "").await.status, 204);
    assert_eq!(server.send("DELETE", "/api/v1/sessions/headless", &[], "").await.status, 204);
    assert_eq!(server.get("/api/v1/sessions").await.json()["sessions"], json!([]));
}

#[tokio::test]
async fn graphs_are_checked_before_anything_is_loaded() {
    let server = Server::new();
    let graph = json!({"nodes": [{"id": "a", "type": "pipeline", "pipeline_id": "nobody"}], "edges": []});
    let reply = server.post("/api/v1/session/start", &json!({"graph": graph})).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_deref()), (400, Some("invalid_graph")));
    assert_eq!(server.post("/api/v1/session/start", &json!({})).await.status, 422);
    let graph = json!({
        "nodes": [{"id": "gen", "type": "pipeline", "pipeline_id": "testcard"}, {"id": "out", "type": "sink"}],
        "edges": [{"from": "gen", "from_port": "video", "to_node": "out", "to_port": "video"}],
    });
    let reply = server.post("/api/v1/session/start", &json!({"graph": graph})).await.json();
    assert_eq!((&reply["graph"], &reply["sink_node_ids"]), (&json!(true), &json!(["out"])), "{reply}");
    assert_eq!(reply["pipeline_ids"], json!(["testcard"]));
    server.post("/api/v1/session/stop", &json!({})).await;
}

#[tokio::test]
async fn there_are_only_as_many_sessions_as_allowed() {
    let server = Server::with(|config| config.max_sessions = 0);
    let reply = server.post("/api/v1/session/start", &json!({"pipeline_id": "testcard"})).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_deref()), (503, Some("session_limit")));
}

#[tokio::test]
async fn schemas_and_definitions_describe_the_same_pipelines() {
    let server = Server::new();
    let schemas = server.get("/api/v1/pipelines/schemas").await.json();
    let mut ids: Vec<_> = schemas["pipelines"].as_object().unwrap().keys().cloned().collect();
    let nodes = server.get("/api/v1/nodes/definitions").await.json();
    let mut others: Vec<_> = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["node_type_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    others.sort();
    assert_eq!(ids, others);
}

#[tokio::test]
async fn what_is_prepared_for_newcomers_is_suggested_and_otherwise_unseen() {
    let server = Server::new();
    let newcomer = server.service.models.registry().newcomer().map(str::to_owned);
    server.service.preload();
    let suggested = server.get("/api/v1/pipelines/schemas").await.json()["default_pipeline"].clone();
    assert_eq!(suggested, json!(newcomer));
    assert_eq!(server.get("/api/v1/pipeline/status").await.json()["status"], "not_loaded");
    let body = json!({"pipeline_ids": ["testcard"]});
    assert_eq!(server.post("/api/v1/pipeline/load", &body).await.status, 200);
    assert_eq!(status(&server, "loaded").await["pipelines"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_pipeline_that_the_configuration_names_is_loaded_for_all_to_see() {
    let server = Server::with(|config| config.preload = Some("testcard".into()));
    server.service.preload();
    assert_eq!(status(&server, "loaded").await["pipeline_id"], "testcard");
    assert_eq!(server.get("/api/v1/pipelines/schemas").await.json()["default_pipeline"], "testcard");
}

/// Reads server-sent events until all of `wanted` were seen, in any order and in any pieces.
async fn read_until(
    events: &mut (impl futures_util::Stream<Item = Result<bytes::Bytes, axum::Error>> + Unpin),
    wanted: &[&str],
) -> String {
    let read = async {
        let mut seen = String::new();
        while !wanted.iter().all(|wanted| seen.contains(wanted)) {
            let piece = events.next().await.unwrap().unwrap();
            seen.push_str(std::str::from_utf8(&piece).unwrap());
        }
        seen
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap()
}

#[tokio::test]
async fn watchers_see_the_present_first_and_then_what_happens() {
    let server = Server::new();
    let watching = tokio::spawn(scope_server::serve(
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
        server.router.clone(),
        Arc::clone(&server.service),
    ));
    let mut request = common::request("GET", "/api/v1/events", &[], "");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
    let response = server.router.clone().oneshot(request).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    let first = read_until(&mut events, &["event: "]).await;
    assert!(first.contains("pipeline_status") && first.contains("not_loaded"), "{first}");
    server.post("/api/v1/session/start", &json!({"pipeline_id": "testcard"})).await;
    // The two come from different places, in either order.
    read_until(&mut events, &["\"status\":\"loaded\"", "{\"count\":1}"]).await;
    server.service.stop(Stop::Shutdown);
    assert_eq!(watching.await.unwrap(), Stop::Shutdown);
    assert_eq!(server.service.sessions.count(), 0);
    let rest = tokio::time::timeout(Duration::from_secs(5), events.collect::<Vec<_>>()).await;
    assert!(rest.is_ok(), "the stream of events outlives the server");
}

/// Changes parameters while it plays, fetches the score, plays that in a session of its own: the same score comes back.
#[tokio::test]
async fn a_performance_is_fetched_as_a_score_and_played_again() {
    let server = Server::new();
    let body = json!({"pipeline_ids": ["testcard"], "load_params": {"width": 128, "height": 96}});
    server.post("/api/v1/pipeline/load", &body).await;
    status(&server, "loaded").await;
    let start = json!({"pipeline_id": "testcard", "prompts": [{"text": "a dog", "weight": 100}]});
    assert_eq!(server.post("/api/v1/session/start", &start).await.status, 200);
    let path = "/api/v1/sessions/headless/score";
    let frames = |reply: &common::Reply| reply.json()["frames"].as_u64().unwrap_or(0);
    until(&server, path, |reply| frames(reply) >= 6).await;
    let parameters = json!({"prompts": [{"text": "a cow", "weight": 100}], "reset_cache": true});
    assert_eq!(server.post("/api/v1/session/parameters", &parameters).await.status, 200);
    let done = |reply: &common::Reply| reply.json()["changes"].as_array().is_some_and(|it| it.len() == 2);
    let performed = until(&server, path, done).await.json();
    assert_eq!((&performed["pipeline_id"], &performed["exact"]), (&json!("testcard"), &json!(true)));
    assert_eq!(performed["load"], json!({"width": 128, "height": 96}));
    assert_eq!(performed["changes"][0]["frame"], 0);
    assert!(performed["changes"][1]["frame"].as_u64().unwrap() >= 6);

    let start = json!({"pipeline_id": "testcard", "score": performed});
    assert_eq!(server.post("/api/v1/session/start", &start).await.status, 200);
    let again = until(&server, path, done).await.json();
    assert_eq!(again["changes"], performed["changes"]);

    let cued = json!({"format": "scope-score", "format_version": "1.0",
        "changes": [{"seconds": 0.2, "parameters": {"prompts": ["a fox"]}}]});
    let reply = server.send("PUT", path, &[("content-type", "application/json")], cued.to_string()).await;
    assert_eq!(reply.json(), json!({"changes": 1}));
    until(&server, "/api/v1/session/parameters", |reply| {
        reply.json()["parameters"]["prompts"][0]["text"] == "a fox"
    })
    .await;
    let wrong = json!({"format": "scope-score", "format_version": "1.0", "changes": [{"frame": 0, "parameters": {"noise_scale": "x"}}]});
    let reply = server.send("PUT", path, &[("content-type", "application/json")], wrong.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_deref()), (400, Some("invalid_score")));
    assert_eq!(server.send("DELETE", path, &[], "").await.status, 204);
    assert_eq!(server.get("/api/v1/sessions/other/score").await.status, 404);
    server.post("/api/v1/session/stop", &json!({})).await;
}
