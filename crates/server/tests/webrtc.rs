//! Real WebRTC clients against a whole server, over loopback, with losses where a test asks for them.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod peer;

use common::Server;
use peer::{Client, Loss};
use scope_media::codec::VideoCodec;
use scope_server::webrtc::Timeouts;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

async fn server_with(pipeline: &str) -> Server {
    loaded(Server::new(), pipeline).await
}

async fn loaded(server: Server, pipeline: &str) -> Server {
    let reply = server.post("/api/v1/pipeline/load", &json!({"pipeline_ids": [pipeline]})).await;
    assert_eq!(reply.status, 200);
    until("the pipeline", || server.service.models.status().status == scope_stream::StatusKind::Loaded).await;
    server
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn video() -> Value {
    json!({"input_mode": "video"})
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_back_in_either_codec() {
    let server = server_with("passthrough").await;
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let mut client = Client::connect(&server, codec, true, video(), Loss::none()).await;
        client.run_until(PATIENCE, |client| client.pictures.len() >= 10).await;
        let (width, height) = client.pictures.last().unwrap().size();
        assert_eq!((width, height), (128, 96), "{codec:?}");
        client.close();
    }
    until("the end of both sessions", || server.service.sessions.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_track_or_a_graph_gets_generated_pictures_and_hears_of_its_update() {
    let server = server_with("testcard").await;
    let initial = json!({"prompts": [{"text": "a cow", "weight": 1}]});
    let mut client = Client::connect(&server, VideoCodec::Vp8, false, initial, Loss::none()).await;
    client.run_until(PATIENCE, |client| client.pictures.len() >= 3).await;
    client.send(&json!({"prompts": [{"text": "a robot", "weight": 1}], "_id": "take-1", "noise_scale": 9}));
    client.run_until(PATIENCE, |client| client.message("applied").is_some()).await;
    let applied = client.message("applied").unwrap();
    assert_eq!(applied["id"], "take-1");
    assert!(applied["rtp_timestamp"].is_u64(), "{applied}");
    let error = client.message("error").expect("the bad parameter was not reported");
    assert_eq!(error["parameters"][0]["key"], "noise_scale");
    client.send(&json!({"_ping": 7}));
    client.run_until(PATIENCE, |client| client.message("pong").is_some()).await;
    client.run_until(PATIENCE, |client| client.message("metrics").is_some()).await;
    assert_eq!(client.message("metrics").unwrap()["codec"], "VP8");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_sessions_end_reaches_its_client_and_nobody_else() {
    let server = server_with("testcard").await;
    let mut first = Client::connect(&server, VideoCodec::Vp8, false, json!({}), Loss::none()).await;
    first.run_until(PATIENCE, |client| !client.pictures.is_empty()).await;
    server.service.models.unload(None).unwrap();
    first.run_until(PATIENCE, |client| client.message("stream_stopped").is_some()).await;
    assert_eq!(first.message("stream_stopped").unwrap()["error_code"], "pipeline_unloaded");
    until("the end of the session", || server.service.sessions.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_of_all_packets_lost_still_leaves_a_moving_picture() {
    let server = server_with("passthrough").await;
    let mut client = Client::connect(&server, VideoCodec::Vp8, true, video(), Loss::both_ways(0.10)).await;
    client.run_until(PATIENCE, |client| client.pictures.len() >= 60).await;
    assert!(client.lost > 20, "only {} packets were lost: the test tests nothing", client.lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_restarts_without_ending_the_session() {
    let server = server_with("testcard").await;
    let mut client = Client::connect(&server, VideoCodec::Vp8, false, json!({}), Loss::none()).await;
    client.run_until(PATIENCE, |client| client.pictures.len() >= 3).await;
    client.restart_ice(&server).await;
    let before = client.pictures.len();
    client.run_until(PATIENCE, |client| client.pictures.len() >= before + 15).await;
    assert_eq!(server.service.sessions.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_and_one_that_never_comes_are_given_up() {
    let timeouts = Timeouts {
        connect: Duration::from_millis(800),
        disconnect: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let server = loaded(Server::with(|config| config.timeouts = timeouts), "testcard").await;
    let never = Client::offer(&server, VideoCodec::Vp8, false, json!({}), Loss::none()).await;
    assert_eq!(server.service.sessions.count(), 1);
    until("giving up the one that never came", || server.service.sessions.count() == 0).await;
    drop(never);

    let mut client = Client::connect(&server, VideoCodec::Vp8, false, json!({}), Loss::none()).await;
    client.run_until(PATIENCE, |client| !client.pictures.is_empty()).await;
    drop(client);
    until("giving up the one that vanished", || server.service.sessions.count() == 0).await;
    let status = server.get("/api/v1/pipeline/status").await.json();
    assert_eq!(status["error_code"], "connection_lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_and_go_leave_nothing_behind() {
    let server = server_with("testcard").await;
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let round = async || {
        let mut client = Client::connect(&server, VideoCodec::Vp8, false, json!({}), Loss::none()).await;
        client.run_until(PATIENCE, |client| !client.pictures.is_empty()).await;
        client.close();
        until("the end", || server.service.sessions.count() == 0).await;
    };
    round().await;
    let before = threads();
    for _ in 0..8 {
        round().await;
    }
    // Encoder threads end by themselves a moment after their session; blocking threads of the runtime may stay.
    until("the end of all threads", || threads() <= before + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_offers_are_refused_and_leave_no_session() {
    let server = server_with("testcard").await;
    let good = Client::sdp(VideoCodec::Vp8, false);
    let lines: Vec<&str> = good.split_inclusive("\r\n").collect();
    for count in 0..lines.len() {
        let body = json!({"sdp": lines[..count].concat(), "type": "offer"});
        let reply = server.post("/api/v1/webrtc/offer", &body).await;
        if reply.status == 200 {
            let path = format!("/api/v1/webrtc/offer/{}", reply.json()["sessionId"].as_str().unwrap());
            assert_eq!(server.send("DELETE", &path, &[], "").await.status, 204);
        } else {
            assert_eq!(reply.status, 400, "{count} lines: {}", reply.json());
            assert_eq!(reply.code().as_deref(), Some("invalid_offer"), "{count} lines");
        }
    }
    let no_codec = good.replace("VP8", "VPX").replace("H264", "H26X");
    let reply = server.post("/api/v1/webrtc/offer", &json!({"sdp": no_codec, "type": "offer"})).await;
    assert_eq!(reply.status, 400, "{}", reply.json());
    let reply = server.post("/api/v1/webrtc/offer", &json!({"sdp": good, "type": "answer"})).await;
    assert_eq!(reply.status, 422);
    until("the end of all sessions", || server.service.sessions.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_and_ends_of_unknown_sessions_are_answered_as_clients_expect() {
    let server = server_with("testcard").await;
    let body = json!({"candidates": []}).to_string();
    let json_type = [("content-type", "application/json")];
    let reply = server.send("PATCH", "/api/v1/webrtc/offer/nobody", &json_type, body).await;
    assert_eq!(reply.status, 404);
    assert_eq!(server.send("DELETE", "/api/v1/webrtc/offer/nobody", &[], "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_sessions_than_allowed_are_refused_with_a_code() {
    let server = loaded(Server::with(|config| config.max_sessions = 1), "testcard").await;
    let first = Client::offer(&server, VideoCodec::Vp8, false, json!({}), Loss::none()).await;
    let body = json!({"sdp": Client::sdp(VideoCodec::Vp8, false), "type": "offer"});
    let reply = server.post("/api/v1/webrtc/offer", &body).await;
    assert_eq!((u16::from(reply.status), reply.code().as_deref()), (503, Some("session_limit")));
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_names_streams_and_candidates_and_silences_audio() {
    let server = server_with("testcard").await;
    let client = Client::offer(&server, VideoCodec::Vp8, false, json!({}), Loss::none()).await;
    let answer = &client.answer;
    assert!(answer.contains("a=msid:"), "{answer}");
    assert!(answer.contains("a=candidate:"), "{answer}");
    let audio = answer.split("m=").find(|section| section.starts_with("audio")).expect("no audio section");
    assert!(audio.contains("a=inactive"), "{audio}");
}
