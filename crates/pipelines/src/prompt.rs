//! Prompts with weights, and transitions from one mix of prompts to another.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest accepted prompt, in bytes.
pub const MAX_PROMPT_BYTES: usize = 8 * 1024;
/// Most prompts in one mix.
pub const MAX_PROMPTS: usize = 50;
/// Longest transition, in chunks.
pub const MAX_TRANSITION_STEPS: u32 = 1000;

/// One prompt of a mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// What to show.
    pub text: String,
    /// Its share, relative to the other weights of the mix; not negative.
    #[serde(default = "one")]
    pub weight: f64,
}

const fn one() -> f64 {
    1.0
}

/// A move from the current mix to another over a number of chunks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The mix at its end.
    pub target_prompts: Vec<Prompt>,
    /// Chunks it takes; 0 is a cut.
    #[serde(default = "four")]
    pub num_steps: u32,
}

const fn four() -> u32 {
    4
}

/// Reads a mix of prompts in any form that clients send: objects with `text` and `weight`, strings, or one string.
///
/// # Errors
/// A text that names what is wrong.
pub fn parse_prompts(value: &Value) -> Result<Vec<Prompt>, String> {
    let items = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(items) => items,
        _ => return Err("must be a list of {text, weight}".into()),
    };
    if items.len() > MAX_PROMPTS {
        return Err(format!("has {} prompts; at most {MAX_PROMPTS} are accepted", items.len()));
    }
    let mut prompts = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let prompt = match item {
            Value::String(text) => Prompt { text: text.clone(), weight: 1.0 },
            _ => Prompt::deserialize(item).map_err(|error| format!("entry {index}: {error}"))?,
        };
        if prompt.text.len() > MAX_PROMPT_BYTES {
            return Err(format!("entry {index}: the text is longer than {MAX_PROMPT_BYTES} bytes"));
        }
        if !prompt.weight.is_finite() || prompt.weight < 0.0 {
            return Err(format!("entry {index}: weight {} is not a number ≥ 0", prompt.weight));
        }
        prompts.push(prompt);
    }
    Ok(prompts)
}

/// Weights that sum to 1. All-zero weights count as equal.
pub fn normalised_weights(prompts: &[Prompt]) -> Vec<f64> {
    let sum: f64 = prompts.iter().map(|prompt| prompt.weight).sum();
    if sum > 0.0 && sum.is_finite() {
        prompts.iter().map(|prompt| prompt.weight / sum).collect()
    } else {
        vec![1.0 / prompts.len().max(1) as f64; prompts.len()]
    }
}

/// The mix on its way from one set of prompts to another. `E` is what a prompt mix is encoded to.
#[derive(Clone, Debug, Default)]
pub struct Blend<E> {
    current: Option<E>,
    from: Option<E>,
    step: u32,
    steps: u32,
}

impl<E: Clone> Blend<E> {
    /// Jumps to `target`.
    pub fn cut_to(&mut self, target: E) {
        *self = Self { current: Some(target), from: None, step: 0, steps: 0 };
    }

    /// Starts to move from what [`Blend::advance`] yielded last to `target` over `steps` chunks.
    pub fn move_to(&mut self, target: E, steps: u32, mix: impl Fn(&E, &E, f64) -> E) {
        match self.value(&mix) {
            Some(now) if steps > 0 => {
                *self = Self { current: Some(target), from: Some(now), step: 0, steps };
            }
            _ => self.cut_to(target),
        }
    }

    /// Moves one chunk on and yields the mix for it: `mix(from, to, share of to)`.
    pub fn advance(&mut self, mix: impl Fn(&E, &E, f64) -> E) -> Option<E> {
        if self.from.is_some() {
            self.step += 1;
            if self.step >= self.steps {
                self.from = None;
            }
        }
        self.value(&mix)
    }

    fn value(&self, mix: &impl Fn(&E, &E, f64) -> E) -> Option<E> {
        let current = self.current.as_ref()?;
        Some(match &self.from {
            Some(from) => mix(from, current, f64::from(self.step) / f64::from(self.steps.max(1))),
            None => current.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn mix(a: &f64, b: &f64, t: f64) -> f64 {
        a + (b - a) * t
    }

    #[test]
    fn every_form_of_prompts_is_read() {
        let one = vec![Prompt { text: "a dog".into(), weight: 1.0 }];
        for value in [json!("a dog"), json!(["a dog"]), json!([{"text": "a dog"}])] {
            assert_eq!(parse_prompts(&value).unwrap(), one);
        }
        for bad in [json!(3), json!([{"weight": 1}]), json!([{"text": "x", "weight": -1}])] {
            assert!(parse_prompts(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_transition_reaches_its_target_after_exactly_its_steps() {
        let mut blend = Blend::default();
        blend.cut_to(0.0);
        blend.move_to(1.0, 4, mix);
        let seen: Vec<_> = (0..6).map(|_| blend.advance(mix).unwrap()).collect();
        assert_eq!(seen, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    proptest! {
        /// However transitions interrupt each other, the mix never jumps by more than its own step.
        #[test]
        fn interrupted_transitions_stay_continuous(moves in prop::collection::vec((0.0..1.0f64, 1u32..9, 0usize..6), 1..8)) {
            let mut blend = Blend::default();
            blend.cut_to(0.5);
            let mut last = 0.5;
            for (target, steps, chunks) in moves {
                blend.move_to(target, steps, mix);
                for _ in 0..chunks {
                    let next = blend.advance(mix).unwrap();
                    prop_assert!((next - last).abs() <= 1.0 / f64::from(steps) + 1e-9);
                    last = next;
                }
            }
        }

        #[test]
        fn weights_always_sum_to_one(weights in prop::collection::vec(0.0..100.0f64, 1..6)) {
            let prompts: Vec<_> =
                weights.into_iter().map(|weight| Prompt { text: String::new(), weight }).collect();
            let sum: f64 = normalised_weights(&prompts).iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
        }
    }
}
