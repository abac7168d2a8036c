//! Which embedding is in effect, chunk by chunk.

use scope_engine::Tensor;

use super::{
    Interpolation, Prompt, Transition,
    blend::{between, blend, distance},
};
use crate::quirks::Quirks;

/// What the caller asks for in one chunk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// The mix of prompts that the caller holds; empty if it has none. It is sent with every chunk, and means something
    /// only when it differs from the one before: a transition may have led elsewhere since.
    pub prompts: &'a [Prompt],
    /// A move that starts with this chunk; it goes before `prompts`. To be sent once.
    pub transition: Option<&'a Transition>,
    /// How prompts of one mix are blended.
    pub method: Interpolation,
    /// Everything starts anew: a transition on its way is over.
    pub reset: bool,
}

/// What conditions one chunk.
#[derive(Clone, Debug)]
pub struct Conditioning {
    /// The embedding in effect, `[tokens, features]`.
    pub embedding: Tensor,
    /// Is it another than in the chunk before?
    pub change: Change,
    /// Will the next chunk move it further, if nothing else is asked for?
    pub moving: bool,
}

/// How the embedding differs from that of the chunk before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    None,
    /// New prompts, at once.
    Cut,
    /// One step of a transition.
    Step,
}

/// Why there is nothing to condition a chunk with. The state is as it was before the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError<E> {
    /// No chunk has had a prompt yet, and this one has none either.
    #[error("there is no prompt yet: send `prompts`")]
    NoPrompt,
    /// The encoder failed.
    #[error("{0}")]
    Encoder(#[source] E),
    /// The encoder yielded another number of embeddings.
    #[error("the encoder yielded {found} embeddings for {expected} texts")]
    Count {
        /// How many.
        found: usize,
        /// Texts that it was given.
        expected: usize,
    },
    /// The embeddings of the prompts have different shapes.
    #[error("the embeddings of the prompts don't fit each other: {0}")]
    Misfit(#[source] scope_engine::Error),
}

/// Embeddings nearer than this are taken for the same.
const NEAR: f64 = 0.01;

/// The prompts of one video and the embedding that they amount to.
#[derive(Clone, Debug, Default)]
pub struct PromptState {
    quirks: Quirks,
    /// The caller's mix in the chunk before.
    incoming: Vec<Prompt>,
    /// The mix that holds until something else is asked for.
    current: Vec<Prompt>,
    /// The mix that was blended last, and its embedding.
    target: Option<Target>,
    /// What is in effect.
    embedding: Option<Tensor>,
    /// A transition on its way to the target. Its steps are computed when they are due: a long one needs no more memory
    /// than a short one.
    moving: Option<Moving>,
}

#[derive(Clone, Debug)]
struct Target {
    prompts: Vec<Prompt>,
    method: Interpolation,
    /// The embedding of each prompt: a change of weights needs no encoder.
    parts: Vec<Tensor>,
    embedding: Tensor,
}

#[derive(Clone, Debug)]
struct Moving {
    from: Tensor,
    done: u32,
    steps: u32,
    method: Interpolation,
}

impl PromptState {
    /// A state without prompts.
    #[must_use]
    pub fn new(quirks: Quirks) -> Self {
        Self { quirks, ..Self::default() }
    }

    /// The mix that holds until something else is asked for.
    #[must_use]
    pub fn current(&self) -> &[Prompt] {
        &self.current
    }

    /// The mix that was asked for last: where a transition on its way leads.
    #[must_use]
    pub fn target(&self) -> &[Prompt] {
        self.target.as_ref().map_or(&[], |target| &target.prompts)
    }

    /// Moves one chunk on. `encode` yields one embedding `[tokens, features]` for each text and is only called for texts
    /// that the mix before did not have.
    ///
    /// # Errors
    /// [`PromptError`] without any prompt, or when a text can't be encoded; the state stays as it was.
    pub fn advance<E>(
        &mut self,
        call: &Call<'_>,
        encode: impl FnOnce(&[&str]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Conditioning, PromptError<E>> {
        let mut next = self.clone();
        let conditioning = next.apply(call, encode)?;
        *self = next;
        Ok(conditioning)
    }

    fn apply<E>(
        &mut self,
        call: &Call<'_>,
        encode: impl FnOnce(&[&str]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Conditioning, PromptError<E>> {
        if call.reset {
            self.reset();
        }
        let wanted = self.wanted(call).to_vec();
        if wanted.is_empty() {
            return Err(PromptError::NoPrompt);
        }
        self.incoming = call.prompts.to_vec();
        let mut change = Change::None;
        let same_prompts = self.target() == wanted;
        let same_blend = self.target.as_ref().is_some_and(|target| {
            wanted.len() != 2 || target.method == call.method || self.quirks.waiting_method
        });
        if !(same_prompts && same_blend) {
            let target = self.blended(&wanted, call.method, encode)?;
            let embedding = target.embedding.clone();
            self.target = Some(target);
            // Blended in another way, the same prompts are still where a transition leads.
            if !(same_prompts && self.moving.is_some()) {
                change = self.head_for(embedding, call.transition).map_err(PromptError::Misfit)?;
            }
        }
        if let Some(embedding) = self.step().map_err(PromptError::Misfit)? {
            self.embedding = Some(embedding);
            change = Change::Step;
        }
        if !self.quirks.returning_prompts || self.moving.is_none() {
            self.current = wanted;
        }
        let target = self.target.as_ref().map(|target| &target.embedding);
        let embedding = match (&self.embedding, target) {
            (Some(embedding), _) => embedding.clone(),
            // After a reset.
            (None, Some(target)) => {
                change = Change::Cut;
                target.clone()
            }
            (None, None) => return Err(PromptError::NoPrompt),
        };
        self.embedding = Some(embedding.clone());
        Ok(Conditioning { embedding, change, moving: self.moving.is_some() })
    }

    fn reset(&mut self) {
        self.moving = None;
        self.embedding = None;
        if self.quirks.returning_prompts {
            self.incoming.clear();
            self.current.clear();
            self.target = None;
        }
    }

    /// The mix that a call asks for.
    fn wanted<'a>(&'a self, call: &Call<'a>) -> &'a [Prompt] {
        match call.transition {
            Some(transition) if !transition.target.is_empty() => &transition.target,
            _ if self.current.is_empty() || (call.prompts != self.incoming && !call.prompts.is_empty()) => {
                call.prompts
            }
            _ => &self.current,
        }
    }

    /// Encodes what is new in a mix and blends it.
    fn blended<E>(
        &self,
        prompts: &[Prompt],
        method: Interpolation,
        encode: impl FnOnce(&[&str]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Target, PromptError<E>> {
        let known = |text: &str| {
            let target = self.target.as_ref()?;
            let index = target.prompts.iter().position(|prompt| prompt.text == text)?;
            target.parts.get(index).cloned()
        };
        let mut new: Vec<&str> = Vec::new();
        for Prompt { text, .. } in prompts {
            if known(text).is_none() && !new.contains(&text.as_str()) {
                new.push(text);
            }
        }
        let encoded = if new.is_empty() { Vec::new() } else { encode(&new).map_err(PromptError::Encoder)? };
        if encoded.len() != new.len() {
            return Err(PromptError::Count { found: encoded.len(), expected: new.len() });
        }
        let part = |text: &str| {
            let fresh = new.iter().position(|new| *new == text).and_then(|index| encoded.get(index)).cloned();
            fresh.or_else(|| known(text))
        };
        // Every text is either known or was just encoded: none is left out.
        let parts: Vec<Tensor> = prompts.iter().filter_map(|prompt| part(&prompt.text)).collect();
        let weights: Vec<f64> = prompts.iter().map(|prompt| prompt.weight).collect();
        let embedding = blend(&parts, &weights, method).map_err(PromptError::Misfit)?;
        Ok(Target { prompts: prompts.to_vec(), method, parts, embedding })
    }

    /// Cuts to a new target, or starts to move there.
    fn head_for(&mut self, target: Tensor, transition: Option<&Transition>) -> scope_engine::Result<Change> {
        self.moving = None;
        if let (Some(from), Some(transition)) = (&self.embedding, transition)
            && transition.steps > 0
        {
            if distance(from, &target)? >= NEAR {
                let (from, steps, method) = (from.clone(), transition.steps, transition.method);
                self.moving = Some(Moving { from, done: 0, steps, method });
                return Ok(Change::None);
            }
            if self.quirks.skipped_near_targets {
                return Ok(Change::None);
            }
        }
        self.embedding = Some(target);
        Ok(Change::Cut)
    }

    /// The next step of the transition on its way, if there is one.
    fn step(&mut self) -> scope_engine::Result<Option<Tensor>> {
        let (Some(moving), Some(target)) = (&mut self.moving, &self.target) else { return Ok(None) };
        moving.done += 1;
        let share = if self.quirks.stationary_first_step {
            f64::from(moving.done - 1) / f64::from((moving.steps - 1).max(1))
        } else {
            f64::from(moving.done) / f64::from(moving.steps)
        };
        let embedding = if share >= 1.0 {
            target.embedding.clone()
        } else {
            between(&moving.from, &target.embedding, share, moving.method)?
        };
        if moving.done >= moving.steps {
            self.moving = None;
        }
        Ok(Some(embedding))
    }
}

#[cfg(test)]
mod tests;
