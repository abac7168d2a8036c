//! How much may go on at once, and how often a wrong token may be shown.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Kinds of requests that compete for the same resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Quick reads and small changes.
    Plain,
    /// Writing files to disk.
    Upload,
    /// Setting up a peer connection.
    Offer,
    /// Reading directories, logs or pictures: work for a blocking thread.
    Heavy,
}

impl Class {
    /// The class of a request to the route `path`, as the router writes it.
    pub fn of(method: &axum::http::Method, path: &str) -> Self {
        let post = method == axum::http::Method::POST;
        match path {
            "/api/v1/assets" | "/api/v1/loras/upload" if post => Self::Upload,
            "/api/v1/models" | "/api/v1/models/verify" => Self::Heavy,
            "/api/v1/loras" | "/api/v1/lora/list" if !post => Self::Heavy,
            "/api/v1/webrtc/offer" | "/api/v1/webrtc/offer/{session_id}/restart" if post => Self::Offer,
            "/api/v1/assets" | "/api/v1/session/frame" | "/api/v1/hardware/info" => Self::Heavy,
            _ if path.starts_with("/api/v1/logs/") || path.starts_with("/api/v1/recordings/") => Self::Heavy,
            _ => Self::Plain,
        }
    }

    /// What a refused client is told there is too much of.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain | Self::Heavy => "requests",
            Self::Upload => "uploads",
            Self::Offer => "new connections",
        }
    }
}

/// Permits per [`Class`].
pub struct Limits {
    plain: Arc<Semaphore>,
    upload: Arc<Semaphore>,
    offer: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self { plain: permits(256), upload: permits(4), offer: permits(8), heavy: permits(16) }
    }
}

impl Limits {
    /// A permit for one more request of `class`, unless there are too many.
    pub fn enter(&self, class: Class) -> Option<OwnedSemaphorePermit> {
        let semaphore = match class {
            Class::Plain => &self.plain,
            Class::Upload => &self.upload,
            Class::Offer => &self.offer,
            Class::Heavy => &self.heavy,
        };
        Arc::clone(semaphore).try_acquire_owned().ok()
    }
}

/// Wrong tokens an address may show per [`WINDOW`].
const MAX_FAILURES: u32 = 10;
/// Wrong tokens that all addresses together may show per [`WINDOW`]: an IPv6 attacker owns many.
const MAX_FAILURES_TOTAL: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts wrong tokens, so that a short `--token` cannot be guessed.
#[derive(Default)]
pub struct FailureLimiter(Mutex<Failures>);

#[derive(Default)]
struct Failures {
    window_start: Option<Instant>,
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl FailureLimiter {
    /// Seconds until `address` may show a token again, when it must wait.
    pub fn blocked(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let failures = self.0.lock();
        let elapsed = now.saturating_duration_since(failures.window_start?);
        let here = failures.by_address.get(&address.to_canonical()).copied().unwrap_or(0);
        // Strangers must not be able to lock out whoever sits at the machine.
        let crowded = failures.total >= MAX_FAILURES_TOTAL && !super::decide::is_loopback(address);
        let exhausted = here >= MAX_FAILURES || crowded;
        (exhausted && elapsed < WINDOW).then(|| (WINDOW - elapsed).as_secs().max(1))
    }

    /// Notes that `address` showed a wrong token.
    pub fn note(&self, address: IpAddr, now: Instant) {
        let mut failures = self.0.lock();
        if failures.window_start.is_none_or(|start| now.saturating_duration_since(start) >= WINDOW) {
            *failures = Failures { window_start: Some(now), ..Failures::default() };
        }
        failures.total = failures.total.saturating_add(1);
        *failures.by_address.entry(address.to_canonical()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_stopped_per_address_and_forgiven_after_a_while() {
        let (limiter, now) = (FailureLimiter::default(), Instant::now());
        let (guesser, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..MAX_FAILURES {
            assert_eq!(limiter.blocked(guesser, now), None);
            limiter.note(guesser, now);
        }
        assert_eq!(limiter.blocked(guesser, now), Some(60));
        assert_eq!(limiter.blocked(other, now), None);
        assert_eq!(limiter.blocked(guesser, now + WINDOW), None);
    }

    #[test]
    fn many_addresses_do_not_help_a_guesser() {
        let (limiter, now) = (FailureLimiter::default(), Instant::now());
        for n in 0..100 {
            limiter.note(IpAddr::from([10, 0, 1, n]), now);
        }
        assert!(limiter.blocked(IpAddr::from([10, 0, 2, 1]), now).is_some());
    }

    #[test]
    fn a_class_runs_out_alone() {
        let limits = Limits::default();
        let held: Vec<_> = (0..4).map(|_| limits.enter(Class::Upload).unwrap()).collect();
        assert!(limits.enter(Class::Upload).is_none());
        assert!(limits.enter(Class::Plain).is_some());
        drop(held);
        assert!(limits.enter(Class::Upload).is_some());
    }
}
