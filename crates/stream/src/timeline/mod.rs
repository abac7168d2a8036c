//! Timeline files: prompts over time, and the settings that they were made with.
//!
//! Two formats are read into one [`Timeline`]: the timeline of versions 2.0 and 2.1 (camel case, weights from 0 to 100) and the
//! workflow of version 1.0 (snake case, with pipelines and perhaps a graph). Fields that are not known are ignored. A
//! [`Script`] of the timeline plays it.
//!
//! Reading is bounded: by [`MAX_BYTES`] and [`MAX_BLOCKS`], by the number and the length of prompts, and by times of at most a
//! week. What does not fit is refused with the place in the file and what was expected there.

mod document;

use crate::script::{Change, Moment, Script};
use scope_pipelines::prompt::Prompt;
use scope_pipelines::schema::Interpolation;
use scope_pipelines::{InputMode, PipelineSchema, Place};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Longest file.
pub const MAX_BYTES: usize = 8 << 20;
/// Most blocks in a file.
pub const MAX_BLOCKS: usize = 10_000;

/// Why a file is no timeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimelineError {
    /// It is too long.
    #[error("the file has {0} bytes; a timeline has at most {MAX_BYTES}")]
    TooLong(usize),
    /// It is no JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// It is another kind of JSON.
    #[error(
        "neither a timeline nor a workflow: expected an object with version \"2.0\" or \"2.1\" and prompts, or with \
         format \"scope-workflow\""
    )]
    Unknown,
    /// A version that cannot be read.
    #[error("{path}: expected {expected}, found {found}")]
    Version {
        /// Where it stands.
        path: &'static str,
        /// What can be read.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// Something in it is wrong.
    #[error("{path}: {problem}")]
    Field {
        /// Where it is, as `prompts[3].endTime`.
        path: String,
        /// What was expected, and what was found.
        problem: String,
    },
}

/// A move from the prompts before to those of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Chunks it takes.
    pub steps: u32,
    /// How it moves; the pipeline decides where the file does not say.
    pub method: Option<Interpolation>,
}

/// Prompts and how long they are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// When it begins, from the start of the timeline.
    pub start: Duration,
    /// When it ends; what it shows stays until another block begins.
    pub end: Duration,
    /// What it shows, with weights that sum to 1.
    pub prompts: Vec<Prompt>,
    /// How it begins; `None` is a cut.
    pub transition: Option<Transition>,
}

/// What a file says, whichever format it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The pipeline that it was made with.
    pub pipeline_id: Option<String>,
    /// Whether it was made from text or over a video.
    pub mode: Option<InputMode>,
    /// Settings by the names that parameters have, of loading and of chunks.
    pub settings: Map<String, Value>,
    /// LoRA adapters, as the file describes them.
    pub loras: Vec<Value>,
    /// What is shown before the first block, or without any.
    pub opening: Vec<Prompt>,
    /// In the order of their starts. Blocks without length or without prompts are left out.
    pub blocks: Vec<Block>,
}

/// The settings of a [`Timeline`], by where a pipeline reads them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Those read when it is loaded.
    pub load: Map<String, Value>,
    /// Those read with every chunk.
    pub parameters: Map<String, Value>,
    /// Those that it does not have.
    pub unused: Vec<String>,
}

impl Timeline {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TimelineError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TimelineError> {
        document::parse(bytes)
    }

    /// When the last block ends.
    pub fn duration(&self) -> Duration {
        self.blocks.iter().map(|block| block.end).max().unwrap_or_default()
    }

    /// The changes of prompts that play it, all at times. The first block is shown from the start: nothing is there to hold
    /// before it.
    pub fn script(&self) -> Script {
        let first = self.blocks.first().map_or(&self.opening, |block| &block.prompts);
        let opening = (!first.is_empty()).then(|| change(Duration::ZERO, first, None));
        let later = self.blocks.iter().skip(1);
        Script::new(
            opening
                .into_iter()
                .chain(later.map(|block| change(block.start, &block.prompts, block.transition))),
        )
    }

    /// The settings, sorted for a pipeline.
    pub fn settings_for(&self, schema: &PipelineSchema) -> Settings {
        let mut sorted = Settings::default();
        for (key, value) in &self.settings {
            match schema.place(key) {
                // A seed is read in both places, and what sets it for a session is the load.
                _ if key == "base_seed" => _ = sorted.load.insert(key.clone(), value.clone()),
                Place::Load => _ = sorted.load.insert(key.clone(), value.clone()),
                Place::Chunk => _ = sorted.parameters.insert(key.clone(), value.clone()),
                Place::Session | Place::Nowhere => sorted.unused.push(key.clone()),
            }
        }
        sorted
    }
}

fn change(at: Duration, prompts: &[Prompt], transition: Option<Transition>) -> Change {
    let (key, value) = match transition {
        None => ("prompts", json!(prompts)),
        Some(Transition { steps, method }) => {
            let mut value = json!({"target_prompts": prompts, "num_steps": steps});
            if let Some(method) = method {
                value["temporal_interpolation_method"] = json!(method);
            }
            ("transition", value)
        }
    };
    Change::new(Moment::Time(at), Map::from_iter([(key.to_owned(), value)]))
}

#[cfg(test)]
mod tests;
