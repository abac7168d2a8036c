//! One connected client: the task that owns its connection.

use super::egress::{Egress, EgressControl, Encoded};
use super::ingress::{Ingress, Packet};
use super::messages::{self, TransportMetrics};
use super::mux::{Datagram, Registration, UdpMux};
use super::{Command, OfferError, Timeouts, receives, sdp, sends};
use parking_lot::Mutex;
use scope_frame::{ColorSpace, Timestamp};
use scope_media::codec::VideoCodec;
use scope_stream::{Session, SessionEvent, SessionState, StopReason};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use str0m::bwe::{Bitrate, BweKind};
use str0m::change::SdpOffer;
use str0m::channel::{ChannelData, ChannelId};
use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, MediaData, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::stats::PeerStats;
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::{Notify, broadcast, mpsc};

/// Encoded pictures that wait for the task.
const ENCODED: usize = 4;
/// Messages that wait for the data channel to open.
const MAX_OUTBOX: usize = 256;
/// Updates whose first picture has not been sent.
const MAX_PENDING: usize = 128;
/// Key frames are asked for at most this often.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);
/// Messages per second taken from a client.
const MAX_MESSAGES_PER_SECOND: u32 = 500;
/// The estimate is encoded up to this share.
const ENCODE_SHARE: f64 = 0.9;
/// A network worse than this gets a small jitter buffer.
const ROUGH_LOSS: f64 = 0.02;
const ROUGH_RTT_MILLIS: f64 = 60.0;
/// How much play-out delay a rough network may use.
const ROUGH_PLAYOUT: Duration = Duration::from_millis(150);
/// Packets sent in a row before others get their turn.
const MAX_POLL_ROUNDS: u32 = 256;
/// Housekeeping interval.
const TICK: Duration = Duration::from_millis(250);

/// What a peer is made from.
pub(super) struct Parts {
    pub(super) rtc: Rtc,
    pub(super) session: Arc<Session>,
    pub(super) track_sources: Vec<usize>,
    pub(super) mux: Arc<UdpMux>,
    pub(super) registration: Registration,
    pub(super) timeouts: Timeouts,
    pub(super) metrics: Arc<Mutex<TransportMetrics>>,
}

struct OutTrack {
    mid: Mid,
    pt: Pt,
    codec: VideoCodec,
    control: Arc<EgressControl>,
}

pub(super) struct Peer {
    parts: Parts,
    out: Vec<OutTrack>,
    encoded: mpsc::Sender<Encoded>,
    encoded_receiver: Option<mpsc::Receiver<Encoded>>,
    /// Incoming video sections in the order of the offer, and the source each feeds.
    sources: HashMap<Mid, usize>,
    ingress: HashMap<Mid, Ingress>,
    keyframe_wanted: Arc<Notify>,
    last_keyframe_request: Option<Instant>,
    channel: Option<ChannelId>,
    outbox: VecDeque<String>,
    pending: VecDeque<(String, u64)>,
    connected: bool,
    /// When the connection is given up, unless it comes (back) before.
    give_up_at: Option<Instant>,
    idle_since: Option<Instant>,
    messages_this_second: (Instant, u32),
    bytes_before: Option<(Instant, u64)>,
    /// Bytes of pictures handed to the network since the last statistics.
    picture_bytes: u64,
    /// Whether the client has heard of the end.
    told_end: bool,
}

/// Why a peer ended.
enum End {
    /// The client or the server closed it.
    Closed,
    /// The session ended by itself.
    Session,
    /// Something went wrong.
    Failed(&'static str, String),
}

impl Peer {
    pub(super) fn new(parts: Parts) -> Self {
        let (encoded, receiver) = mpsc::channel(ENCODED);
        let give_up_at = Some(Instant::now() + parts.timeouts.connect);
        Self {
            parts,
            out: Vec::new(),
            encoded,
            encoded_receiver: Some(receiver),
            sources: HashMap::new(),
            ingress: HashMap::new(),
            keyframe_wanted: Arc::new(Notify::new()),
            last_keyframe_request: None,
            channel: None,
            outbox: VecDeque::new(),
            pending: VecDeque::new(),
            connected: false,
            give_up_at,
            idle_since: None,
            messages_this_second: (Instant::now(), 0),
            bytes_before: None,
            picture_bytes: 0,
            told_end: false,
        }
    }

