use std::fmt;
use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The origin of [`Timestamp`], fixed at its first use.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    // One second back, so that instants taken shortly before the first use are still representable.
    *ORIGIN.get_or_init(|| {
        let now = Instant::now();
        now.checked_sub(Duration::from_secs(1)).unwrap_or(now)
    })
}

/// A point on the media clock: microseconds on the process's monotonic clock.
///
/// State machines take `now: Timestamp` as an argument, so that tests can run them on any clock they like;
/// [`Timestamp::now`] is for the edges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        Self::from_instant(Instant::now())
    }

    /// The media time of `instant`; instants before the clock's origin map to the origin.
    pub fn from_instant(instant: Instant) -> Self {
        Self::from_duration(instant.saturating_duration_since(origin()))
    }

    /// The time `since_origin` after the clock's origin.
    pub fn from_duration(since_origin: Duration) -> Self {
        Self(u64::try_from(since_origin.as_micros()).unwrap_or(u64::MAX))
    }

    /// The time `micros` after the clock's origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The same point as an [`Instant`].
    pub fn to_instant(self) -> Instant {
        origin() + Duration::from_micros(self.0)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_round_trip_to_the_microsecond() {
        let instant = Instant::now();
        let back = Timestamp::from_instant(instant).to_instant();
        assert!(instant.saturating_duration_since(back) < Duration::from_micros(1));
        assert!(back <= instant);
    }

    #[test]
    fn differences_saturate_instead_of_wrapping() {
        let (early, late) = (Timestamp::from_micros(5), Timestamp::from_micros(9));
        assert_eq!(late.since(early), Duration::from_micros(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early - Duration::from_secs(1), Timestamp::default());
    }
}
