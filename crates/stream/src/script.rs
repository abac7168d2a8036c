//! Parameter updates at set moments of a video.
//!
//! A script is played against frames, not against a clock: an update belongs to the first chunk that begins at its moment
//! or after it. The same script over the same video therefore always changes the same frames.

use serde_json::{Map, Value};
use std::time::Duration;

/// Times that differ by less are the same: a frame's time is rounded to microseconds on its way.
const TOLERANCE: Duration = Duration::from_micros(1);

/// When an update takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// With this frame, counted from 0.
    Frame(u64),
    /// So long after the first frame.
    Time(Duration),
}

impl Moment {
    /// Whether `frame`, shown at `time`, comes at this moment or after it.
    fn is_reached(self, frame: u64, time: Duration) -> bool {
        match self {
            Self::Frame(moment) => moment <= frame,
            Self::Time(moment) => moment <= time + TOLERANCE,
        }
    }
}

/// One update of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub at: Moment,
    /// Checked values for the pipeline.
    pub parameters: Map<String, Value>,
    /// Values for the one chunk, over all others.
    pub once: Map<String, Value>,
    /// The effort from now on, as a place among the pipeline's.
    pub effort: Option<usize>,
}

impl Change {
    /// New values of parameters, and nothing else.
    pub fn new(at: Moment, parameters: Map<String, Value>) -> Self {
        Self { at, parameters, once: Map::new(), effort: None }
    }
}

/// Updates that have yet to be made, in the order in which they are made when several fall into one chunk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script(Vec<Change>);

impl Script {
    /// A script of `changes`. Of two for the same chunk the one that is listed later wins.
    pub fn new(changes: impl IntoIterator<Item = Change>) -> Self {
        Self(changes.into_iter().collect())
    }

    /// Adds a change at the end of the list.
    pub fn push(&mut self, change: Change) {
        self.0.push(change);
    }

    /// Takes out every change that belongs to a chunk which begins with `frame`, shown at `time`.
    pub fn due(&mut self, frame: u64, time: Duration) -> Vec<Change> {
        let (due, later): (Vec<Change>, _) =
            std::mem::take(&mut self.0).into_iter().partition(|change| change.at.is_reached(frame, time));
        self.0 = later;
        due
    }

    /// Changes that have yet to be made.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes that have yet to be made.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn change(at: Moment, value: u64) -> Change {
        Change::new(at, Map::from_iter([("value".to_owned(), json!(value))]))
    }

    #[test]
    fn a_change_never_comes_early_and_never_twice() {
        let mut script = Script::new([change(Moment::Frame(5), 1), change(Moment::Time(Duration::ZERO), 0)]);
        assert_eq!(script.due(0, Duration::ZERO), [change(Moment::Time(Duration::ZERO), 0)]);
        assert!(script.due(4, Duration::from_secs(9)).is_empty());
        assert_eq!(script.due(8, Duration::from_secs(10)).len(), 1);
        assert!(script.is_empty() && script.due(9, Duration::from_secs(11)).is_empty());
    }

    #[test]
    fn a_time_that_falls_on_a_frame_is_that_frame_whatever_the_rate() {
        for rate in [8.0, 15.0, 16.0, 23.976, 29.97, 60.0] {
            for frame in 0..1000 {
                let moment = Duration::from_secs_f64(f64::from(frame) / rate);
                let mut script = Script::new([change(Moment::Time(moment), 0)]);
                let shown = |frame: i32| Duration::from_micros((f64::from(frame) / rate * 1e6) as u64);
                if frame > 0 {
                    assert!(script.due(0, shown(frame - 1)).is_empty(), "{frame} at {rate}");
                }
                assert_eq!(script.due(0, shown(frame)).len(), 1, "{frame} at {rate}");
            }
        }
    }

    proptest! {
        /// However long chunks are, every change comes exactly once, with the first chunk that begins at it or after it.
        #[test]
        fn every_change_comes_with_its_chunk(
            moments in prop::collection::vec(0..60u64, 0..12),
            chunks in prop::collection::vec(1..9u64, 1..40),
        ) {
            let mut script = Script::new(moments.iter().enumerate().map(|(index, at)| {
                change(Moment::Frame(*at), index as u64)
            }));
            let (mut frame, mut made) = (0, 0);
            for chunk in chunks {
                for change in script.due(frame, Duration::ZERO) {
                    let at = moments[change.parameters["value"].as_u64().unwrap() as usize];
                    prop_assert!(at <= frame);
                    made += 1;
                }
                prop_assert!(script.iter().all(|left| !left.at.is_reached(frame, Duration::ZERO)));
                frame += chunk;
            }
            prop_assert_eq!(made + script.len(), moments.len());
        }
    }
}
