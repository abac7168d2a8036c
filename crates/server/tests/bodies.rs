//! Bodies that are too large or too slow, over real sockets: what counts is what a client gets to read.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

mod common;

use axum::body::{Body, Bytes};
use common::Server;
use futures_util::future::join_all;
use futures_util::stream;
use scope_server::{Stop, serve};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};

const JSON: &str = "content-type: application/json\r\n";
const MIB: usize = 1 << 20;

struct Listening {
    server: Server,
    address: SocketAddr,
    serving: JoinHandle<Stop>,
}

impl Listening {
    async fn new(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, server.router.clone(), Arc::clone(&server.service)));
        Self { server, address, serving }
    }

    /// Sends a whole request as simple clients do, without a look at what comes back, and then reads to the end.
    async fn send_all(&self, head: String, body: Vec<u8>) -> String {
        let address = self.address;
        let work = move || {
            let mut stream = connect(address, &head);
            stream.write_all(&body).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        spawn_blocking(work).await.unwrap()
    }

    async fn stop(self) {
        self.server.service.stop(Stop::Shutdown);
        self.serving.await.unwrap();
    }
}

fn connect(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(format!("{head}host: localhost\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn post(path: &str, length: usize, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\ncontent-length: {length}\r\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_can_read_that_it_was_too_much() {
    let it = Listening::new(Server::with(|config| config.max_upload_bytes = 1000)).await;
    for (path, headers, status) in [
        ("/api/v1/pipeline/load", JSON, "413"),
        ("/api/v1/webrtc/offer", JSON, "413"),
        ("/api/v1/assets?filename=a.mkv", "", "413"),
        // Refused before anybody looks at the body.
        ("/api/v1/pipeline/load", "", "415"),
        ("/api/v1/pipeline/load", "origin: https://elsewhere.example\r\n", "403"),
        ("/api/v1/nothing", "", "404"),
        ("/health", "", "405"),
    ] {
        let head = post(path, 40 * MIB, &format!("connection: close\r\n{headers}"));
        let answer = it.send_all(head, vec![b' '; 40 * MIB]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {headers:?}: {answer:.80}");
        assert!(answer.contains("{\"detail\":"), "{path}: {answer}");
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_a_body_that_was_too_much() {
    let it = Listening::new(Server::new()).await;
    let head = post("/api/v1/pipeline/load", 5 * MIB, JSON);
    let next = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answers = it.send_all(head, [vec![b' '; 5 * MIB], next.to_vec()].concat()).await;
    assert!(answers.starts_with("HTTP/1.1 413 ") && answers.contains("HTTP/1.1 200 "), "{answers}");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_ends_is_hung_up_on() {
    let it = Listening::new(Server::new()).await;
    let address = it.address;
    let sent = spawn_blocking(move || {
        let mut stream = connect(address, &post("/api/v1/pipeline/load", 1 << 40, JSON));
        let piece = vec![b' '; MIB];
        (0..1000).find(|_| stream.write_all(&piece).is_err())
    });
    let sent = sent.await.unwrap();
    // What is thrown away, and what the system's buffers take besides.
    assert!(sent.is_some_and(|mib| (40..200).contains(&mib)), "{sent:?} MiB were taken");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_leave_to_send_is_refused_before_sending() {
    let it = Listening::new(Server::with(|config| config.max_upload_bytes = 1000)).await;
    let head = post("/api/v1/assets?filename=a.mkv", 40 * MIB, "expect: 100-continue\r\n");
    let answer = it.send_all(head, Vec::new()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_408() {
    let it = Listening::new(Server::with(|config| config.body_timeout = Duration::from_millis(200))).await;
    let paths = [
        ("/api/v1/pipeline/load", JSON),
        ("/api/v1/pipeline/unload", JSON),
        ("/api/v1/webrtc/offer", JSON),
        ("/api/v1/assets?filename=a.mkv", ""),
    ];
    // All at once: each waits a moment for what its client might still send.
    let answers = paths.map(|(path, headers)| {
        let head = post(path, 100, &format!("connection: close\r\n{headers}"));
        it.send_all(head, b"{\"half\":".to_vec())
    });
    for (answer, (path, _)) in join_all(answers).await.into_iter().zip(paths) {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
    }
    let left = std::fs::read_dir(it.server.dir.path().join("data/assets")).unwrap().count();
    assert_eq!(left, 0, "half an upload stayed");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_holds_no_place_for_uploads() {
    let server = Server::with(|config| config.body_timeout = Duration::from_millis(200));
    let trickle = stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (sent < 100).then(|| (Ok::<_, std::convert::Infallible>(Bytes::from_static(b"x")), sent + 1))
    });
    let reply = server.send("POST", "/api/v1/assets?filename=a.mkv", &[], Body::from_stream(trickle)).await;
    assert_eq!(reply.status, 408);
}
