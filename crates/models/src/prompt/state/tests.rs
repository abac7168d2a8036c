use std::{cell::RefCell, convert::Infallible, num::NonZeroUsize, sync::LazyLock};

use proptest::prelude::*;
use scope_engine::{Cpu, Device};

use super::*;

static DEVICE: LazyLock<Device> = LazyLock::new(|| Cpu::new(NonZeroUsize::new(1)).unwrap().into());

/// The first letter's place on a line far from zero.
fn embed(text: &str) -> Tensor {
    let place = f32::from(text.as_bytes()[0] - b'a');
    Tensor::from_f32(&DEVICE, &[1, 2], &[10.0 + place, 10.0 - place]).unwrap()
}

fn mix(texts: &[&str]) -> Vec<Prompt> {
    texts.iter().map(|text| Prompt { text: (*text).to_owned(), weight: 1.0 }).collect()
}

fn transition(text: &str, steps: u32) -> Transition {
    Transition { target: mix(&[text]), steps, method: Interpolation::Linear }
}

/// A state and the texts that it had encoded.
struct Stage {
    state: PromptState,
    encoded: RefCell<Vec<String>>,
}

impl Stage {
    fn new(quirks: Quirks) -> Self {
        Self { state: PromptState::new(quirks), encoded: RefCell::default() }
    }

    fn call(&mut self, call: &Call<'_>) -> Conditioning {
        let encode = |texts: &[&str]| {
            self.encoded.borrow_mut().extend(texts.iter().map(ToString::to_string));
            Ok::<_, Infallible>(texts.iter().map(|text| embed(text)).collect())
        };
        self.state.advance(call, encode).unwrap()
    }

    fn show(&mut self, text: &str) -> Conditioning {
        self.call(&Call { prompts: &mix(&[text]), ..Call::default() })
    }

    fn go(&mut self, held: &str, target: &str, steps: u32) -> Conditioning {
        let (prompts, transition) = (mix(&[held]), transition(target, steps));
        self.call(&Call { prompts: &prompts, transition: Some(&transition), ..Call::default() })
    }
}

/// Where on the line an embedding lies.
fn place(conditioning: &Conditioning) -> f32 {
    conditioning.embedding.to_vec()[0] - 10.0
}

#[test]
fn prompts_are_encoded_once_and_hold() {
    let mut stage = Stage::new(Quirks::default());
    assert_eq!(stage.show("c").change, Change::Cut);
    let held = stage.show("c");
    assert_eq!((place(&held), held.change, held.moving), (2.0, Change::None, false));
    assert_eq!(place(&stage.call(&Call::default())), 2.0);
    assert_eq!(*stage.encoded.borrow(), ["c"]);
}

#[test]
fn a_first_chunk_without_prompt_is_refused_and_changes_nothing() {
    let mut state = PromptState::default();
    let result = state.advance(&Call::default(), |_| -> Result<_, Infallible> { unreachable!() });
    assert!(matches!(result, Err(PromptError::NoPrompt)));
    let prompts = mix(&["a"]);
    let call = Call { prompts: &prompts, ..Call::default() };
    let failed = state.advance(&call, |_| Err("the encoder is out of order"));
    assert!(matches!(failed, Err(PromptError::Encoder(_))));
    let short = state.advance(&call, |_| Ok::<_, Infallible>(Vec::new()));
    assert!(matches!(short, Err(PromptError::Count { found: 0, expected: 1 })));
    // What failed is tried again.
    let retried = state.advance(&call, |_| Ok::<_, Infallible>(vec![embed("a")])).unwrap();
    assert_eq!(retried.change, Change::Cut);
}

#[test]
fn new_weights_need_no_encoder() {
    let mut stage = Stage::new(Quirks::default());
    let mut prompts = mix(&["a", "c", "a"]);
    stage.call(&Call { prompts: &prompts, ..Call::default() });
    prompts[1].weight = 2.0;
    let other = stage.call(&Call { prompts: &prompts, ..Call::default() });
    assert_eq!(other.change, Change::Cut);
    assert_eq!(*stage.encoded.borrow(), ["a", "c"]);
}

#[test]
fn another_way_of_blending_has_effect_at_once() {
    let prompts = mix(&["a", "c"]);
    let linear = Call { prompts: &prompts, ..Call::default() };
    let slerp = Call { method: Interpolation::Slerp, ..linear };
    for (quirks, change) in [(Quirks::default(), Change::Cut), (Quirks::reference(), Change::None)] {
        let mut stage = Stage::new(quirks);
        stage.call(&linear);
        assert_eq!(stage.call(&slerp).change, change);
    }
}

#[test]
fn a_transition_moves_evenly_and_arrives_with_its_last_step() {
    let mut stage = Stage::new(Quirks::default());
    stage.show("a");
    let first = stage.go("a", "e", 4);
    assert_eq!((place(&first), first.change, first.moving), (1.0, Change::Step, true));
    let places: Vec<f32> = (0..4).map(|_| place(&stage.show("a"))).collect();
    assert_eq!(places, [2.0, 3.0, 4.0, 4.0], "the prompts sent along are old news");
    assert_eq!(stage.state.current(), mix(&["e"]));
}

