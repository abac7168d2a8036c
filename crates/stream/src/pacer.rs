//! Spreads bursts of frames over time.
//!
//! A model hands out N frames at once, then nothing for a chunk's time. The pacer gives every frame a due time so that the
//! viewer sees an even rate, without adding more delay than evenness needs: it follows the measured chunk time, and
//! when chunks keep arriving earlier than needed it plays slightly faster until the surplus is gone.

use scope_frame::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// Chunks that the rate is measured over.
const WINDOW: usize = 10;
/// Longest believable time between two chunks; longer gaps are interruptions, not a rate.
const MAX_PERIOD: Duration = Duration::from_secs(10);
/// Frames are never scheduled farther apart than this.
const MAX_INTERVAL: Duration = Duration::from_secs(1);
/// Frames are never scheduled closer together than this, so that a burst cannot flood the encoder.
const MIN_INTERVAL: Duration = Duration::from_millis(4);
/// Spacing until a rate is known.
const FIRST_INTERVAL: Duration = Duration::from_millis(33);
/// Surplus that is kept, to absorb jitter in chunk times.
const KEEP_LEAD: Duration = Duration::from_millis(6);
/// The share of an interval by which play-out may be hurried.
const HURRY: u32 = 25;

/// Gives frames their due times. Pure: time is an argument.
#[derive(Debug, Default)]
pub struct Pacer {
    chunk: Option<Arrival>,
    chunks: VecDeque<(Duration, u32)>,
    native_interval: Option<Duration>,
    last_due: Option<Timestamp>,
    leads: VecDeque<Duration>,
    surplus: Duration,
    previous_frames: u32,
}

#[derive(Debug)]
struct Arrival {
    id: u64,
    at: Timestamp,
    frames: u32,
    last_capture: Option<Timestamp>,
    capture_spacing: Option<Duration>,
}

impl Pacer {
    /// A pacer that knows no rate yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rate at which the pipeline wants to be shown; `None` follows the rate at which chunks arrive.
    pub fn set_frame_rate(&mut self, frames_per_second: Option<f64>) {
        self.native_interval = frames_per_second
            .filter(|fps| fps.is_finite() && *fps > 0.0)
            .map(|fps| Duration::from_secs_f64(1.0 / fps.clamp(1.0, 240.0)));
    }

    /// The time at which a frame that arrives `now`, as part of chunk `chunk`, should be shown. Due times never go back.
    pub fn schedule(&mut self, now: Timestamp, chunk: u64, captured_at: Option<Timestamp>) -> Timestamp {
        let starts_chunk = self.chunk.as_ref().is_none_or(|current| current.id != chunk);
        if starts_chunk {
            self.start_chunk(now, chunk);
        }
        if let Some(current) = &mut self.chunk {
            current.frames += 1;
            if let (Some(last), Some(this)) = (current.last_capture, captured_at)
                && this > last
            {
                current.capture_spacing = Some(this.since(last));
            }
            current.last_capture = captured_at;
        }
        let due = match self.last_due {
            Some(last) if self.is_bursty() => {
                let planned = last + self.next_interval();
                if starts_chunk {
                    self.note_lead(planned.since(now));
                }
                // More than a chunk and a half ahead is a backlog, not smoothness.
                let limit = now + self.chunk_span() * 3 / 2 + KEEP_LEAD;
                planned.clamp(now, limit.max(now)).max(last)
            }
            Some(last) => now.max(last),
            None => now,
        };
        self.last_due = Some(due);
        due
    }

    /// How long what has been scheduled will last.
    pub fn horizon(&self, now: Timestamp) -> Duration {
        self.last_due.map_or(Duration::ZERO, |due| due.since(now))
    }

    /// The time between two frames.
    pub fn interval(&self) -> Duration {
        if let Some(interval) = self.native_interval {
            return interval;
        }
        let (time, frames) =
            self.chunks.iter().fold((Duration::ZERO, 0), |(time, frames), (t, n)| (time + *t, frames + n));
        if frames > 0 {
            return (time / frames).clamp(MIN_INTERVAL, MAX_INTERVAL);
        }
        let spacing = self.chunk.as_ref().and_then(|chunk| chunk.capture_spacing);
        spacing.unwrap_or(FIRST_INTERVAL).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }

    /// Forgets what was scheduled, after a flush, but keeps the measured rate.
    pub fn flush(&mut self, now: Timestamp) {
        self.last_due = self.last_due.map(|due| due.min(now));
        self.leads.clear();
        self.surplus = Duration::ZERO;
    }

    /// Forgets everything, after a pause or an interruption.
    pub fn reset(&mut self) {
        *self = Self { native_interval: self.native_interval, ..Self::default() };
    }

    /// Single frames need no smoothing: they are shown as they come.
    fn is_bursty(&self) -> bool {
        self.native_interval.is_some()
            || self.previous_frames > 1
            || self.chunk.as_ref().is_some_and(|chunk| chunk.frames > 1)
    }

