use super::keys::{KeyKind, key_kind};
use crate::prompt::{Prompt, Transition, parse_prompts};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The parameters of one node between chunks. Updates coalesce per key, so that a fast slider costs nothing and its
/// last value always arrives; one-shots wait for the chunk that takes them.
#[derive(Clone, Debug, Default)]
pub struct ParameterStore {
    sticky: Map<String, Value>,
    pending: Map<String, Value>,
    revision: u64,
    changed: bool,
}

impl ParameterStore {
    /// A store that starts with `initial` values, already validated.
    pub fn new(initial: &Map<String, Value>) -> Self {
        let mut store = Self::default();
        store.merge(initial, 0);
        store
    }

    /// Merges validated values. `revision` numbers the update; snapshots report the newest that they contain.
    pub fn merge(&mut self, values: &Map<String, Value>, revision: u64) {
        for (key, value) in values {
            match key_kind(key) {
                KeyKind::Sticky => {
                    if key == "prompts" {
                        // New prompts cancel a transition that has not been taken yet.
                        self.pending.shift_remove("transition");
                    }
                    self.sticky.insert(key.clone(), value.clone());
                }
                KeyKind::Transition => {
                    // Its target is the current prompt from now on: nothing can bounce back to the old one.
                    if let Some(target) = value.get("target_prompts") {
                        self.sticky.insert("prompts".into(), target.clone());
                    }
                    self.pending.insert(key.clone(), value.clone());
                }
                KeyKind::OneShot => merge_one_shot(&mut self.pending, key, value),
                KeyKind::Accumulating => accumulate(&mut self.pending, key, value),
                KeyKind::Session | KeyKind::Envelope | KeyKind::Start => continue,
            }
            self.changed = true;
        }
        self.revision = self.revision.max(revision);
    }

    /// The parameters for the next chunk. One-shots and accumulated values are taken out.
    pub fn take(&mut self) -> Snapshot {
        let mut values = self.sticky.clone();
        let pending = std::mem::take(&mut self.pending);
        if let Some(held) = pending.get("ctrl_input").and_then(released_mouse) {
            self.pending.insert("ctrl_input".into(), held);
        }
        let one_shots = pending.keys().cloned().collect();
        values.extend(pending);
        let changed = std::mem::take(&mut self.changed);
        Snapshot { values, one_shots, replaced: Vec::new(), revision: self.revision, changed }
    }

    /// Gives back what a chunk took but could not use, unless something newer arrived.
    pub fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot { mut values, one_shots, .. } = snapshot;
        for key in one_shots {
            let Some(value) = values.shift_remove(&key) else { continue };
            let stale = key == "transition"
                && value.get("target_prompts") != self.sticky.get("prompts").map(Some).unwrap_or_default();
            if !stale && key_kind(&key) != KeyKind::Accumulating && !self.pending.contains_key(&key) {
                self.pending.insert(key, value);
                self.changed = true;
            }
        }
    }

    /// The values that hold until they are changed.
    pub const fn sticky(&self) -> &Map<String, Value> {
        &self.sticky
    }
}

fn merge_one_shot(pending: &mut Map<String, Value>, key: &str, value: &Value) {
    match (key, pending.get_mut(key)) {
        // Any request for a reset counts.
        ("reset_cache", Some(waiting)) => {
            *waiting = json!(waiting == &json!(true) || value == &json!(true));
        }
        ("lora_scales", Some(Value::Array(waiting))) => {
            for entry in value.as_array().into_iter().flatten() {
                waiting.retain(|old| old.get("path") != entry.get("path"));
                waiting.push(entry.clone());
            }
        }
        _ => _ = pending.insert(key.to_owned(), value.clone()),
    }
}

fn mouse(value: &Value) -> [f64; 2] {
    let axis = |i| value.get("mouse").and_then(|m| m.get(i)).and_then(Value::as_f64).unwrap_or(0.0);
    [axis(0), axis(1)]
}

/// Buttons replace, mouse movement adds up.
fn accumulate(pending: &mut Map<String, Value>, key: &str, value: &Value) {
    let [dx, dy] = mouse(value);
    let [x, y] = pending.get(key).map_or([0.0; 2], mouse);
    let buttons = value.get("button").or_else(|| pending.get(key)?.get("button")).cloned();
    let merged = json!({"button": buttons.unwrap_or(json!([])), "mouse": [x + dx, y + dy]});
    pending.insert(key.to_owned(), merged);
}

/// The controller state after a chunk has taken the movement: buttons held, mouse at rest.
fn released_mouse(taken: &Value) -> Option<Value> {
    let buttons = taken.get("button")?.as_array().filter(|buttons| !buttons.is_empty())?;
    Some(json!({"button": buttons, "mouse": [0.0, 0.0]}))
}

/// One chunk's parameters.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    values: Map<String, Value>,
    one_shots: Vec<String>,
    /// Keys whose values hold for this chunk only.
    replaced: Vec<String>,
    revision: u64,
    changed: bool,
}

