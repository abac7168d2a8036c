use scope_frame::Timestamp;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// Incoming video that could not be decoded in time.
    Input,
    /// The pipeline was still busy.
    Compute,
    /// More frames were ready than time to show them.
    Pacing,
    /// The encoder was still busy.
    Encode,
    /// The network could not take it.
    Network,
    /// It was made before a reset.
    Stale,
}

/// Dropped frames by cause, counted by every thread of a session.
#[derive(Debug, Default)]
pub struct Drops([AtomicU64; 6]);

impl Drops {
    /// Counts `count` frames.
    pub fn add(&self, cause: DropCause, count: usize) {
        self.0[cause as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The totals so far.
    pub fn totals(&self) -> DropTotals {
        let get = |cause: DropCause| self.0[cause as usize].load(Ordering::Relaxed);
        DropTotals {
            input: get(DropCause::Input),
            compute: get(DropCause::Compute),
            pacing: get(DropCause::Pacing),
            encode: get(DropCause::Encode),
            network: get(DropCause::Network),
            stale: get(DropCause::Stale),
        }
    }
}

/// Dropped frames by cause since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct DropTotals {
    pub input: u64,
    pub compute: u64,
    pub pacing: u64,
    pub encode: u64,
    pub network: u64,
    pub stale: u64,
}

/// Events per second over the last two seconds, or over the last two groups where these are further apart; falls to zero
/// when they stop.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    /// When a group of events came, and how many.
    groups: VecDeque<(Timestamp, usize)>,
    total: u64,
}

impl RateMeter {
    const WINDOW: Duration = Duration::from_secs(2);
    /// Groups that are further apart have nothing to do with each other.
    const LONGEST_GAP: Duration = Duration::from_secs(30);
    const MAX_GROUPS: usize = 512;

    /// Counts an event.
    pub fn tick(&mut self, now: Timestamp) {
        self.tick_group(now, 1);
    }

    /// Counts events that came together and took until now: the pictures of a chunk.
    pub fn tick_group(&mut self, now: Timestamp, events: usize) {
        self.total += events as u64;
        if self.groups.len() == Self::MAX_GROUPS {
            self.groups.pop_front();
        }
        self.groups.push_back((now, events));
        self.expire(now);
    }

    /// Events per second: those that came after the first group, in the time since.
    pub fn rate(&mut self, now: Timestamp) -> f64 {
        self.expire(now);
        match (self.groups.front(), self.groups.back()) {
            (Some((first, before)), Some((last, _))) if last > first => {
                let events = self.groups.iter().map(|(_, events)| events).sum::<usize>() - before;
                events as f64 / last.since(*first).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// Events since the beginning.
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn expire(&mut self, now: Timestamp) {
        // Two groups make a rate, however slow; twice their distance without another one makes an end.
        let (last, gap) = match self.groups.iter().rev().take(2).collect::<Vec<_>>()[..] {
            [last, before] => (last.0, last.0.since(before.0)),
            _ => (now, Duration::ZERO),
        };
        let going_on = gap <= Self::LONGEST_GAP && now.since(last) <= Self::WINDOW.max(gap * 2);
        let keep = if going_on { 2 } else { 0 };
        while self.groups.len() > keep
            && self.groups.front().is_some_and(|(first, _)| now.since(*first) > Self::WINDOW)
        {
            self.groups.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_measured_and_falls_to_zero_when_it_stops() {
        let mut meter = RateMeter::default();
        for i in 0..60 {
            meter.tick(Timestamp::from_micros(i * 40_000));
        }
        let last = Timestamp::from_micros(59 * 40_000);
        assert!((meter.rate(last) - 25.0).abs() < 0.1);
        assert_eq!(meter.rate(last + Duration::from_secs(3)), 0.0);
        assert_eq!(meter.total(), 60);
    }

    /// `chunks` chunks of `frames`, one every `interval`; gives the rate right after the last and a little before the next.
    fn rates(chunks: u64, frames: usize, interval: Duration) -> [f64; 2] {
        let mut meter = RateMeter::default();
        let mut now = Timestamp::from_micros(1_000_000);
        for _ in 0..chunks {
            now = now + interval;
            meter.tick_group(now, frames);
        }
        [meter.rate(now), meter.rate(now + interval * 9 / 10)]
    }

    #[test]
    fn bursts_count_for_the_time_that_they_took() {
        // Four frames in 267 ms, twelve in a second, twelve in three seconds.
        for (frames, millis) in [(4, 267), (12, 1000), (12, 3000), (1, 5000)] {
            let expected = frames as f64 * 1e3 / millis as f64;
            for rate in rates(20, frames, Duration::from_millis(millis)) {
                assert!((rate / expected - 1.0).abs() < 0.001, "{frames} per {millis} ms: {rate}");
            }
        }
    }

    #[test]
    fn one_chunk_is_no_rate_and_slow_chunks_end_as_well() {
        assert_eq!(rates(1, 12, Duration::from_secs(3)), [0.0; 2]);
        let mut meter = RateMeter::default();
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        meter.tick_group(at(1), 12);
        meter.tick_group(at(4), 12);
        assert!((meter.rate(at(9)) - 4.0).abs() < 0.001);
        assert_eq!(meter.rate(at(11)), 0.0);
        // After a long pause the rate begins anew.
        meter.tick_group(at(100), 12);
        assert_eq!(meter.rate(at(100)), 0.0);
        meter.tick_group(at(103), 12);
        assert!((meter.rate(at(103)) - 4.0).abs() < 0.001);
    }
}
