//! Incoming video: one thread per track decodes and hands pictures to the session.

use super::capture_clock::CaptureClock;
use scope_frame::{ColorSpace, Timestamp};
use scope_media::codec::{Decoder, VideoCodec};
use scope_stream::{DropCause, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::Notify;

/// Encoded pictures that wait for the decoder.
const QUEUE: usize = 8;

/// An encoded picture from the network.
pub(super) struct Packet {
    pub(super) data: Arc<[u8]>,
    pub(super) keyframe: bool,
    /// How its samples stand for colours, where the sender says so: on key frames and changes.
    pub(super) color_space: Option<ColorSpace>,
    pub(super) rtp_micros: u64,
    pub(super) arrival: Timestamp,
}

/// The peer task's end of a decoder thread; dropping it ends the thread.
pub(super) struct Ingress {
    packets: SyncSender<Packet>,
    state: Arc<State>,
}

struct State {
    need_keyframe: AtomicBool,
    /// Tells the peer's task that a key frame is needed.
    wake: Arc<Notify>,
}

impl State {
    fn ask(&self) {
        if !self.need_keyframe.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }
}

impl Ingress {
    /// Starts the thread. Pictures go to the session's source with the index `source`; `wake` is notified when a
    /// key frame is needed.
    pub(super) fn spawn(
        codec: VideoCodec,
        session: Arc<Session>,
        source: usize,
        wake: Arc<Notify>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let state = Arc::new(State { need_keyframe: AtomicBool::new(false), wake });
        let for_thread = Arc::clone(&state);
        std::thread::Builder::new()
            .name(format!("decode-{source}"))
            .spawn(move || decode(codec, &session, source, &receiver, &for_thread))?;
        Ok(Self { packets: sender, state })
    }

    /// Takes a picture from the network. `contiguous` is false when something before it was lost.
    pub(super) fn push(&self, session: &Session, packet: Packet, contiguous: bool) {
        if !contiguous && !packet.keyframe {
            self.state.ask();
        }
        match self.packets.try_send(packet) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                session.count_drops(DropCause::Input, 1);
                self.state.ask();
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Whether a key frame is needed.
    pub(super) fn needs_keyframe(&self) -> bool {
        self.state.need_keyframe.load(Ordering::Acquire)
    }
}

fn decode(codec: VideoCodec, session: &Session, source: usize, packets: &Receiver<Packet>, state: &State) {
    let mut decoder = match Decoder::new(codec) {
        Ok(decoder) => decoder,
        Err(error) => {
            tracing::error!(session = session.id(), "no {codec:?} decoder: {error}");
            return;
        }
    };
    let mut clock = CaptureClock::default();
    let mut color_space = ColorSpace::STANDARD;
    while let Ok(packet) = packets.recv() {
        if packet.keyframe {
            state.need_keyframe.store(false, Ordering::Release);
        } else if state.need_keyframe.load(Ordering::Acquire) {
            // What refers to a lost picture would only show rubbish.
            session.count_drops(DropCause::Input, 1);
            state.wake.notify_one();
            continue;
        }
        if let Some(space) = packet.color_space {
            color_space = space;
        } else if packet.keyframe && codec == VideoCodec::Vp8 {
            // A key frame without a word means the default again.
            color_space = ColorSpace::STANDARD;
        }
        match decoder.decode(&packet.data) {
            Ok(Some(image)) => {
                let image = image.standardised(color_space);
                let captured_at = clock.captured_at(packet.rtp_micros, packet.arrival);
                session.push_input(source, image, captured_at);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(session = session.id(), "decode: {error}");
                session.count_drops(DropCause::Input, 1);
                state.ask();
            }
        }
    }
}
