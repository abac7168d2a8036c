//! The accept loop: HTTP/1.1 with time limits, and an orderly end.

use crate::Service;
use crate::drain::Drained;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use crate::service::Stop;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 512;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How long requests may go on after the stop.
const DRAIN: Duration = Duration::from_millis(800);
/// How long sessions may take to end: recordings are completed.
const SESSIONS_END: Duration = Duration::from_secs(3);

/// Serves until the service is stopped, and says why it was. Requests in flight get a moment to finish.
pub async fn serve(listener: TcpListener, router: Router, service: Arc<Service>) -> Stop {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (closing, _) = watch::channel(false);
    let watching = tokio::spawn(Arc::clone(&service).watch_models());
    let watching_downloads = tokio::spawn(Arc::clone(&service).watch_downloads());
    let stop = loop {
        let accepted = tokio::select! {
            stop = service.stopped() => break stop,
            accepted = accept(&listener) => accepted,
        };
        let (Some((stream, peer)), Ok(permit)) = (accepted, Arc::clone(&connections).try_acquire_owned())
        else {
            continue;
        };
        let (router, closed) = (router.clone(), closing.subscribe());
        tokio::spawn(async move {
            connection(stream, peer, router, closed).await;
            drop(permit);
        });
    };
    drop(listener);
    watching.abort();
    watching_downloads.abort();
    // Sessions end while requests drain: their clients should hear of it while they can.
    closing.send_replace(true);
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let drained = tokio::time::timeout(DRAIN, connections.acquire_many(all));
    let ended = tokio::time::timeout(SESSIONS_END, service.end_all_sessions());
    let (drained, ended) = tokio::join!(drained, ended);
    if drained.is_err() || ended.is_err() {
        tracing::info!("not everything ended in time");
    }
    stop
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            // Out of file descriptors, most likely: others must close first.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, mut closed: watch::Receiver<bool>) {
    // Small answers must not wait for a full packet.
    stream.set_nodelay(true).ok();
    let app = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (parts, body) = request.into_parts();
        let body = Drained::new(body, &parts.headers);
        Request::from_parts(parts, Body::new(body))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut serving = std::pin::pin!(serving);
    let mut closing = std::pin::pin!(async {
        closed.wait_for(|closed| *closed).await.ok();
    });
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = closing.as_mut() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
