//! Musical time: beats from a client or a device, changes that wait for a beat, and parameters that move with it.
//!
//! Everything here is pure: time is an argument, and the runner asks at chunk boundaries, which is when parameters matter.

use scope_frame::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::time::Duration;

/// How long a client's beat is believed without a new one.
const CLIENT_BEAT_LIFE: Duration = Duration::from_secs(2);
/// A boundary nearer than this, in beats, is taken as missed: the change waits for the next.
const TOO_NEAR_BEATS: f64 = 0.01;
/// Most groups of changes that wait for one boundary; those for one node in a row are one.
const MAX_HELD: usize = 64;
/// Most modulated parameters.
const MAX_MODULATIONS: usize = 32;

/// Where in the music we are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beat {
    /// Beats per minute.
    pub bpm: f64,
    /// Beats since the start, with the fraction of the current one.
    pub position: f64,
    /// Beats in a bar.
    pub beats_per_bar: u32,
}

/// A musical period that boundaries lie on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Grid {
    /// No boundaries.
    #[default]
    #[serde(rename = "none")]
    None,
    /// Every beat.
    #[serde(rename = "beat")]
    Beat,
    /// Every bar.
    #[serde(rename = "bar")]
    Bar,
    /// Every second bar.
    #[serde(rename = "2_bar")]
    TwoBars,
    /// Every fourth bar.
    #[serde(rename = "4_bar")]
    FourBars,
}

impl Grid {
    fn beats(self, beats_per_bar: u32) -> Option<f64> {
        let bar = f64::from(beats_per_bar.max(1));
        match self {
            Self::None => None,
            Self::Beat => Some(1.0),
            Self::Bar => Some(bar),
            Self::TwoBars => Some(bar * 2.0),
            Self::FourBars => Some(bar * 4.0),
        }
    }

    /// Number of the period that `beat` lies in.
    pub fn index(self, beat: Beat) -> Option<i64> {
        self.beats(beat.beats_per_bar).map(|length| (beat.position / length).floor() as i64)
    }

    /// Time until the next boundary minus `lookahead`; the boundary after that when it is too near or already past.
    pub fn delay(self, beat: Beat, lookahead: Duration) -> Option<Duration> {
        let length = self.beats(beat.beats_per_bar)?;
        let seconds_per_beat = 60.0 / beat.bpm;
        let mut beats = length - beat.position.rem_euclid(length);
        if beats < TOO_NEAR_BEATS {
            beats += length;
        }
        let mut seconds = beats * seconds_per_beat - lookahead.as_secs_f64();
        if seconds < 0.0 {
            let cycle = length * seconds_per_beat;
            seconds += cycle * (-seconds / cycle).ceil();
        }
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// The session's sense of musical time.
#[derive(Clone, Debug, Default)]
pub struct Tempo {
    client: Option<(Timestamp, Beat)>,
    quantize: Grid,
    lookahead: Duration,
    pending: Option<Pending>,
    reset_rate: Grid,
    last_reset: Option<i64>,
    modulations: BTreeMap<String, Modulation>,
}

#[derive(Clone, Debug)]
struct Pending {
    due: Timestamp,
    changes: Vec<Held>,
}

/// Changes that wait, for one node or for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The node that they are for; all unless named.
    pub node_id: Option<String>,
    /// Checked parameters.
    pub changes: Map<String, Value>,
}

impl Tempo {
    /// Takes the session keys that concern tempo; others are ignored.
    pub fn update(&mut self, now: Timestamp, keys: &Map<String, Value>) {
        let number = |key: &str| keys.get(key).and_then(Value::as_f64);
        if let (Some(bpm), Some(phase)) = (number("bpm"), number("beat_phase")) {
            let count =
                number("beat_count").unwrap_or_else(|| number("bar_position").map_or(0.0, f64::floor));
            let beat = Beat { bpm: bpm.max(1.0), position: count + phase, beats_per_bar: 4 };
            self.client = Some((now, beat));
        }
        if let Some(grid) = grid(keys, "quantize_mode") {
            self.quantize = grid;
            self.pending = None;
        }
        if let Some(millis) = number("lookahead_ms") {
            self.lookahead = Duration::from_secs_f64(millis.max(0.0) / 1000.0);
        }
        if let Some(grid) = grid(keys, "beat_cache_reset_rate") {
            self.reset_rate = grid;
            self.last_reset = None;
        }
        if let Some(Value::Object(modulations)) = keys.get("modulations") {
            self.modulations = modulations
                .iter()
                .take(MAX_MODULATIONS)
                .filter_map(|(key, value)| Some((key.clone(), Modulation::deserialize(value).ok()?)))
                .collect();
        }
    }

    /// The beat at `now`, if anything provides one.
    pub fn beat(&self, now: Timestamp) -> Option<Beat> {
        let (at, beat) = self.client?;
        let passed = now.since(at);
        (passed <= CLIENT_BEAT_LIFE)
            .then(|| Beat { position: beat.position + passed.as_secs_f64() * beat.bpm / 60.0, ..beat })
    }

