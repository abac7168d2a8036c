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

/// Events per second over the last two seconds; falls to zero when they stop.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    times: VecDeque<Timestamp>,
    total: u64,
}

impl RateMeter {
    const WINDOW: Duration = Duration::from_secs(2);
    const MAX_TIMES: usize = 512;

    /// Counts an event.
    pub fn tick(&mut self, now: Timestamp) {
        self.total += 1;
        if self.times.len() == Self::MAX_TIMES {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.expire(now);
    }

    /// Events per second.
    pub fn rate(&mut self, now: Timestamp) -> f64 {
        self.expire(now);
        match (self.times.front(), self.times.back()) {
            (Some(first), Some(last)) if last > first => {
                (self.times.len() - 1) as f64 / last.since(*first).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// Events since the beginning.
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn expire(&mut self, now: Timestamp) {
        while self.times.front().is_some_and(|first| now.since(*first) > Self::WINDOW) {
            self.times.pop_front();
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
}
