//! WebRTC: signalling over HTTP, media over one UDP port, parameters over a data channel.
//!
//! [`Transport`] owns the port. It answers an offer for a [`Session`] and starts a *peer*: one task that
//! owns the connection's state machine and never encodes, one thread per outgoing track that does, and one per incoming
//! track that decodes. The peer ends the session when its client is gone for good.

mod capture_clock;
mod color;
mod egress;
mod ingress;
mod messages;
mod mux;
mod peer;
mod routes;
mod sdp;

pub use messages::{TransportMetrics, parse as parse_message};
pub(crate) use routes::routes;

use crate::http::{ApiError, ApiResult};
use crate::{Config, Service};
use mux::UdpMux;
use parking_lot::Mutex;
use scope_stream::{Session, SessionKind, StopReason};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::bwe::Bitrate;
use str0m::change::SdpOffer;
use str0m::media::Direction;
use str0m::rtp::Extension;
use str0m::{Candidate, RtcConfig};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

/// Commands that wait for a peer's task.
const COMMANDS: usize = 64;
/// Most candidates taken from one client.
pub(crate) const MAX_CANDIDATES: usize = 64;
/// Where the bandwidth estimate starts.
const INITIAL_ESTIMATE: Bitrate = Bitrate::kbps(2500);

/// Times after which a peer is given up.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the answer to the first connection.
    pub connect: Duration,
    /// From a lost connection to its return.
    pub disconnect: Duration,
    /// Without pictures, while waiting or paused.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            disconnect: Duration::from_secs(15),
            idle: Duration::from_secs(3600),
        }
    }
}

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Not SDP, or not an offer that makes sense.
    #[error("the offer cannot be used: {0}")]
    Invalid(String),
    /// No codec in common.
    #[error("the offer has a video track without VP8 or H.264; enable one of them in the client")]
    NoCodec,
    /// The peer is gone.
    #[error("the session's connection is closed")]
    Closed,
}

enum Command {
    Candidates(Vec<Candidate>),
    Restart(Box<SdpOffer>, oneshot::Sender<Result<String, OfferError>>),
    Close,
}

/// A running peer, as the rest of the server sees it.
#[derive(Clone)]
pub struct PeerHandle {
    commands: mpsc::Sender<Command>,
    metrics: Arc<Mutex<TransportMetrics>>,
    closed: watch::Receiver<bool>,
}

impl PeerHandle {
    /// Adds the client's candidates.
    ///
    /// # Errors
    /// [`OfferError::Closed`] when the peer is gone.
    pub(crate) async fn add_candidates(&self, candidates: Vec<Candidate>) -> Result<(), OfferError> {
        self.commands.send(Command::Candidates(candidates)).await.map_err(|_| OfferError::Closed)
    }

    /// Answers another offer for the same connection: an ICE restart.
    ///
    /// # Errors
    /// [`OfferError`]; the connection goes on as it was.
    pub(crate) async fn restart(&self, sdp: &str) -> Result<String, OfferError> {
        let offer = parse_offer(sdp)?;
        let (answer, receiver) = oneshot::channel();
        let command = Command::Restart(Box::new(offer), answer);
        self.commands.send(command).await.map_err(|_| OfferError::Closed)?;
        receiver.await.unwrap_or(Err(OfferError::Closed))
    }

    /// Closes the connection and ends the session.
    pub fn close(&self) {
        // A full queue means a peer that is busy; it looks at the session's state as well.
        self.commands.try_send(Command::Close).ok();
    }

    /// The transport's numbers.
    pub fn metrics(&self) -> TransportMetrics {
        self.metrics.lock().clone()
    }

    /// Waits until the peer has ended.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means that the peer's task is gone, which is what we wait for.
        closed.wait_for(|closed| *closed).await.ok();
    }
}

/// The peers of a server, and the port that they share once the first one comes.
#[derive(Default)]
pub struct WebRtc {
    transport: OnceCell<Transport>,
    peers: Mutex<HashMap<String, PeerHandle>>,
}