    /// Holds `changes` until the next boundary; `None` when there is nothing to wait for and they apply at once. More
    /// changes before the boundary join those that wait without moving it.
    pub fn schedule(
        &mut self,
        now: Timestamp,
        node_id: Option<&str>,
        changes: &Map<String, Value>,
    ) -> Option<Duration> {
        let delay = match &self.pending {
            Some(pending) => pending.due.since(now),
            None => self.quantize.delay(self.beat(now)?, self.lookahead)?,
        };
        let pending = self.pending.get_or_insert_with(|| Pending { due: now + delay, changes: Vec::new() });
        let full = pending.changes.len() >= MAX_HELD;
        match pending.changes.last_mut().filter(|held| held.node_id.as_deref() == node_id) {
            Some(held) => held.changes.extend(changes.clone()),
            None if !full => {
                pending.changes.push(Held { node_id: node_id.map(str::to_owned), changes: changes.clone() });
            }
            // Who sends to so many nodes in turn within one period is not waited for.
            None => return None,
        }
        Some(delay)
    }

    /// The changes whose boundary has come, in the order in which they were made.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Held> {
        self.pending.take_if(|pending| pending.due <= now).map(|pending| pending.changes).unwrap_or_default()
    }

    /// Whether a boundary of the cache-reset rate has passed since the last call.
    pub fn wants_reset(&mut self, now: Timestamp) -> bool {
        let Some(index) = self.beat(now).and_then(|beat| self.reset_rate.index(beat)) else { return false };
        let before = self.last_reset.replace(index);
        before.is_some_and(|before| before != index)
    }

    /// The modulated values at `now`, given the values they swing around.
    pub fn modulated(&self, now: Timestamp, values: &Map<String, Value>) -> Vec<(String, Value)> {
        let Some(beat) = self.beat(now) else { return Vec::new() };
        let mut out = Vec::new();
        for (key, modulation) in self.modulations.iter().filter(|(_, modulation)| modulation.enabled) {
            let key = if key == "denoising_steps" { "denoising_step_list" } else { key };
            if let Some(value) = modulation.apply(beat, values.get(key)) {
                if key == "noise_scale" {
                    out.push(("noise_controller".into(), json!(false)));
                }
                out.push((key.to_owned(), value));
            }
        }
        out
    }
}

fn grid(keys: &Map<String, Value>, key: &str) -> Option<Grid> {
    Grid::deserialize(keys.get(key)?).ok()
}

/// A parameter that swings with the beat.
#[derive(Clone, Debug, Deserialize)]
struct Modulation {
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    shape: Shape,
    #[serde(default = "default_depth")]
    depth: f64,
    #[serde(default)]
    rate: Rate,
    base_value: Option<f64>,
    min_value: Option<f64>,
    max_value: Option<f64>,
}

const fn yes() -> bool {
    true
}

const fn default_depth() -> f64 {
    0.3
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    #[default]
    Sine,
    Cosine,
    Triangle,
    Saw,
    Square,
    ExpDecay,
}

