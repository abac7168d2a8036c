//! The routes of the model store, against a server on this machine.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../store/tests/hub/mod.rs"]
mod hub;

use common::Server;
use hub::{Fault, Hub, noise};
use serde_json::{Value, json};

const MODEL: &str = "/daydreamlive/Reward-Forcing-T2V-1.3B/resolve/main/rewardforcing.pt";

fn server() -> (Server, Hub) {
    let hub = Hub::new();
    let base = "daydreamlive/Wan2.1-T2V-1.3B";
    hub.put(base, "Wan2.1_VAE.pth", &noise(1, 3000));
    hub.put(base, "config.json", b"{}");
    hub.put(base, "google/umt5-xxl/tokenizer.json", b"{}");
    let empty = b"\x02\0\0\0\0\0\0\0{}";
    hub.put("daydreamlive/WanVideo_comfy", "umt5-xxl-enc-fp8_e4m3fn.safetensors", empty);
    hub.put("daydreamlive/Reward-Forcing-T2V-1.3B", "rewardforcing.pt", &noise(2, 3 << 20));
    let server = Server::with(|config| config.hf_endpoint = Some(format!("http://127.0.0.1:{}", hub.port)));
    (server, hub)
}

const STATUS: &str = "/api/v1/models/status?pipeline_id=reward-forcing&vae_type=wan&vace_enabled=false";

fn wanted() -> Value {
    json!({"pipeline_id": "reward-forcing", "vae_type": "wan", "vace_enabled": false})
}

#[tokio::test]
async fn a_download_is_followed_to_its_end() {
    let (server, _hub) = server();
    let before = server.get(STATUS).await.json();
    assert_eq!((&before["downloaded"], &before["progress"]), (&json!(false), &Value::Null));
    assert_eq!(before["missing_bytes"], 6_731_000_000_u64 + 507_600_000 + 16_800_000 + 250 + 5_676_000_000);
    let reply = server.post("/api/v1/models/download", &wanted()).await;
    assert_eq!(reply.status, 200, "{:?}", reply.json());
    server.service.store.wait("reward-forcing").await.unwrap();
    let after = server.get(STATUS).await.json();
    assert_eq!((&after["downloaded"], &after["state"]), (&json!(true), &json!("complete")));
    let all = server.get("/api/v1/models").await.json();
    assert_eq!(all["models"].as_array().unwrap().len(), 9);
    assert!(all["room_bytes"].as_u64().is_some());
    let files = all["models"][0]["files"].as_array().unwrap();
    let when = |name: &str| {
        let named = |file: &&Value| file["path"].as_str().unwrap().ends_with(name);
        files.iter().find(named).unwrap()["when"].clone()
    };
    assert_eq!(when("umt5-xxl-enc-fp8_e4m3fn.safetensors"), json!({}));
    assert_eq!(when("/taew2_1.pth"), json!({"vae_type": "tae"}));
    assert_eq!(when("VACE_module_1_3B_bf16.safetensors"), json!({"vace": true}));
    let verified =
        server.post("/api/v1/models/verify", &json!({"pipeline_id": "reward-forcing"})).await.json();
    let is_intact = |file: &&Value| file["outcome"] == "intact";
    assert_eq!(verified["files"].as_array().unwrap().iter().filter(is_intact).count(), 5);
    let removed = server.send("DELETE", "/api/v1/models/reward-forcing", &[], "").await.json();
    assert_eq!(removed["files"].as_array().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_download_is_seen_refused_twice_and_cancelled() {
    let (server, hub) = server();
    hub.fault(MODEL, Fault::Hold(1 << 20));
    let mut watcher = server.service.store.changes();
    assert_eq!(server.post("/api/v1/models/download", &wanted()).await.status, 200);
    let again = server.post("/api/v1/models/download", &wanted()).await;
    assert_eq!((again.status.as_u16(), again.code().as_deref()), (409, Some("download_running")));
    let progress = loop {
        watcher.changed().await.unwrap();
        let status = server.get(STATUS).await.json();
        if status["progress"]["current_artifact"].is_string() {
            break status["progress"].clone();
        }
    };
    assert_eq!(progress["is_downloading"], true);
    for key in ["percentage", "downloaded_bytes", "total_bytes"] {
        assert!(progress[key].is_number(), "{progress}");
    }
    let remove = server.send("DELETE", "/api/v1/models/reward-forcing", &[], "").await;
    assert_eq!(remove.code().as_deref(), Some("download_running"));
    let cancel = || server.send("DELETE", "/api/v1/models/download/reward-forcing", &[], "");
    assert_eq!(cancel().await.status, 200);
    assert_eq!(cancel().await.status, 404);
    assert_eq!(server.get(STATUS).await.json()["progress"], Value::Null);
    hub.release();
}

#[tokio::test]
async fn a_failure_stays_until_the_next_attempt_and_names_the_key() {
    let (server, hub) = server();
    hub.always(MODEL, Fault::Status(401, "X-A", "b"));
    server.post("/api/v1/models/download", &wanted()).await;
    server.service.store.wait("reward-forcing").await.unwrap_err();
    let status = server.get(STATUS).await.json();
    assert_eq!(
        (&status["downloaded"], &status["progress"]["is_downloading"]),
        (&json!(false), &json!(false))
    );
    let error = status["progress"]["error"].as_str().unwrap();
    assert!(error.contains("authentication") && error.contains("API key"), "{error}");
}

#[tokio::test]
async fn pipelines_without_files_are_always_there_and_unknown_ones_never() {
    let server = Server::new();
    let status = server.get("/api/v1/models/status?pipeline_id=testcard").await.json();
    assert_eq!(status, json!({"downloaded": true, "progress": null}));
    let body = |id: &str| json!({"pipeline_id": id});
    assert_eq!(server.post("/api/v1/models/download", &body("testcard")).await.status, 200);
    assert_eq!(server.post("/api/v1/models/download", &body("")).await.status, 400);
    assert_eq!(server.post("/api/v1/models/download", &body("nobody")).await.status, 404);
    assert_eq!(server.post("/api/v1/models/verify", &body("nobody")).await.status, 404);
    assert_eq!(server.send("DELETE", "/api/v1/models/..%2f..%2fetc", &[], "").await.status, 404);
    for odd in [json!({"vae_type": "huge"}), json!({"model_size": "huge"})] {
        let mut odd = odd;
        odd["pipeline_id"] = json!("longlive");
        assert_eq!(server.post("/api/v1/models/download", &odd).await.status, 422);
    }
    for (size, needed, other) in
        [("small", "raft_small", "raft_large"), ("large", "raft_large", "raft_small")]
    {
        let path = format!("/api/v1/models/status?pipeline_id=optical-flow&model_size={size}");
        let files = server.get(&path).await.json()["files"].to_string();
        assert!(files.contains(needed) && !files.contains(other), "{files}");
    }
}