    fn start_chunk(&mut self, now: Timestamp, id: u64) {
        if let Some(done) = self.chunk.take() {
            let period = now.since(done.at);
            if period > MAX_PERIOD {
                self.reset();
            } else {
                if self.chunks.len() == WINDOW {
                    self.chunks.pop_front();
                }
                self.chunks.push_back((period, done.frames));
                self.previous_frames = done.frames;
            }
        }
        self.chunk = Some(Arrival { id, at: now, frames: 0, last_capture: None, capture_spacing: None });
    }

    fn chunk_span(&self) -> Duration {
        let frames = self.previous_frames.max(self.chunk.as_ref().map_or(1, |chunk| chunk.frames)).max(1);
        self.interval() * frames
    }

    fn note_lead(&mut self, lead: Duration) {
        if self.leads.len() == WINDOW {
            self.leads.pop_front();
        }
        self.leads.push_back(lead);
        if self.leads.len() == WINDOW {
            // The lead that even the latest chunk of the window had was not needed.
            let unneeded = self.leads.iter().min().copied().unwrap_or_default();
            self.surplus = unneeded.saturating_sub(KEEP_LEAD);
            if !self.surplus.is_zero() {
                self.leads.clear();
            }
        }
    }

    fn next_interval(&mut self) -> Duration {
        let interval = self.interval();
        let hurry = self.surplus.min(interval / HURRY);
        self.surplus -= hurry;
        interval - hurry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    /// Due times of `chunks` bursts of `size` frames, one every `period` plus the given jitter.
    fn run(size: u64, period: u64, jitter: &[u64]) -> (Vec<Timestamp>, Vec<Duration>) {
        let mut pacer = Pacer::new();
        let (mut dues, mut delays) = (Vec::new(), Vec::new());
        for (chunk, jitter) in jitter.iter().enumerate() {
            let now = at(chunk as u64 * period + jitter);
            for _ in 0..size {
                let due = pacer.schedule(now, chunk as u64 + 1, None);
                delays.push(due.since(now));
                dues.push(due);
            }
        }
        (dues, delays)
    }

    fn gaps(dues: &[Timestamp]) -> Vec<f64> {
        dues.windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64() * 1e3).collect()
    }

    #[test]
    fn bursts_become_an_even_rate() {
        for size in [4, 12] {
            let (dues, _) = run(size, size * 33_333, &[0; 40]);
            let steady = gaps(&dues[dues.len() / 2..]);
            let worst = steady.iter().map(|gap| (gap - 33.333).abs()).fold(0.0, f64::max);
            assert!(worst < 2.0, "chunks of {size}: a gap is off by {worst} ms");
        }
    }

    #[test]
    fn single_frames_are_not_delayed() {
        let (_, delays) = run(1, 33_333, &[0, 4_000, 500, 9_000, 0, 100]);
        assert!(delays.iter().all(Duration::is_zero), "{delays:?}");
    }

    #[test]
    fn a_native_rate_is_kept_even_when_chunks_come_early() {
        let mut pacer = Pacer::new();
        pacer.set_frame_rate(Some(10.0));
        let dues: Vec<_> = (0..6).map(|_| pacer.schedule(at(1_000_000), 1, None)).collect();
        assert!(gaps(&dues).iter().all(|gap| (gap - 100.0).abs() < 0.1), "{dues:?}");
        assert_eq!(pacer.horizon(at(1_000_000)), Duration::from_millis(500));
    }

    #[test]
    fn a_late_chunk_does_not_add_delay_for_ever() {
        let mut jitter = vec![0; 200];
        jitter[20] = 80_000;
        let (_, delays) = run(4, 133_333, &jitter);
        let first_of = |chunk: usize| delays[chunk * 4];
        assert!(first_of(22) > Duration::from_millis(60), "{:?}", first_of(22));
        assert!(first_of(199) < Duration::from_millis(25), "{:?}", first_of(199));
    }

    #[test]
    fn an_interruption_is_not_taken_for_a_rate() {
        let mut pacer = Pacer::new();
        for chunk in 0..5 {
            for _ in 0..4 {
                pacer.schedule(at(chunk * 133_333), chunk, None);
            }
        }
        pacer.schedule(at(60_000_000), 9, None);
        let due = pacer.schedule(at(60_000_000), 9, None);
        assert!(due.since(at(60_000_000)) < Duration::from_millis(100), "{due:?}");
    }

    proptest! {
        /// Whatever arrives when, due times never run backwards, never lie in the past, and never pile up beyond a chunk.
        #[test]
        fn due_times_are_ordered_and_bounded(
            chunks in prop::collection::vec((1u32..14, 0u64..2_000_000), 2..60),
            rate in prop::option::of(1.0..60.0f64),
        ) {
            let mut pacer = Pacer::new();
            pacer.set_frame_rate(rate);
            let (mut now, mut last) = (at(0), at(0));
            for (id, (frames, wait)) in chunks.into_iter().enumerate() {
                now = now + Duration::from_micros(wait);
                for _ in 0..frames {
                    let due = pacer.schedule(now, id as u64, None);
                    prop_assert!(due >= last && due >= now);
                    prop_assert!(due.since(now) <= MAX_INTERVAL * 21 + KEEP_LEAD);
                    last = due;
                }
            }
        }
    }
}