    /// Reads the negotiated sections, in the order of the offer: which get our sinks, and which feed our sources. Returns the
    /// mids of those that get nothing, for the answer to say so.
    ///
    /// # Errors
    /// [`OfferError`] when a video section has no codec in common.
    pub(super) fn learn_media(&mut self, answer: &str) -> Result<Vec<String>, OfferError> {
        let mut inactive = Vec::new();
        let sink_count = self.parts.session.sink_ids().len();
        let mut free_sources = self.parts.track_sources.clone().into_iter();
        for name in sdp::mids(answer) {
            let mid = Mid::from(name);
            let Some(media) = self.parts.rtc.media(mid) else { continue };
            let direction = media.direction();
            if media.kind() != MediaKind::Video {
                // No pipeline of ours makes sound.
                inactive.push(name.to_owned());
                continue;
            }
            if receives(direction)
                && let Some(source) = free_sources.next()
            {
                self.sources.insert(mid, source);
            }
            if sends(direction) {
                if self.out.len() < sink_count {
                    self.add_out_track(mid)?;
                } else if !receives(direction) {
                    inactive.push(name.to_owned());
                }
            }
        }
        Ok(inactive)
    }

    fn add_out_track(&mut self, mid: Mid) -> Result<(), OfferError> {
        let writer = self.parts.rtc.writer(mid);
        let choice = writer.and_then(|writer| {
            writer.payload_params().find_map(|params| codec_of(params.spec().codec).map(|c| (params.pt(), c)))
        });
        let (pt, codec) = choice.ok_or(OfferError::NoCodec)?;
        let control = Arc::<EgressControl>::default();
        control.network_kbps.store(super::INITIAL_ESTIMATE.as_u64() as u32 / 1000, Ordering::Relaxed);
        control.want_keyframe.store(true, Ordering::Relaxed);
        self.out.push(OutTrack { mid, pt, codec, control });
        Ok(())
    }

    /// Runs the connection to its end, and ends the session.
    pub(super) async fn run(
        mut self,
        mut datagrams: mpsc::Receiver<Datagram>,
        mut commands: mpsc::Receiver<Command>,
    ) {
        let session = Arc::clone(&self.parts.session);
        let end = self.drive(&mut datagrams, &mut commands).await;
        let reason = match end {
            Ok(End::Closed) => StopReason::Requested,
            Ok(End::Session) => session.stop_reason().unwrap_or(StopReason::Requested),
            Ok(End::Failed(code, message)) => StopReason::Failed { code: code.into(), message },
            Err(error) => StopReason::Failed {
                code: "connection_lost".into(),
                message: format!("the connection broke: {error}"),
            },
        };
        if let StopReason::Failed { code, message } = &reason {
            tracing::warn!(session = session.id(), code, "{message}");
        }
        self.say_goodbye(&reason);
        drop(self);
        // Joining threads may take a chunk's time: not on this thread.
        tokio::task::spawn_blocking(move || session.stop(reason)).await.ok();
    }

