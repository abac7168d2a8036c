//! The routes of LoRA adapters, against a server on this machine.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../store/tests/hub/mod.rs"]
mod hub;

use common::Server;
use hub::{Fault, Hub, sha256};
use serde_json::json;

fn adapter() -> Vec<u8> {
    let table = br#"{"x":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}"#;
    let mut file = (table.len() as u64).to_le_bytes().to_vec();
    file.extend(table);
    file.extend([1, 2, 3, 4, 5]);
    file
}

fn server() -> (Server, Hub) {
    let hub = Hub::new();
    hub.put("o/r", "cat.safetensors", &adapter());
    let server = Server::with(|config| config.hf_endpoint = Some(format!("http://127.0.0.1:{}", hub.port)));
    (server, hub)
}

#[tokio::test]
async fn adapters_are_installed_listed_described_and_removed() {
    let (server, _hub) = server();
    assert_eq!(server.get("/api/v1/loras").await.json(), json!({"lora_files": []}));
    let body = json!({"url": "https://huggingface.co/o/r/resolve/main/cat.safetensors"});
    let reply = server.post("/api/v1/loras", &body).await;
    assert_eq!(reply.status, 200, "{:?}", reply.json());
    let file = reply.json()["file"].clone();
    assert_eq!((&file["name"], &file["read_only"]), (&json!("cat"), &json!(false)));
    assert_eq!(server.post("/api/v1/loras", &body).await.status, 409);
    assert_eq!(server.get("/api/v1/loras").await.json()["lora_files"], json!([file]));
    assert_eq!(server.get("/api/v1/lora/list").await.json()["lora_files"], json!([file]));

    let wrong = json!({"source": "huggingface", "repo_id": "o/r", "hf_filename": "cat.safetensors",
        "subfolder": "b", "expected_sha256": "0".repeat(64)});
    assert_eq!(server.post("/api/v1/lora/download", &wrong).await.status, 400);
    let right = json!({"source": "huggingface", "repo_id": "o/r", "hf_filename": "cat.safetensors",
        "subfolder": "b", "expected_sha256": sha256(&adapter())});
    let reply = server.post("/api/v1/lora/download", &right).await.json();
    assert_eq!(
        (&reply["filename"], &reply["sha256"]),
        (&json!("b/cat.safetensors"), &json!(sha256(&adapter())))
    );
    let put = |path: &'static str, body: serde_json::Value| {
        server.send("PUT", path, &[("content-type", "application/json")], body.to_string())
    };
    let record = put("/api/v1/lora/b%2fcat.safetensors/provenance", json!({"source": "local"})).await;
    assert_eq!((record.status.as_u16(), &record.json()["provenance"]["source"]), (200, &json!("local")));
    let unknown = put("/api/v1/lora/none.safetensors/provenance", json!({"source": "local"})).await;
    assert_eq!(unknown.status, 404);
    let outside = put("/api/v1/lora/..%2fx.safetensors/provenance", json!({"source": "local"})).await;
    assert_eq!(outside.status, 400);
    let remove = || server.send("DELETE", "/api/v1/loras/cat", &[], "");
    assert_eq!(remove().await.json()["success"], true);
    assert_eq!(remove().await.json()["success"], true);
    assert_eq!(remove().await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_is_cancelled_and_goes_well_the_next_time() {
    let (server, hub) = server();
    let body = json!({"url": "https://huggingface.co/o/r/resolve/main/cat.safetensors"});
    let cancel =
        async |name: &str| server.send("DELETE", &format!("/api/v1/lora/download/{name}"), &[], "").await;
    assert_eq!(cancel("cat.safetensors").await.status, 404);
    assert_eq!(cancel("..%2fcat.safetensors").await.status, 400);
    hub.fault("/o/r/resolve/main/cat.safetensors", Fault::Hold(10));
    let cancelled = async {
        while cancel("cat.safetensors").await.status != 204 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let (reply, ()) = tokio::join!(server.post("/api/v1/loras", &body), cancelled);
    assert_eq!((reply.status.as_u16(), reply.code().as_deref()), (409, Some("cancelled")));
    assert_eq!(server.get("/api/v1/loras").await.json(), json!({"lora_files": []}));
    hub.release();
    assert_eq!(server.post("/api/v1/loras", &body).await.status, 200);
}

#[tokio::test]
async fn bad_requests_are_told_apart() {
    let (server, _hub) = server();
    for (url, status) in [
        ("https://evil.example/a.safetensors", 400),
        ("https://huggingface.co/o/r/blob/main/cat.safetensors", 400),
        ("https://huggingface.co/o/r/resolve/main/cat.ckpt", 400),
        ("https://huggingface.co/o/r/resolve/main/none.safetensors", 404),
        ("http://127.0.0.1/a.safetensors", 400),
    ] {
        let reply = server.post("/api/v1/loras", &json!({"url": url})).await;
        assert_eq!(reply.status, status, "{url}: {:?}", reply.json());
        assert!(reply.json()["detail"].is_string());
    }
    for body in [
        json!({"source": "url"}),
        json!({"source": "nobody"}),
        json!({"source": "civitai", "version_id": "x"}),
    ] {
        assert_eq!(server.post("/api/v1/lora/download", &body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn uploads_are_checked() {
    let (server, _hub) = server();
    let local = &server;
    let put = |name: &str, content: Vec<u8>| {
        let path = format!("/api/v1/loras/upload?filename={name}");
        async move { local.send("POST", &path, &[], content).await }
    };
    assert_eq!(put("mine.safetensors", adapter()).await.json()["file"]["name"], "mine");
    assert_eq!(put("mine.safetensors", adapter()).await.status, 409);
    assert_eq!(put("bad.safetensors", b"no adapter".to_vec()).await.status, 400);
    assert_eq!(put("bad.ckpt", adapter()).await.status, 400);
    assert_eq!(put("..%2fbad.safetensors", adapter()).await.status, 400);
    assert_eq!(server.get("/api/v1/loras").await.json()["lora_files"].as_array().unwrap().len(), 1);
    let small = Server::with(|config| config.max_upload_bytes = 10);
    let path = "/api/v1/loras/upload?filename=a.safetensors";
    assert_eq!(small.send("POST", path, &[], adapter()).await.status, 413);
}
