//! Maps the RTP time of an incoming track to the time at which its pictures were captured, on our clock.

use scope_frame::Timestamp;
use std::time::Duration;

/// How fast the estimate may drift upwards, as a share of passed time: real clocks differ by less.
const DRIFT: f64 = 0.0005;
/// A jump of RTP time against arrival beyond this is a new source, not jitter.
const MAX_JUMP: Duration = Duration::from_secs(1);

/// RTP time plus the smallest transit time seen lately. Network jitter only ever delays, so the minimum is the capture
/// clock; it is let go slowly, so that clocks may drift.
#[derive(Debug, Default)]
pub(super) struct CaptureClock {
    state: Option<State>,
}

#[derive(Debug)]
struct State {
    /// Arrival minus RTP time, in microseconds: the smallest lately.
    offset: f64,
    last_arrival: Timestamp,
}

impl CaptureClock {
    /// The capture time of a picture with RTP time `rtp_micros` that arrived at `arrival`; never later than that.
    pub(super) fn captured_at(&mut self, rtp_micros: u64, arrival: Timestamp) -> Timestamp {
        let offset = arrival.as_micros() as f64 - rtp_micros as f64;
        let state = self.state.get_or_insert(State { offset, last_arrival: arrival });
        if (offset - state.offset).abs() > MAX_JUMP.as_micros() as f64 {
            *state = State { offset, last_arrival: arrival };
        }
        let passed = arrival.since(state.last_arrival).as_micros() as f64;
        state.offset = (state.offset + passed * DRIFT).min(offset);
        state.last_arrival = arrival;
        let captured = (rtp_micros as f64 + state.offset).max(0.0) as u64;
        Timestamp::from_micros(captured.min(arrival.as_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn jitter_is_removed() {
        let mut clock = CaptureClock::default();
        let jitter = [0, 12_000, 3_000, 25_000, 0, 8_000, 1_000, 0];
        let captured: Vec<_> = jitter
            .iter()
            .enumerate()
            .map(|(i, jitter)| {
                let rtp = i as u64 * 33_333;
                clock.captured_at(rtp, Timestamp::from_micros(5_000_000 + rtp + jitter)).as_micros()
            })
            .collect();
        for pair in captured.windows(2) {
            assert!((pair[1] - pair[0]).abs_diff(33_333) < 200, "{captured:?}");
        }
    }

    #[test]
    fn a_new_source_starts_over() {
        let mut clock = CaptureClock::default();
        clock.captured_at(1_000_000_000, Timestamp::from_micros(10_000_000));
        let arrival = Timestamp::from_micros(10_050_000);
        assert_eq!(clock.captured_at(77, arrival), arrival);
    }

    proptest! {
        #[test]
        fn nothing_is_captured_after_it_arrived(events in prop::collection::vec((0u64..100_000, 0u64..200_000), 1..200)) {
            let mut clock = CaptureClock::default();
            let (mut rtp, mut base) = (0, 1_000_000);
            for (step, jitter) in events {
                rtp += step;
                base += step;
                let arrival = Timestamp::from_micros(base + jitter);
                prop_assert!(clock.captured_at(rtp, arrival) <= arrival);
            }
        }
    }
}