    async fn drive(
        &mut self,
        datagrams: &mut mpsc::Receiver<Datagram>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<End, RtcError> {
        let mut events = self.parts.session.events();
        let Some(mut encoded) = self.encoded_receiver.take() else { return Ok(End::Closed) };
        let mut tick = tokio::time::interval(TICK);
        let mut report = tokio::time::interval(Duration::from_secs(1));
        self.send(&json!({"type": "state", "state": self.parts.session.state()}));
        loop {
            let timeout = self.poll()?;
            if !self.parts.rtc.is_alive() {
                return Ok(End::Closed);
            }
            if self.parts.session.stop_reason().is_some() && events.is_empty() {
                return Ok(End::Session);
            }
            tokio::select! {
                biased;
                Some(datagram) = datagrams.recv() => {
                    self.receive(&datagram)?;
                    // Whatever came along is handled before the connection is polled again.
                    for _ in 0..32 {
                        let Ok(datagram) = datagrams.try_recv() else { break };
                        self.poll()?;
                        self.receive(&datagram)?;
                    }
                }
                Some(picture) = encoded.recv() => self.write(&picture),
                command = commands.recv() => match command {
                    None | Some(Command::Close) => return Ok(End::Closed),
                    Some(Command::Candidates(candidates)) => {
                        for candidate in candidates {
                            self.parts.rtc.add_remote_candidate(candidate);
                        }
                    }
                    Some(Command::Restart(offer, answer)) => {
                        // A requester that has gone needs no answer.
                        answer.send(self.restart(*offer)).ok();
                    }
                },
                event = events.recv() => match event {
                    Ok(event) => self.tell(event),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::debug!(session = self.parts.session.id(), missed, "events were missed");
                    }
                    Err(broadcast::error::RecvError::Closed) => return Ok(End::Session),
                },
                () = self.keyframe_wanted.notified() => self.request_keyframes(),
                _ = report.tick() => self.report(),
                _ = tick.tick() => {
                    self.request_keyframes();
                    if let Some(end) = self.overdue() {
                        return Ok(end);
                    }
                }
                () = tokio::time::sleep_until(timeout.into()) => {}
            }
            self.parts.rtc.handle_input(Input::Timeout(Instant::now()))?;
        }
    }

    /// Drains the state machine: sends what it wants sent, handles what it tells. Returns when it wants to be called again.
    fn poll(&mut self) -> Result<Instant, RtcError> {
        let mut rounds = 0;
        loop {
            match self.parts.rtc.poll_output()? {
                Output::Timeout(at) => {
                    let now = Instant::now();
                    if at <= now && rounds < MAX_POLL_ROUNDS {
                        // The pacer asks to be called at once after every packet. A timer would round that up to a
                        // millisecond, and a picture has ten packets.
                        rounds += 1;
                        self.parts.rtc.handle_input(Input::Timeout(now))?;
                        continue;
                    }
                    self.note_send_queues();
                    return Ok(at);
                }
                Output::Transmit(packet) => {
                    self.parts.mux.send(packet.source, packet.destination, &packet.contents);
                }
                Output::Event(event) => self.handle(event),
            }
        }
    }

    fn receive(&mut self, datagram: &Datagram) -> Result<(), RtcError> {
        // What is neither STUN, DTLS nor RTP is ignored.
        let Ok(contents) = datagram.contents[..].try_into() else { return Ok(()) };
        let (source, destination) = (datagram.source, datagram.destination);
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        self.parts.rtc.handle_input(Input::Receive(Instant::now(), receive))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected => self.on_connected(),
            Event::IceConnectionStateChange(state) => {
                let lost = state == IceConnectionState::Disconnected;
                if lost && self.connected {
                    tracing::info!(
                        session = self.parts.session.id(),
                        "connection lost; waiting for its return"
                    );
                    self.give_up_at.get_or_insert(Instant::now() + self.parts.timeouts.disconnect);
                } else if !lost && self.connected {
                    self.give_up_at = None;
                }
            }
            Event::MediaData(data) => self.on_media(data),
            Event::KeyframeRequest(request) => {
                if let Some(track) = self.out.iter().find(|track| track.mid == request.mid) {
                    track.control.want_keyframe.store(true, Ordering::Relaxed);
                }
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => self.on_estimate(estimate),
            Event::ChannelOpen(id, label) => {
                tracing::debug!(session = self.parts.session.id(), label, "data channel open");
                self.channel = Some(id);
                self.flush_outbox();
            }
            Event::ChannelClose(id) if self.channel == Some(id) => self.channel = None,
            Event::ChannelData(data) => self.on_message(&data),
            Event::PeerStats(stats) => self.on_stats(&stats),
            _ => {}
        }
    }

    fn on_connected(&mut self) {
        self.give_up_at = None;
        if std::mem::replace(&mut self.connected, true) {
            return;
        }
        tracing::info!(session = self.parts.session.id(), "connected");
        for track in 0..self.out.len() {
            let Some(frames) = self.parts.session.subscribe(track, 1) else { continue };
            let egress = Egress {
                track,
                codec: self.out[track].codec,
                frames,
                control: Arc::clone(&self.out[track].control),
                session: Arc::clone(&self.parts.session),
                out: self.encoded.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("encode-{track}"));
            if let Err(error) = thread.spawn(move || egress.run()) {
                tracing::error!(session = self.parts.session.id(), "cannot start an encoder thread: {error}");
            }
        }
    }