impl WebRtc {
    /// The media port, opened at the first call.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn transport(&self, config: &Config) -> std::io::Result<&Transport> {
        let open = || Transport::bind(config.media_port, config.public_ips.clone(), config.timeouts);
        self.transport.get_or_try_init(open).await
    }

    /// The peer of a session.
    pub fn peer(&self, session_id: &str) -> Option<PeerHandle> {
        self.peers.lock().get(session_id).cloned()
    }
}

impl Service {
    /// Starts a session for an offer; returns the answer and the session's id.
    ///
    /// # Errors
    /// 400 for a bad offer or graph or when nothing is loaded, 503 when there are too many sessions.
    pub(crate) async fn accept_offer(
        self: &Arc<Self>,
        sdp: &str,
        parameters: Map<String, Value>,
    ) -> ApiResult<(String, String)> {
        parse_offer(sdp)?;
        let request = self.start_request(parameters)?;
        let (recording, order) = (request.recording, request.source_track_order.clone());
        let transport = self.webrtc.transport(&self.config).await;
        let transport =
            transport.map_err(|error| ApiError::internal("the media port cannot be opened", &error))?;
        let id = uuid::Uuid::new_v4().to_string();
        let session = self.start_session(id.clone(), SessionKind::Webrtc, request).await?;
        let sources = track_sources(&session, order.as_deref());
        let (answer, peer) = match transport.accept(sdp, Arc::clone(&session), sources) {
            Ok(accepted) => accepted,
            Err(error) => {
                self.end_session(&id, StopReason::Requested).await;
                return Err(error.into());
            }
        };
        if recording && let Some(bus) = session.recording_bus(None) {
            let started = session.recordings().start(None, bus, None);
            started.map_err(|error| ApiError::internal("the recording cannot be started", &error))?;
        }
        self.webrtc.peers.lock().insert(id.clone(), peer.clone());
        let service = Arc::clone(self);
        let ended = id.clone();
        tokio::spawn(async move {
            peer.closed().await;
            service.webrtc.peers.lock().remove(&ended);
            service.end_session(&ended, StopReason::Requested).await;
        });
        Ok((answer, id))
    }
}

/// Indices of the sources that the client's video tracks feed, in the order of the tracks.
fn track_sources(session: &Session, order: Option<&[String]>) -> Vec<usize> {
    let sources = session.client_sources();
    let Some(order) = order else { return sources.iter().map(|source| source.index).collect() };
    order.iter().filter_map(|id| sources.iter().find(|s| s.node_id == *id).map(|s| s.index)).collect()
}

/// The media port and what all peers share.
pub struct Transport {
    mux: Arc<UdpMux>,
    public_ips: Vec<IpAddr>,
    timeouts: Timeouts,
}

impl Transport {
    /// Opens the media port.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn bind(port: u16, public_ips: Vec<IpAddr>, timeouts: Timeouts) -> std::io::Result<Self> {
        // The same library signs, seals and makes the server's HTTPS calls.
        str0m::crypto::from_feature_flags().install_process_default();
        Ok(Self { mux: Arc::new(UdpMux::bind(port).await?), public_ips, timeouts })
    }

    /// The addresses that media arrives at.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.mux.addresses().collect()
    }

    /// Datagrams that were dropped: from strangers, and for peers that were too slow.
    pub fn dropped_datagrams(&self) -> (u64, u64) {
        self.mux.dropped()
    }

    /// Answers an offer for `session` and starts its peer. `track_sources` are the session's sources in the order of the
    /// client's video tracks.
    ///
    /// # Errors
    /// [`OfferError`]; nothing has been started then.
    pub(crate) fn accept(
        &self,
        sdp: &str,
        session: Arc<Session>,
        track_sources: Vec<usize>,
    ) -> Result<(String, PeerHandle), OfferError> {
        let offer = parse_offer(sdp)?;
        let now = Instant::now();
        let mut rtc = configuration().build(now);
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let (registration, datagrams) = self.mux.register(&ufrag);
        for candidate in self.candidates() {
            rtc.add_local_candidate(candidate);
        }
        let answer =
            rtc.sdp_api().accept_offer(offer).map_err(|error| OfferError::Invalid(error.to_string()))?;
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (closed, closed_receiver) = watch::channel(false);
        let metrics = Arc::<Mutex<TransportMetrics>>::default();
        let mut peer = peer::Peer::new(peer::Parts {
            rtc,
            session,
            track_sources,
            mux: Arc::clone(&self.mux),
            registration,
            timeouts: self.timeouts,
            metrics: Arc::clone(&metrics),
        });
        let answer = answer.to_sdp_string();
        let inactive = peer.learn_media(&answer)?;
        let answer = sdp::with_wire_color_space(&sdp::with_inactive(&answer, &inactive));
        tokio::spawn(async move {
            peer.run(datagrams, command_receiver).await;
            closed.send_replace(true);
        });
        Ok((answer, PeerHandle { commands, metrics, closed: closed_receiver }))
    }

    /// Everything a client may try: every socket, and the public addresses that a router maps to the first of them.
    fn candidates(&self) -> Vec<Candidate> {
        let host = self.mux.addresses().filter_map(|address| Candidate::host(address, "udp").ok());
        let mapped = self.public_ips.iter().filter_map(|ip| {
            let base = self.mux.addresses().find(|address| address.is_ipv4() == ip.is_ipv4())?;
            Candidate::server_reflexive(SocketAddr::new(*ip, base.port()), base, "udp").ok()
        });
        host.chain(mapped).collect()
    }
}