impl Snapshot {
    /// The value of `key`, if it has the type asked for.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        T::deserialize(self.values.get(key)?).ok()
    }

    /// The number at `key`.
    pub fn f64(&self, key: &str) -> Option<f64> {
        self.values.get(key)?.as_f64()
    }

    /// Whether `key` is set and true.
    pub fn is_true(&self, key: &str) -> bool {
        self.values.get(key) == Some(&Value::Bool(true))
    }

    /// The prompts to show.
    pub fn prompts(&self) -> Option<Vec<Prompt>> {
        parse_prompts(self.values.get("prompts")?).ok()
    }

    /// The transition that starts with this chunk.
    pub fn transition(&self) -> Option<Transition> {
        self.get("transition")
    }

    /// Replaces a value for this chunk only, as modulation does.
    pub fn set(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_owned(), value);
        self.replaced.push(key.to_owned());
    }

    /// The values that were replaced for this chunk only, by key.
    pub fn replaced(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.replaced.iter().filter_map(|key| Some((key.as_str(), self.values.get(key)?)))
    }

    /// Whether the value of `key` was replaced for this chunk only.
    pub fn is_replaced(&self, key: &str) -> bool {
        self.replaced.iter().any(|replaced| replaced == key)
    }

    /// Number of the newest update that this snapshot contains.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether anything arrived since the snapshot before.
    pub const fn changed(&self) -> bool {
        self.changed
    }

    /// All values.
    pub const fn as_map(&self) -> &Map<String, Value> {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn sticky_values_stay_and_one_shots_are_delivered_once() {
        let mut store = ParameterStore::new(&map(json!({"noise_scale": 0.5})));
        store.merge(&map(json!({"reset_cache": true})), 1);
        let first = store.take();
        assert!(first.is_true("reset_cache") && first.changed());
        assert_eq!(first.revision(), 1);
        let second = store.take();
        assert!(!second.is_true("reset_cache") && !second.changed());
        assert_eq!(second.f64("noise_scale"), Some(0.5));
    }

    #[test]
    fn a_reset_is_not_lost_to_a_later_false() {
        let mut store = ParameterStore::default();
        store.merge(&map(json!({"reset_cache": true})), 0);
        store.merge(&map(json!({"reset_cache": false})), 0);
        assert!(store.take().is_true("reset_cache"));
    }

    #[test]
    fn lora_scales_coalesce_per_adapter() {
        let mut store = ParameterStore::default();
        store.merge(&map(json!({"lora_scales": [{"path": "a", "scale": 1}, {"path": "b", "scale": 1}]})), 0);
        store.merge(&map(json!({"lora_scales": [{"path": "a", "scale": 2}]})), 0);
        let scales: Value = store.take().get("lora_scales").unwrap();
        assert_eq!(scales, json!([{"path": "b", "scale": 1}, {"path": "a", "scale": 2}]));
    }

    #[test]
    fn mouse_movement_adds_up_and_buttons_stay_held() {
        let mut store = ParameterStore::default();
        store.merge(&map(json!({"ctrl_input": {"button": ["KeyW"], "mouse": [1, 2]}})), 0);
        store.merge(&map(json!({"ctrl_input": {"mouse": [3, -1]}})), 0);
        let taken: Value = store.take().get("ctrl_input").unwrap();
        assert_eq!(taken, json!({"button": ["KeyW"], "mouse": [4.0, 1.0]}));
        let next: Value = store.take().get("ctrl_input").unwrap();
        assert_eq!(next, json!({"button": ["KeyW"], "mouse": [0.0, 0.0]}));
        store.merge(&map(json!({"ctrl_input": {"button": [], "mouse": [0, 0]}})), 0);
        store.take();
        assert!(store.take().get::<Value>("ctrl_input").is_none());
    }

    #[test]
    fn a_transition_makes_its_target_the_current_prompt() {
        let mut store = ParameterStore::new(&map(json!({"prompts": [{"text": "a", "weight": 1.0}]})));
        store.merge(
            &map(json!({"transition": {"target_prompts": [{"text": "b", "weight": 1.0}], "num_steps": 2}})),
            0,
        );
        assert_eq!(store.take().transition().unwrap().num_steps, 2);
        let later = store.take();
        assert_eq!(later.prompts().unwrap()[0].text, "b");
        assert!(later.transition().is_none());
    }

    #[test]
    fn new_prompts_cancel_a_waiting_transition() {
        let mut store = ParameterStore::default();
        store.merge(&map(json!({"transition": {"target_prompts": ["b"], "num_steps": 2}})), 0);
        store.merge(&map(json!({"prompts": ["c"]})), 0);
        assert!(store.take().transition().is_none());
    }

    #[test]
    fn a_failed_chunk_returns_its_one_shots_unless_newer_ones_came() {
        let mut store = ParameterStore::default();
        store.merge(&map(json!({"reset_cache": true, "images": ["old"]})), 1);
        let failed = store.take();
        store.merge(&map(json!({"images": ["new"]})), 0);
        store.restore(failed);
        let again = store.take();
        assert!(again.is_true("reset_cache"));
        assert_eq!(again.get::<Vec<String>>("images").unwrap(), ["new"]);
    }

    proptest! {
        /// However updates and chunks interleave, the last value of every sticky key is what the last chunk sees,
        /// and each reset is seen exactly once.
        #[test]
        fn nothing_is_lost_between_chunks(events in prop::collection::vec(prop_oneof![
            (0..3usize, 0..100i64).prop_map(Some),
            Just(None),
        ], 1..60)) {
            let (mut store, mut expected) = (ParameterStore::default(), Map::new());
            let (mut sent, mut seen, mut waiting) = (0, 0, false);
            for event in events {
                match event {
                    Some((2, _)) => {
                        store.merge(&map(json!({"reset_cache": true})), 0);
                        sent += usize::from(!waiting);
                        waiting = true;
                    }
                    Some((key, value)) => {
                        let key = ["base_seed", "other"][key];
                        store.merge(&Map::from_iter([(key.to_owned(), json!(value))]), 0);
                        expected.insert(key.to_owned(), json!(value));
                    }
                    None => {
                        seen += usize::from(store.take().is_true("reset_cache"));
                        waiting = false;
                    }
                }
            }
            let last = store.take();
            seen += usize::from(last.is_true("reset_cache"));
            prop_assert_eq!(seen, sent);
            for (key, value) in expected {
                prop_assert_eq!(&last.as_map()[&key], &value);
            }
        }
    }
}