    fn on_media(&mut self, data: MediaData) {
        let Some(source) = self.sources.get(&data.mid).copied() else { return };
        let session = &self.parts.session;
        if !self.ingress.contains_key(&data.mid) {
            let Some(codec) = codec_of(data.params.spec().codec) else { return };
            let wake = Arc::clone(&self.keyframe_wanted);
            match Ingress::spawn(codec, Arc::clone(session), source, wake) {
                Ok(ingress) => _ = self.ingress.insert(data.mid, ingress),
                Err(error) => {
                    tracing::error!(session = session.id(), "cannot start a decoder thread: {error}");
                    return;
                }
            }
        }
        if let Some(ingress) = self.ingress.get(&data.mid) {
            let micros = data.time.as_micros();
            let arrival = Timestamp::from_instant(data.network_time);
            let keyframe = data.is_keyframe();
            let color_space = data.ext_vals.user_values.get::<ColorSpace>().copied();
            let packet = Packet { data: data.data, keyframe, color_space, rtp_micros: micros, arrival };
            ingress.push(session, packet, data.contiguous);
        }
    }

    fn request_keyframes(&mut self) {
        let wanted: Vec<Mid> =
            self.ingress.iter().filter(|(_, i)| i.needs_keyframe()).map(|(mid, _)| *mid).collect();
        let recent = self.last_keyframe_request.is_some_and(|at| at.elapsed() < KEYFRAME_INTERVAL);
        if wanted.is_empty() || recent {
            return;
        }
        self.last_keyframe_request = Some(Instant::now());
        for mid in wanted {
            if let Some(mut writer) = self.parts.rtc.writer(mid) {
                writer.request_keyframe(None, KeyframeRequestKind::Pli).ok();
            }
        }
    }

    fn on_estimate(&mut self, estimate: Bitrate) {
        let tracks = self.out.len().max(1) as f64;
        let kbps = estimate.as_u64() as f64 / 1000.0 * ENCODE_SHARE / tracks;
        for track in &self.out {
            track.control.network_kbps.store(kbps as u32, Ordering::Relaxed);
        }
        self.parts.metrics.lock().estimate_bps = Some(estimate.as_u64());
    }

    /// Tells the encoders how long packets wait, and the estimator how much we would use.
    fn note_send_queues(&mut self) {
        for track in &self.out {
            let mut api = self.parts.rtc.direct_api();
            let waiting = api
                .stream_tx_by_mid(track.mid, None)
                .and_then(|stream| stream.queue_info()?.first_unsent())
                .map_or(0, |since| since.elapsed().as_millis());
            track.control.queue_millis.store(waiting as u32, Ordering::Relaxed);
        }
    }

    /// Hands a picture to the network.
    fn write(&mut self, picture: &Encoded) {
        let Some(track) = self.out.get(picture.track) else { return };
        let Some(writer) = self.parts.rtc.writer(track.mid) else { return };
        let rough = {
            let metrics = self.parts.metrics.lock();
            metrics.loss.is_some_and(|loss| loss > ROUGH_LOSS)
                || metrics.rtt_ms.is_some_and(|rtt| rtt > ROUGH_RTT_MILLIS)
        };
        // On a good network nothing is gained by waiting; on a rough one the client may smooth.
        let most = if rough { ROUGH_PLAYOUT } else { Duration::ZERO };
        let writer =
            writer.playout_delay(MediaTime::from_millis(0), MediaTime::from_millis(most.as_millis() as u64));
        let time = MediaTime::from_90khz(picture.rtp_time);
        let wallclock = picture.captured_at.to_instant();
        if let Err(error) = writer.write(track.pt, wallclock, time, Arc::clone(&picture.data)) {
            tracing::debug!(session = self.parts.session.id(), "write: {error}");
            return;
        }
        self.picture_bytes += picture.data.len() as u64;
        while let Some((_, revision)) = self.pending.front() {
            if *revision > picture.revision {
                break;
            }
            if let Some((id, _)) = self.pending.pop_front() {
                self.send(&messages::applied(&id, picture.chunk, picture.rtp_time));
            }
        }
    }

