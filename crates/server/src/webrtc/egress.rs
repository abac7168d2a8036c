//! Outgoing video: one thread per track takes the newest picture, encodes it and hands it to the peer's task.

use scope_frame::{Frame, Timestamp};
use scope_media::codec::{Encoder, EncoderConfig, VideoCodec};
use scope_stream::{DropCause, Session, Subscription};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// When packets have waited this long to be sent, pictures are skipped before they are encoded.
const MAX_SEND_QUEUE_MILLIS: u32 = 120;
/// Without a new picture for this long, a wanted key frame is made from the last one.
const REPEAT_AFTER: Duration = Duration::from_millis(150);
/// Below this, pictures are not worth sending.
const MIN_KBPS: u32 = 150;
/// Nominal rate for the encoder's rate control.
const NOMINAL_FPS: f32 = 30.0;

/// An encoded picture on its way to the network.
pub(super) struct Encoded {
    pub(super) track: usize,
    pub(super) data: Arc<[u8]>,
    /// RTP time, at 90 kHz.
    pub(super) rtp_time: u64,
    pub(super) captured_at: Timestamp,
    pub(super) chunk: u64,
    pub(super) revision: u64,
}

/// What the peer's task tells its encoder, and reads from it.
#[derive(Default)]
pub(super) struct EgressControl {
    /// Bit rate that the network bears, in kbit/s.
    pub(super) network_kbps: AtomicU32,
    /// The most that the picture's size is worth, in kbit/s.
    pub(super) ceiling_kbps: AtomicU32,
    /// Set to get a key frame.
    pub(super) want_keyframe: AtomicBool,
    /// Age of the oldest packet that waits to be sent.
    pub(super) queue_millis: AtomicU32,
    /// Time the last picture took to encode.
    pub(super) encode_micros: AtomicU64,
    /// Pictures encoded.
    pub(super) encoded: AtomicU64,
}

impl EgressControl {
    fn target_kbps(&self) -> u32 {
        let network = self.network_kbps.load(Ordering::Relaxed);
        network.clamp(MIN_KBPS, self.ceiling_kbps.load(Ordering::Relaxed).max(MIN_KBPS))
    }
}

/// The bit rate beyond which a picture of this size hardly improves but its packets only take longer.
pub(super) fn ceiling_kbps(width: u32, height: u32) -> u32 {
    let share = f64::from(width) * f64::from(height) / (512.0 * 512.0);
    (3000.0 * share.powf(0.75)).clamp(500.0, 12_000.0) as u32
}

/// 90 kHz RTP time of a capture time.
pub(super) const fn rtp_time(captured_at: Timestamp) -> u64 {
    captured_at.as_micros() / 100 * 9
}

/// Everything one encoder thread needs.
pub(super) struct Egress {
    pub(super) track: usize,
    pub(super) codec: VideoCodec,
    pub(super) frames: Subscription,
    pub(super) control: Arc<EgressControl>,
    pub(super) session: Arc<Session>,
    pub(super) out: mpsc::Sender<Encoded>,
}

impl Egress {
    /// Encodes until the session or the peer ends.
    pub(super) fn run(self) {
        let mut state = State::default();
        loop {
            let frame = self.frames.recv_timeout(REPEAT_AFTER);
            self.session.count_drops(DropCause::Encode, self.frames.take_dropped() as usize);
            let frame = match frame {
                Some(frame) => frame,
                None if self.frames.is_ended() || self.out.is_closed() => return,
                None => match state.last.take() {
                    // The picture stands still, and somebody cannot see it: show it again.
                    Some(last) if self.control.want_keyframe.load(Ordering::Relaxed) => {
                        Frame { captured_at: Timestamp::now(), ..last }
                    }
                    last => {
                        state.last = last;
                        continue;
                    }
                },
            };
            if self.control.queue_millis.load(Ordering::Relaxed) > MAX_SEND_QUEUE_MILLIS {
                // Skipping before encoding keeps the codec's references intact.
                self.session.count_drops(DropCause::Network, 1);
                continue;
            }
            if !self.encode(&mut state, &frame) {
                return;
            }
            state.last = Some(frame);
        }
    }

    /// Encodes one picture and hands it on; false when there is nobody to hand it to.
    fn encode(&self, state: &mut State, frame: &Frame) -> bool {
        let began = Timestamp::now();
        let (width, height) = frame.image.size();
        self.control.ceiling_kbps.store(ceiling_kbps(width, height), Ordering::Relaxed);
        let kbps = self.control.target_kbps();
        if let Err(error) = state.prepare(self.codec, (width, height), kbps) {
            tracing::error!(session = self.session.id(), "cannot encode {width}×{height}: {error}");
            return true;
        }
        // RTP time must grow even where capture times repeat or step back.
        let time = rtp_time(frame.captured_at).max(state.rtp_time + 1);
        let keyframe = self.control.want_keyframe.swap(false, Ordering::Relaxed);
        let Some((encoder, ..)) = &mut state.encoder else { return true };
        let encoded = match encoder.encode(&frame.image, time as i64, keyframe) {
            Ok(Some(encoded)) => encoded,
            Ok(None) => {
                // The codec's own rate control skipped it.
                self.session.count_drops(DropCause::Encode, 1);
                self.control.want_keyframe.fetch_or(keyframe, Ordering::Relaxed);
                return true;
            }
            Err(error) => {
                tracing::warn!(session = self.session.id(), "encode: {error}");
                state.encoder = None;
                self.control.want_keyframe.store(true, Ordering::Relaxed);
                return true;
            }
        };
        state.rtp_time = time;
        self.control.encode_micros.store(Timestamp::now().since(began).as_micros() as u64, Ordering::Relaxed);
        self.control.encoded.fetch_add(1, Ordering::Relaxed);
        let encoded = Encoded {
            track: self.track,
            data: Arc::from(&encoded.data[..]),
            rtp_time: time,
            captured_at: frame.captured_at,
            chunk: frame.chunk,
            revision: frame.revision,
        };
        match self.out.try_send(encoded) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.session.count_drops(DropCause::Network, 1);
                self.control.want_keyframe.store(true, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

#[derive(Default)]
struct State {
    encoder: Option<(Encoder, (u32, u32), u32)>,
    last: Option<Frame>,
    rtp_time: u64,
}

impl State {
    /// Makes the encoder fit the size and the bit rate.
    fn prepare(
        &mut self,
        codec: VideoCodec,
        size: (u32, u32),
        kbps: u32,
    ) -> Result<(), scope_media::codec::CodecError> {
        if self.encoder.as_ref().is_none_or(|(_, at, _)| *at != size) {
            let config =
                EncoderConfig { width: size.0, height: size.1, bitrate_kbps: kbps, fps: NOMINAL_FPS };
            self.encoder = Some((Encoder::new(codec, &config)?, size, kbps));
        }
        if let Some((encoder, _, current)) = &mut self.encoder
            && current.abs_diff(kbps) * 20 > *current
        {
            encoder.set_bitrate(kbps)?;
            *current = kbps;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_grows_slower_than_the_picture() {
        assert_eq!(ceiling_kbps(512, 512), 3000);
        assert!(ceiling_kbps(1280, 720) < 3 * ceiling_kbps(512, 512));
        assert!(ceiling_kbps(64, 64) >= 500);
    }

    #[test]
    fn rtp_time_is_ninety_per_millisecond() {
        assert_eq!(rtp_time(Timestamp::from_micros(1_000_000)), 90_000);
    }
}
