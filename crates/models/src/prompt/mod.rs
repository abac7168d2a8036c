//! Prompts that are mixed with weights, and moves from one mix to another: what conditions each chunk of a video.
//!
//! [`PromptState`] is the state machine: once per chunk it takes what the caller asks for, has new texts encoded, and
//! yields the embedding in effect. [`blend`] is the arithmetic.

mod blend;
mod state;

pub use blend::{Interpolation, between, blend};
pub use state::{Call, Change, Conditioning, PromptError, PromptState};

/// One prompt of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// What to show.
    pub text: String,
    /// Its share, relative to the other weights of the mix; not negative.
    pub weight: f64,
}

/// A move from the mix in effect to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The mix at its end.
    pub target: Vec<Prompt>,
    /// Chunks it takes; 0 is a cut.
    pub steps: u32,
    /// How the steps in between are made.
    pub method: Interpolation,
}