    fn on_message(&mut self, data: &ChannelData) {
        let (since, count) = &mut self.messages_this_second;
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count > MAX_MESSAGES_PER_SECOND {
            if *count == MAX_MESSAGES_PER_SECOND + 1 {
                let text =
                    format!("more than {MAX_MESSAGES_PER_SECOND} messages a second; some were ignored");
                self.send(&messages::error("rate_limited", &text, &[], None));
            }
            return;
        }
        match messages::parse(&data.data) {
            Ok(message) => self.apply(message),
            Err(text) => self.send(&messages::error("invalid_parameters", &text, &[], None)),
        }
    }

    fn apply(&mut self, message: Map<String, Value>) {
        if let Some(ping) = message.get("_ping") {
            let micros = Timestamp::now().as_micros();
            self.send(&json!({"type": "pong", "ping": ping, "server_time_us": micros}));
            if message.len() == 1 {
                return;
            }
        }
        let applied = self.parts.session.apply(message, false);
        if !applied.problems.is_empty() {
            self.send(&messages::parameter_problems(&applied.problems, applied.id.as_deref()));
        }
        if let Some(id) = applied.id {
            if self.pending.len() == MAX_PENDING {
                self.pending.pop_front();
            }
            self.pending.push_back((id, applied.revision));
        }
    }

    fn tell(&mut self, event: SessionEvent) {
        self.told_end |= matches!(event, SessionEvent::Stopped(_));
        self.send(&messages::from_event(event));
    }

    /// Sends a message to the client, or keeps it until the channel opens. The oldest kept message gives way.
    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        if let Some(mut channel) = self.channel.and_then(|id| self.parts.rtc.channel(id)) {
            // A channel whose buffer is full belongs to a client that does not read; it loses messages, we no memory.
            if let Err(error) = channel.write(false, text.as_bytes()) {
                tracing::debug!(session = self.parts.session.id(), "data channel: {error}");
            }
            return;
        }
        if self.outbox.len() == MAX_OUTBOX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(text);
    }

    fn flush_outbox(&mut self) {
        let Some(mut channel) = self.channel.and_then(|id| self.parts.rtc.channel(id)) else { return };
        for text in self.outbox.drain(..) {
            channel.write(false, text.as_bytes()).ok();
        }
    }

    fn report(&mut self) {
        if self.channel.is_none() {
            return;
        }
        let transport = {
            let mut metrics = self.parts.metrics.lock();
            if let Some(track) = self.out.first() {
                metrics.codec = Some(match track.codec {
                    VideoCodec::Vp8 => "VP8",
                    VideoCodec::H264 => "H264",
                });
                let micros = track.control.encode_micros.load(Ordering::Relaxed);
                metrics.encode_ms = (micros > 0).then_some(micros as f64 / 1e3);
            }
            metrics.clone()
        };
        let message = messages::metrics(&self.parts.session.metrics(), &transport);
        self.send(&message);
    }

    fn on_stats(&mut self, stats: &PeerStats) {
        {
            let mut metrics = self.parts.metrics.lock();
            metrics.rtt_ms = round_trip(stats).map(|rtt| rtt.as_secs_f64() * 1e3);
            metrics.loss = stats.egress_loss_fraction.map(f64::from);
            let before = self.bytes_before.replace((stats.timestamp, stats.peer_bytes_tx));
            metrics.bitrate_bps = before.and_then(|(at, bytes)| {
                let seconds = stats.timestamp.saturating_duration_since(at).as_secs_f64();
                (seconds > 0.0)
                    .then(|| (stats.peer_bytes_tx.saturating_sub(bytes) as f64 * 8.0 / seconds) as u64)
            });
        }
        // What we send now is a floor that the library pads up to; what we could use is how far it probes.
        let current = std::mem::take(&mut self.picture_bytes) * 8;
        let ceiling: u32 =
            self.out.iter().map(|track| track.control.ceiling_kbps.load(Ordering::Relaxed).max(500)).sum();
        let desired = f64::from(ceiling) / ENCODE_SHARE * 1.1;
        self.parts.rtc.bwe().set_bitrate(Bitrate::bps(current), Bitrate::kbps(desired as u64));
    }