impl Shape {
    /// The wave at `phase` in [0, 1): in [−1, 1], or a decay from 1 towards 0.
    fn at(self, phase: f64) -> f64 {
        match self {
            Self::Sine => (TAU * phase).sin(),
            Self::Cosine => (TAU * phase).cos(),
            Self::Triangle => 1.0 - 4.0 * (phase - 0.5).abs(),
            Self::Saw => 2.0 * phase - 1.0,
            Self::Square => {
                if phase < 0.5 {
                    1.0
                } else {
                    -1.0
                }
            }
            Self::ExpDecay => (-phase / 0.15).exp(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Rate {
    #[serde(rename = "half_beat")]
    HalfBeat,
    #[default]
    #[serde(rename = "beat")]
    Beat,
    #[serde(rename = "2_beat")]
    TwoBeats,
    #[serde(rename = "bar")]
    Bar,
    #[serde(rename = "2_bar")]
    TwoBars,
    #[serde(rename = "4_bar")]
    FourBars,
}

impl Rate {
    fn phase(self, beat: Beat) -> f64 {
        let bar = f64::from(beat.beats_per_bar.max(1));
        let length = match self {
            Self::HalfBeat => 0.5,
            Self::Beat => 1.0,
            Self::TwoBeats => 2.0,
            Self::Bar => bar,
            Self::TwoBars => bar * 2.0,
            Self::FourBars => bar * 4.0,
        };
        (beat.position / length).rem_euclid(1.0)
    }
}

impl Modulation {
    fn apply(&self, beat: Beat, current: Option<&Value>) -> Option<Value> {
        let swing = self.depth.clamp(0.0, 1.0) * self.shape.at(self.rate.phase(beat));
        if let Some(Value::Array(steps)) = current {
            return self.shift_steps(steps, swing);
        }
        let base = self.base_value.or_else(|| current?.as_f64())?;
        let low = self.min_value.unwrap_or(f64::NEG_INFINITY);
        let high = self.max_value.unwrap_or(f64::INFINITY).max(low);
        Some(json!((base + swing).clamp(low, high)))
    }

    /// Shifts a strictly descending list of steps by a share of its smallest entry and keeps it strictly descending.
    fn shift_steps(&self, steps: &[Value], swing: f64) -> Option<Value> {
        let steps: Vec<i64> = steps.iter().map(Value::as_i64).collect::<Option<_>>()?;
        let shift = (*steps.iter().min()? as f64 * swing).round() as i64;
        let low = self.min_value.map_or(0, |v| v as i64);
        let high = self.max_value.map_or(1000, |v| v as i64).max(low);
        let mut out: Vec<i64> = Vec::with_capacity(steps.len());
        for step in steps {
            let mut value = (step + shift).clamp(low, high);
            if let Some(last) = out.last() {
                value = value.min(last - 1);
            }
            out.push(value.max(0));
        }
        out.is_sorted_by(|a, b| a > b).then(|| json!(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn playing(quantize: &str) -> Tempo {
        let mut tempo = Tempo::default();
        let keys = json!({"bpm": 120.0, "beat_phase": 0.5, "beat_count": 1, "quantize_mode": quantize});
        tempo.update(at(0), &map(keys));
        tempo
    }

    #[test]
    fn a_change_waits_for_its_boundary_and_later_ones_join_it() {
        let mut tempo = playing("bar");
        let first = tempo.schedule(at(0), None, &map(json!({"a": 1}))).unwrap();
        assert_eq!(first, Duration::from_millis(1250));
        let second = tempo.schedule(at(250), None, &map(json!({"b": 2}))).unwrap();
        assert_eq!(second, Duration::from_millis(1000));
        tempo.schedule(at(300), Some("n"), &map(json!({"a": 3}))).unwrap();
        assert_eq!(tempo.take_due(at(1200)), []);
        let held =
            |node: Option<&str>, changes| Held { node_id: node.map(str::to_owned), changes: map(changes) };
        assert_eq!(
            tempo.take_due(at(1250)),
            [held(None, json!({"a": 1, "b": 2})), held(Some("n"), json!({"a": 3}))]
        );
        assert_eq!(tempo.take_due(at(1300)), []);
    }

    #[test]
    fn without_a_beat_or_a_grid_changes_apply_at_once() {
        let change = map(json!({"a": 1}));
        assert!(Tempo::default().schedule(at(0), None, &change).is_none());
        assert!(playing("none").schedule(at(0), None, &change).is_none());
        assert!(
            playing("beat").schedule(at(5000), None, &change).is_none(),
            "a beat of five seconds ago was believed"
        );
    }

    #[test]
    fn resets_come_once_per_boundary() {
        let mut tempo = playing("none");
        tempo.update(at(0), &map(json!({"beat_cache_reset_rate": "beat"})));
        let resets = (0..20).filter(|i| tempo.wants_reset(at(i * 100))).count();
        assert_eq!(resets, 4, "1.9 s at 120 bpm from half a beat cross four beats");
    }

    #[test]
    fn modulating_noise_switches_its_controller_off() {
        let mut tempo = playing("none");
        let keys =
            json!({"modulations": {"noise_scale": {"shape": "square", "depth": 0.2, "max_value": 1.0}}});
        tempo.update(at(0), &map(keys));
        let values = tempo.modulated(at(0), &map(json!({"noise_scale": 0.7})));
        assert_eq!(values[0], ("noise_controller".into(), json!(false)));
        assert!((values[1].1.as_f64().unwrap() - 0.5).abs() < 1e-9, "{values:?}");
    }

    proptest! {
        #[test]
        fn a_boundary_is_never_in_the_past_nor_more_than_two_periods_away(
            bpm in 20.0..300.0f64, position in 0.0..4000.0f64, lookahead in 0u64..3000,
        ) {
            let beat = Beat { bpm, position, beats_per_bar: 4 };
            for grid in [Grid::Beat, Grid::Bar, Grid::TwoBars, Grid::FourBars] {
                let lookahead = Duration::from_millis(lookahead);
                let delay = grid.delay(beat, lookahead).unwrap().as_secs_f64();
                let period = grid.beats(4).unwrap() * 60.0 / bpm;
                prop_assert!((0.0..=period * 1.02).contains(&delay), "{delay} of {period}");
            }
        }

        #[test]
        fn modulated_steps_stay_strictly_descending(position in 0.0..8.0f64, depth in 0.0..1.0f64) {
            let modulation = Modulation {
                enabled: true, shape: Shape::Sine, depth, rate: Rate::Bar,
                base_value: None, min_value: None, max_value: None,
            };
            let steps = [json!(1000), json!(750), json!(500), json!(250)];
            let beat = Beat { bpm: 120.0, position, beats_per_bar: 4 };
            let shifted = modulation.shift_steps(&steps, modulation.depth * Shape::Sine.at(modulation.rate.phase(beat)));
            let list: Vec<i64> = serde_json::from_value(shifted.unwrap()).unwrap();
            prop_assert!(list.is_sorted_by(|a, b| a > b) && list.iter().all(|s| (0..=1000).contains(s)), "{list:?}");
        }
    }
}
