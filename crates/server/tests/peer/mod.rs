//! A WebRTC client made of the same library, which can lose packets on purpose.

use crate::common::Server;
use scope_frame::Image;
use scope_media::codec::{Decoder, Encoder, EncoderConfig, VideoCodec};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;

const SIZE: (u32, u32) = (128, 96);
const FRAME_INTERVAL: Duration = Duration::from_millis(33);

/// How many packets to lose, reproducibly.
pub(crate) struct Loss {
    share: f64,
    state: u64,
}

impl Loss {
    pub(crate) fn none() -> Self {
        Self::both_ways(0.0)
    }

    pub(crate) fn both_ways(share: f64) -> Self {
        Self { share, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Whether the next packet is lost (xorshift64*).
    fn strikes(&mut self) -> bool {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (random as f64 / (1u64 << 53) as f64) < self.share
    }
}

pub(crate) struct Client {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    codec: VideoCodec,
    mid: Mid,
    sends: bool,
    channel: Option<ChannelId>,
    session: String,
    encoder: Encoder,
    decoder: Decoder,
    need_keyframe: bool,
    connected: bool,
    next_frame: Instant,
    frames_sent: u64,
    loss: Loss,
    pub(crate) lost: usize,
    pub(crate) answer: String,
    pub(crate) pictures: Vec<Image>,
    pub(crate) messages: Vec<Value>,
}

impl Client {
    /// An offer of such a client, without a connection behind it.
    pub(crate) fn sdp(codec: VideoCodec, sends: bool) -> String {
        make_offer(&mut rtc_for(codec), sends).1.to_sdp_string()
    }

    /// Makes an offer and takes the answer, but exchanges no packet yet.
    pub(crate) async fn offer(
        server: &Server,
        codec: VideoCodec,
        sends: bool,
        initial: Value,
        loss: Loss,
    ) -> Self {
        let mut rtc = rtc_for(codec);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let (mid, offer, pending) = make_offer(&mut rtc, sends);
        let body = json!({"sdp": offer.to_sdp_string(), "type": "offer", "initialParameters": initial});
        let reply = server.post("/api/v1/webrtc/offer", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
        let reply = reply.json();
        let answer = reply["sdp"].as_str().unwrap().to_owned();
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer).unwrap()).unwrap();
        let config = EncoderConfig { width: SIZE.0, height: SIZE.1, bitrate_kbps: 500, fps: 30.0 };
        Self {
            rtc,
            socket,
            address,
            codec,
            mid,
            sends,
            channel: None,
            session: reply["sessionId"].as_str().unwrap().to_owned(),
            encoder: Encoder::new(codec, &config).unwrap(),
            decoder: Decoder::new(codec).unwrap(),
            need_keyframe: true,
            connected: false,
            next_frame: Instant::now(),
            frames_sent: 0,
            loss,
            lost: 0,
            answer,
            pictures: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Connects, up to the open data channel.
    pub(crate) async fn connect(
        server: &Server,
        codec: VideoCodec,
        sends: bool,
        initial: Value,
        loss: Loss,
    ) -> Self {
        let mut client = Self::offer(server, codec, sends, initial, loss).await;
        client.run_until(Duration::from_secs(30), |client| client.channel.is_some()).await;
        client
    }

    /// The first message of this type so far.
    pub(crate) fn message(&self, kind: &str) -> Option<&Value> {
        self.messages.iter().find(|message| message["type"] == kind)
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let mut channel = self.rtc.channel(self.channel.unwrap()).unwrap();
        assert!(channel.write(false, message.to_string().as_bytes()).unwrap());
    }

    /// Tells the server that it goes, as a browser's `close` does.
    pub(crate) fn close(mut self) {
        self.rtc.close().unwrap();
        while let Ok(Output::Transmit(packet)) = self.rtc.poll_output() {
            self.socket.try_send_to(&packet.contents, packet.destination).ok();
        }
    }

    pub(crate) async fn restart_ice(&mut self, server: &Server) {
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(true);
        let (offer, pending) = changes.apply().unwrap();
        let path = format!("/api/v1/webrtc/offer/{}/restart", self.session);
        let reply = server.post(&path, &json!({"sdp": offer.to_sdp_string(), "type": "offer"})).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
        let answer = SdpAnswer::from_sdp_string(reply.json()["sdp"].as_str().unwrap()).unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// Runs the connection until the condition holds; panics when it never does.
    pub(crate) async fn run_until(&mut self, patience: Duration, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + patience;
        let mut buffer = vec![0; 2048];
        loop {
            let timeout = self.poll();
            if condition(self) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "it never came: {} pictures, {} lost, messages {:?}",
                self.pictures.len(),
                self.lost,
                self.messages
            );
            let wake = if self.sends { timeout.min(self.next_frame) } else { timeout };
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, source) = received.unwrap();
                    if self.connected && self.loss.strikes() {
                        self.lost += 1;
                    } else if let Ok(contents) = buffer[..length].try_into() {
                        let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
                        self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.send_frame();
            self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
        }
    }

    fn poll(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => return at.min(Instant::now() + Duration::from_millis(50)),
                Output::Transmit(packet) => {
                    if self.connected && self.loss.strikes() {
                        self.lost += 1;
                    } else {
                        self.socket.try_send_to(&packet.contents, packet.destination).ok();
                    }
                }
                Output::Event(event) => self.handle(event),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::ChannelOpen(id, _) => self.channel = Some(id),
            Event::ChannelData(data) => self.messages.push(serde_json::from_slice(&data.data).unwrap()),
            Event::KeyframeRequest(_) => self.need_keyframe = true,
            Event::MediaData(data) if data.mid == self.mid => match self.decoder.decode(&data.data) {
                Ok(Some(picture)) => self.pictures.push(picture),
                Ok(None) => {}
                Err(_) => {
                    if let Some(mut writer) = self.rtc.writer(self.mid) {
                        writer.request_keyframe(None, KeyframeRequestKind::Pli).ok();
                    }
                }
            },
            _ => {}
        }
    }

    /// Sends the next picture of a moving grey ramp when it is due.
    fn send_frame(&mut self) {
        let now = Instant::now();
        if !self.sends || !self.connected || now < self.next_frame {
            return;
        }
        self.next_frame = now + FRAME_INTERVAL;
        let grey = (self.frames_sent * 3 % 200 + 20) as u8;
        let picture = Image::solid(SIZE.0, SIZE.1, [grey; 3]).unwrap();
        let time = self.frames_sent * 2970;
        self.frames_sent += 1;
        let key = std::mem::take(&mut self.need_keyframe);
        let Some(encoded) = self.encoder.encode(&picture, time as i64, key).unwrap() else { return };
        let Some(writer) = self.rtc.writer(self.mid) else { return };
        let Some(pt) = writer
            .payload_params()
            .find(|p| p.spec().codec == wire(self.codec))
            .map(str0m::format::PayloadParams::pt)
        else {
            return;
        };
        writer.write(pt, now, MediaTime::from_90khz(time), &encoded.data[..]).ok();
    }
}

fn wire(codec: VideoCodec) -> Codec {
    match codec {
        VideoCodec::Vp8 => Codec::Vp8,
        VideoCodec::H264 => Codec::H264,
    }
}

fn rtc_for(codec: VideoCodec) -> Rtc {
    let mut config = RtcConfig::new().clear_codecs().enable_opus(true, false);
    match codec {
        VideoCodec::Vp8 => config = config.enable_vp8(true),
        VideoCodec::H264 => {
            let pt: Pt = 108.into();
            config.codec_config().add_h264(pt, Some(109.into()), true, 0x0042_e01f);
        }
    }
    config.build(Instant::now())
}

fn make_offer(rtc: &mut Rtc, sends: bool) -> (Mid, SdpOffer, SdpPendingOffer) {
    let mut changes = rtc.sdp_api();
    let direction = if sends { Direction::SendRecv } else { Direction::RecvOnly };
    let mid = changes.add_media(MediaKind::Video, direction, None, None, None);
    changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    changes.add_channel("parameters".into());
    let (offer, pending) = changes.apply().unwrap();
    (mid, offer, pending)
}