    fn restart(&mut self, offer: SdpOffer) -> Result<String, OfferError> {
        let answer = self.parts.rtc.sdp_api().accept_offer(offer);
        let answer = answer.map_err(|error| OfferError::Invalid(error.to_string()))?;
        let ufrag = self.parts.rtc.direct_api().local_ice_credentials().ufrag;
        self.parts.registration.add_ufrag(&ufrag);
        for track in &self.out {
            track.control.want_keyframe.store(true, Ordering::Relaxed);
        }
        self.give_up_at = Some(Instant::now() + self.parts.timeouts.connect);
        Ok(sdp::with_wire_color_space(&answer.to_sdp_string()))
    }

    /// Whether something has been waited for too long.
    fn overdue(&mut self) -> Option<End> {
        let now = Instant::now();
        if self.give_up_at.is_some_and(|at| now >= at) {
            let text = if self.connected {
                "the connection was lost and did not come back"
            } else {
                "the client never connected; a firewall may block UDP between it and this server"
            };
            return Some(End::Failed("connection_lost", text.into()));
        }
        match self.parts.session.state() {
            SessionState::Live | SessionState::Parked => self.idle_since = None,
            SessionState::Stopping => {}
            SessionState::Waiting | SessionState::Paused => {
                let since = *self.idle_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= self.parts.timeouts.idle {
                    let minutes = self.parts.timeouts.idle.as_secs() / 60;
                    return Some(End::Failed("idle_timeout", format!("no picture for {minutes} minutes")));
                }
            }
        }
        None
    }

    /// Tells the client why, if it can still hear, and closes the connection.
    fn say_goodbye(&mut self, reason: &StopReason) {
        if self.parts.rtc.is_alive() {
            // A session's reason is known a moment before its event comes.
            if !self.told_end {
                self.send(&messages::from_event(SessionEvent::Stopped(reason.clone())));
            }
            // Two rounds: the message, then the closing alert.
            self.poll().ok();
            self.parts.rtc.handle_input(Input::Timeout(Instant::now())).ok();
            self.poll().ok();
            self.parts.rtc.close().ok();
            self.poll().ok();
        }
    }
}

/// The network's round trip, from the last STUN request that was answered.
///
/// The library's own figure runs from a packet to the congestion feedback that names it, for which clients gather packets
/// up to 100 ms: on loopback it is 20 to 25 ms. It serves until the first request of ours has been answered.
fn round_trip(stats: &PeerStats) -> Option<Duration> {
    let pair = stats.selected_candidate_pair.as_ref();
    pair.and_then(|pair| pair.current_round_trip_time).or(stats.rtt)
}

const fn codec_of(codec: Codec) -> Option<VideoCodec> {
    match codec {
        Codec::Vp8 => Some(VideoCodec::Vp8),
        Codec::H264 => Some(VideoCodec::H264),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use str0m::net::Protocol;
    use str0m::stats::{CandidatePairStats, CandidateStats};

    #[test]
    fn the_wait_for_congestion_feedback_is_not_taken_for_the_network() {
        let candidate = || CandidateStats { addr: ([127, 0, 0, 1], 9).into() };
        let (stun, feedback) = (Duration::from_micros(700), Duration::from_millis(23));
        let stats = |answered: Option<Duration>| PeerStats {
            peer_bytes_rx: 0,
            peer_bytes_tx: 0,
            bytes_rx: 0,
            bytes_tx: 0,
            timestamp: Instant::now(),
            bwe_tx: None,
            egress_loss_fraction: None,
            ingress_loss_fraction: None,
            rtt: Some(feedback),
            selected_candidate_pair: Some(CandidatePairStats {
                protocol: Protocol::Udp,
                local: candidate(),
                remote: candidate(),
                current_round_trip_time: answered,
                total_round_trip_time: answered.unwrap_or_default(),
                responses_received: 1,
            }),
        };
        assert_eq!(round_trip(&stats(Some(stun))), Some(stun));
        assert_eq!(round_trip(&stats(None)), Some(feedback));
        assert_eq!(round_trip(&PeerStats { rtt: None, ..stats(None) }), None);
    }
}
