//! What a client still sends when its answer is ready.
//!
//! A refusal is often ready before the request's body has arrived. Many clients (Python's among them) send all of a body
//! before they read, and when the connection is closed meanwhile they see a reset instead of the answer. So the rest of
//! a body that nobody wants is read and thrown away: for a while, and not endlessly.

use axum::http::{HeaderMap, header};
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How much is thrown away before the client is hung up on.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    bytes: usize,
    /// For all of it.
    total: Duration,
    /// Between two pieces: a client that reads its answer instead of sending on is not waited for.
    pause: Duration,
}

/// Forty megabytes sent by mistake get their answer, also over a slow wireless network.
const BOUNDS: Bounds =
    Bounds { bytes: 64 << 20, total: Duration::from_secs(10), pause: Duration::from_secs(2) };

/// A request's body; what is left of it when it is dropped is read by a task of its own.
pub(crate) struct Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    body: Option<B>,
    /// The client sends nothing before it is told to, which happens at the first read.
    waits: bool,
}

impl<B> Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// `body` of a request with these `headers`.
    pub(crate) fn new(body: B, headers: &HeaderMap) -> Self {
        let expect = headers.get(header::EXPECT);
        let waits = expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { body: Some(body), waits }
    }
}

impl<B> Body for Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.waits = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !self.waits && !body.is_end_stream()) else { return };
        // One body per connection, and those are counted: so are these tasks.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(drain(body, BOUNDS));
        }
    }
}

/// Reads until the end, an error or the bounds.
async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B, bounds: Bounds) {
    let mut left = bounds.bytes;
    let reading = async {
        while let Ok(Some(Ok(frame))) = timeout(bounds.pause, body.frame()).await {
            let read = frame.data_ref().map_or(0, Buf::remaining);
            if read > left {
                break;
            }
            left -= read;
        }
    };
    timeout(bounds.total, reading).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{Stream, StreamExt, stream};
    use http_body_util::StreamBody;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    const PIECE: usize = 1000;

    fn body(
        pieces: impl Stream<Item = ()> + Send + 'static,
        taken: &Arc<AtomicUsize>,
    ) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
        let taken = Arc::clone(taken);
        StreamBody::new(Box::pin(pieces.map(move |()| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from_static(&[0; PIECE])))
        })))
    }

    const SMALL: Bounds =
        Bounds { bytes: 10 * PIECE, total: Duration::from_millis(300), pause: Duration::from_millis(100) };

    #[tokio::test]
    async fn no_more_is_read_than_the_bound() {
        let taken = Arc::default();
        drain(body(stream::repeat(()), &taken), SMALL).await;
        assert_eq!(taken.load(Ordering::Relaxed), 11);
    }

    #[tokio::test]
    async fn a_client_that_stops_or_trickles_is_not_waited_for() {
        let (taken, began) = (Arc::default(), Instant::now());
        drain(body(stream::pending(), &taken), SMALL).await;
        assert!(began.elapsed() >= SMALL.pause && taken.load(Ordering::Relaxed) == 0);
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            Some(((), ()))
        });
        drain(body(trickle, &taken), SMALL).await;
        assert!((1..=5).contains(&taken.load(Ordering::Relaxed)), "{taken:?}");
    }

    async fn read_after_drop(headers: &HeaderMap) -> usize {
        let taken = Arc::default();
        drop(Drained::new(body(stream::repeat(()).take(3), &taken), headers));
        tokio::task::yield_now().await;
        taken.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn the_rest_is_read_unless_the_client_waits_for_leave_to_send() {
        assert_eq!(read_after_drop(&HeaderMap::new()).await, 3);
        let waits = HeaderMap::from_iter([(header::EXPECT, "100-Continue".parse().unwrap())]);
        assert_eq!(read_after_drop(&waits).await, 0);
    }
}
