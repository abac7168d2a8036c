//! Incoming video: one thread per track decodes and hands pictures to the session.

use super::capture_clock::CaptureClock;
use scope_frame::Timestamp;
use scope_media::codec::{Decoder, VideoCodec};
use scope_stream::{DropCause, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::Notify;

/// Encoded pictures that wait for the decoder.
const QUEUE: usize = 8;

/// An encoded picture from the network.
struct Packet {
    data: Arc<[u8]>,
    keyframe: bool,
    rtp_micros: u64,
    arrival: Timestamp,
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
    pub(super) fn push(
        &self,
        session: &Session,
        data: Arc<[u8]>,
        keyframe: bool,
        contiguous: bool,
        rtp_micros: u64,
        arrival: Timestamp,
    ) {
        if !contiguous && !keyframe {
            self.state.ask();
        }
        match self.packets.try_send(Packet { data, keyframe, rtp_micros, arrival }) {
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
    while let Ok(packet) = packets.recv() {
        if packet.keyframe {
            state.need_keyframe.store(false, Ordering::Release);
        } else if state.need_keyframe.load(Ordering::Acquire) {
            // What refers to a lost picture would only show rubbish.
            session.count_drops(DropCause::Input, 1);
            state.wake.notify_one();
            continue;
        }
        match decoder.decode(&packet.data) {
            Ok(Some(image)) => {
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