#[test]
fn a_transition_of_one_step_is_a_step_to_the_target() {
    let mut stage = Stage::new(Quirks::default());
    stage.show("a");
    let only = stage.go("a", "e", 1);
    assert_eq!((place(&only), only.change, only.moving), (4.0, Change::Step, false));
    let mut reference = Stage::new(Quirks::reference());
    reference.show("a");
    assert_eq!(place(&reference.go("a", "e", 1)), 0.0);
}

#[test]
fn a_near_target_is_reached_by_a_cut() {
    let near = |_: &[&str]| {
        let tensor = Tensor::from_f32(&DEVICE, &[1, 2], &[10.001, 10.0]).unwrap();
        Ok::<_, Infallible>(vec![tensor])
    };
    for (quirks, change, at) in
        [(Quirks::default(), Change::Cut, 0.001), (Quirks::reference(), Change::None, 0.0)]
    {
        let mut stage = Stage::new(quirks);
        stage.show("a");
        let transition = transition("near", 4);
        let got =
            stage.state.advance(&Call { transition: Some(&transition), ..Call::default() }, near).unwrap();
        assert_eq!(got.change, change);
        assert!((place(&got) - at).abs() < 1e-5);
    }
}

#[test]
fn other_prompts_end_a_transition() {
    let mut stage = Stage::new(Quirks::default());
    stage.show("a");
    stage.go("a", "e", 4);
    let cut = stage.show("c");
    assert_eq!((place(&cut), cut.change, cut.moving), (2.0, Change::Cut, false));
    // A new transition starts from where the last one was.
    stage.go("c", "g", 2);
    assert_eq!(place(&stage.go("c", "a", 2)), 2.0);
}

#[test]
fn a_reset_keeps_what_was_asked_for_last() {
    let mut stage = Stage::new(Quirks::default());
    stage.show("a");
    stage.go("a", "e", 4);
    let prompts = mix(&["a"]);
    let reset = stage.call(&Call { prompts: &prompts, reset: true, ..Call::default() });
    assert_eq!((place(&reset), reset.change, reset.moving), (4.0, Change::Cut, false));
    assert_eq!(*stage.encoded.borrow(), ["a", "e"]);
    let mut reference = Stage::new(Quirks::reference());
    reference.show("a");
    reference.go("a", "e", 4);
    assert_eq!(place(&reference.call(&Call { prompts: &prompts, reset: true, ..Call::default() })), 0.0);
}

/// What a performer may do between two chunks.
#[derive(Clone, Debug)]
enum Act {
    Wait,
    Show(u8),
    Go(u8, u32),
    Reset,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => Just(Act::Wait),
        2 => (0u8..20).prop_map(Act::Show),
        3 => (0u8..20, 0u32..6).prop_map(|(text, steps)| Act::Go(text, steps)),
        1 => Just(Act::Reset),
    ];
    prop::collection::vec(act, 1..40)
}

proptest! {
    /// Whatever happens: the embedding only changes when it is said to, steps are as small as promised, and when nothing
    /// moves, the prompts asked for last are in effect.
    #[test]
    fn the_state_keeps_its_promises(acts in acts()) {
        let mut stage = Stage::new(Quirks::default());
        let mut held = "a".to_owned();
        let mut asked = 0.0;
        let mut last = place(&stage.show(&held));
        let mut pace = f32::INFINITY;
        for act in acts {
            let before = last;
            let conditioning = match &act {
                Act::Wait => stage.show(&held),
                Act::Show(text) => {
                    let text = char::from(b'a' + text).to_string();
                    if text != held {
                        asked = f32::from(text.as_bytes()[0] - b'a');
                        held = text;
                    }
                    stage.show(&held)
                }
                Act::Go(text, steps) => {
                    let target = f32::from(*text);
                    if target != asked {
                        pace = (target - before).abs() / steps.max(&1).to_owned() as f32;
                    }
                    asked = target;
                    stage.go(&held, &char::from(b'a' + text).to_string(), *steps)
                }
                Act::Reset => stage.call(&Call { prompts: &mix(&[&held]), reset: true, ..Call::default() }),
            };
            last = place(&conditioning);
            match conditioning.change {
                Change::None => prop_assert_eq!(last, before),
                Change::Step => prop_assert!((last - before).abs() <= pace + 1e-4, "{} to {}", before, last),
                Change::Cut => prop_assert_eq!(last, asked),
            }
            if !conditioning.moving {
                prop_assert_eq!(last, asked);
            }
        }
        // Every transition ends.
        for _ in 0..6 {
            last = place(&stage.show(&held));
        }
        prop_assert_eq!(last, asked);
    }
}