fn configuration() -> RtcConfig {
    let mut config = RtcConfig::new()
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true)
        .enable_bwe(Some(INITIAL_ESTIMATE))
        .set_extension(14, Extension::PlayoutDelay)
        .set_extension(13, Extension::with_serializer(sdp::OUR_COLOR_SPACE, color::ColorSpaceReader))
        .set_stats_interval(Some(Duration::from_secs(1)));
    // A client that has vanished is noticed after about ten seconds; the default takes 24.
    config.set_max_stun_retransmits(5);
    // Constrained baseline and baseline, packetization-mode 1: what our codec speaks. Profiles beyond would be promises.
    let codecs = config.codec_config();
    codecs.add_h264(108.into(), Some(109.into()), true, 0x0042_e01f);
    codecs.add_h264(102.into(), Some(103.into()), true, 0x0042_001f);
    config
}

/// Reads an offer.
///
/// # Errors
/// [`OfferError::Invalid`].
pub fn parse_offer(sdp: &str) -> Result<SdpOffer, OfferError> {
    SdpOffer::from_sdp_string(&sdp::with_our_color_space(sdp))
        .map_err(|error| OfferError::Invalid(error.to_string()))
}

/// Reads a client's candidate. `Ok(None)` for those that say nothing to us: the end mark, and names that only the
/// client's own network resolves (mDNS); such clients are found by their first packet.
///
/// # Errors
/// A text for the client.
pub fn parse_candidate(text: &str) -> Result<Option<Candidate>, String> {
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    let mut fields = text.split_ascii_whitespace();
    let address = fields.nth(4).unwrap_or_default();
    if address.ends_with(".local")
        || text.split_ascii_whitespace().nth(2).is_some_and(|p| p.eq_ignore_ascii_case("tcp"))
    {
        return Ok(None);
    }
    Candidate::from_sdp_string(text)
        .map(Some)
        .map_err(|error| format!("the candidate cannot be read: {error}"))
}

/// Whether we send in a section with this direction.
const fn sends(direction: Direction) -> bool {
    matches!(direction, Direction::SendOnly | Direction::SendRecv)
}

/// Whether the client sends in a section with this direction.
const fn receives(direction: Direction) -> bool {
    matches!(direction, Direction::RecvOnly | Direction::SendRecv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_that_say_nothing_are_skipped_and_nonsense_is_refused() {
        for quiet in [
            "",
            "candidate:1 1 udp 2113937151 4f1b2c.local 51000 typ host",
            "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        ] {
            assert_eq!(parse_candidate(quiet), Ok(None), "{quiet}");
        }
        assert!(parse_candidate("candidate:1 1 udp 2113937151 192.0.2.1 51000 typ host").unwrap().is_some());
        assert!(parse_candidate("candidate:nonsense").is_err());
    }

    #[test]
    fn nonsense_is_no_offer() {
        for bad in ["", "v=0", "hello", "m=video 9 UDP/TLS/RTP/SAVPF 96"] {
            assert!(matches!(parse_offer(bad), Err(OfferError::Invalid(_))), "{bad}");
        }
    }
}
