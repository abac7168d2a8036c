//! Scores: what a performance was, exactly, so that it can be played again.
//!
//! A session notes every change of its parameters with the frame at which the pipeline saw it. The resulting
//! [`Score`] makes the same frames again: in a session of the server, or without one (`scope generate --score`). A score may
//! also be written by hand or by the web interface, with moments in seconds: the session that plays it then switches at
//! chunk boundaries instead of when a message happens to arrive.

use crate::script::{Change, Moment, Script};
use scope_pipelines::{
    InputMode, KeyKind, LoadParams, ParameterStore, PipelineSchema, Snapshot, key_kind, validate_update,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// Longest file, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// Most changes of a score.
pub const MAX_CHANGES: usize = 50_000;
/// Bytes of parameters that a journal holds, about.
const MAX_JOURNAL_BYTES: usize = 16 << 20;
/// A week.
const MAX_SECONDS: f64 = 7.0 * 24.0 * 3600.0;
/// Most steps down in effort that anything offers.
const MAX_EFFORT: usize = 64;

const FORMAT: &str = "scope-score";
const VERSION: &str = "1.0";

/// Why a text is no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// It is too long.
    #[error("the score has {0} bytes; one has at most {MAX_BYTES}")]
    TooLong(usize),
    /// It is no JSON, or JSON of another shape.
    #[error("not a score: {0}")]
    Shape(String),
    /// It is something else, or of another version.
    #[error("not a score: expected \"format\": \"{FORMAT}\" and \"format_version\": \"{VERSION}\"")]
    Format,
    /// It has too many changes.
    #[error("the score has {0} changes; one has at most {MAX_CHANGES}")]
    TooMany(usize),
    /// A change is wrong.
    #[error("change {index} of the score {problem}")]
    Change {
        /// Which, counted from 0.
        index: usize,
        /// Completes the sentence.
        problem: String,
    },
}

/// A performance as a file has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    format: String,
    format_version: String,
    /// The pipeline that made the frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_id: Option<String>,
    /// What drove it.
    #[serde(default)]
    pub mode: InputMode,
    /// What it was loaded with.
    #[serde(default)]
    pub load: Map<String, Value>,
    /// Frames made so far.
    #[serde(default)]
    pub frames: u64,
    /// Whether playing it makes the very same frames. Input from outside, other pipelines in the graph, chunks that
    /// failed and a full journal prevent that; `why_not` then says which.
    #[serde(default)]
    pub exact: bool,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    changes: Vec<Entry>,
}

/// One change as a file has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    once: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effort: Option<usize>,
}

impl Score {
    /// Reads a score.
    ///
    /// # Errors
    /// [`ScoreError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ScoreError> {
        if bytes.len() > MAX_BYTES {
            return Err(ScoreError::TooLong(bytes.len()));
        }
        let value = serde_json::from_slice(bytes).map_err(|error| ScoreError::Shape(error.to_string()))?;
        Self::from_value(value)
    }

    /// Reads a score from JSON that is no longer than [`MAX_BYTES`].
    ///
    /// # Errors
    /// [`ScoreError`].
    pub fn from_value(value: Value) -> Result<Self, ScoreError> {
        let is = |key: &str, text: &str| value.get(key).and_then(Value::as_str) == Some(text);
        if !is("format", FORMAT) || !is("format_version", VERSION) {
            return Err(ScoreError::Format);
        }
        let score: Self =
            serde_json::from_value(value).map_err(|error| ScoreError::Shape(error.to_string()))?;
        if score.changes.len() > MAX_CHANGES {
            return Err(ScoreError::TooMany(score.changes.len()));
        }
        for (index, entry) in score.changes.iter().enumerate() {
            entry.moment().map_err(|problem| ScoreError::Change { index, problem: problem.into() })?;
            if entry.effort.is_some_and(|effort| effort > MAX_EFFORT) {
                let problem = format!("has an effort above {MAX_EFFORT}");
                return Err(ScoreError::Change { index, problem });
            }
        }
        Ok(score)
    }

    /// The changes, in the order in which they are listed, checked as a session of this pipeline checks them.
    ///
    /// # Errors
    /// [`ScoreError::Change`] for the first that such a session would not take as it is.
    pub fn script(&self, schema: &PipelineSchema) -> Result<Script, ScoreError> {
        let mut changes = Vec::with_capacity(self.changes.len());
        for (index, entry) in self.changes.iter().enumerate() {
            let wrong = |problem: String| ScoreError::Change { index, problem };
            changes.push(Change {
                at: entry.moment().map_err(|problem| wrong(problem.into()))?,
                parameters: checked(&entry.parameters, schema).map_err(wrong)?,
                once: checked(&entry.once, schema).map_err(wrong)?,
                effort: entry.effort,
            });
        }
        Ok(Script::new(changes))
    }
}

fn checked(values: &Map<String, Value>, schema: &PipelineSchema) -> Result<Map<String, Value>, String> {
    let checked = validate_update(values.clone(), &[schema]);
    if let Some(problem) = checked.problems.first() {
        return Err(format!("cannot be made: {problem}"));
    }
    match values
        .keys()
        .find(|key| matches!(key_kind(key), KeyKind::Session | KeyKind::Envelope | KeyKind::Start))
    {
        Some(key) => Err(format!("cannot be made: {key} is no parameter of a pipeline")),
        None => Ok(checked.update.pipeline),
    }
}

impl Entry {
    fn moment(&self) -> Result<Moment, &'static str> {
        match (self.frame, self.seconds) {
            (Some(frame), None) => Ok(Moment::Frame(frame)),
            (None, Some(seconds)) if (0.0..=MAX_SECONDS).contains(&seconds) => {
                Ok(Moment::Time(Duration::from_secs_f64(seconds)))
            }
            (None, Some(_)) => Err("is at a time outside of a week"),
            _ => Err("needs either a frame or seconds"),
        }
    }
}

/// The parameters of a node, and a note of everything that changes them.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    store: ParameterStore,
    /// What was merged since the last chunk: as one merge, it has the same effect.
    since: ParameterStore,
    entries: Vec<Entry>,
    bytes: usize,
    effort: usize,
    load: Map<String, Value>,
    why_not: Option<&'static str>,
    /// Nobody will ask what happened to this node: only its parameters are kept.
    silent: bool,
}

impl Journal {
    /// Merges validated values; `revision` numbers the update.
    pub(crate) fn merge(&mut self, values: &Map<String, Value>, revision: u64) {
        self.store.merge(values, revision);
        self.since.merge(values, revision);
    }

    /// The parameters of a node that no score is made of.
    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }

    /// The parameters for the chunk that begins with `frame`.
    pub(crate) fn take(&mut self, frame: u64) -> Snapshot {
        let merged = std::mem::take(&mut self.since).take();
        let entry = Entry { frame: Some(frame), parameters: merged.as_map().clone(), ..Entry::default() };
        if !entry.parameters.is_empty() {
            self.note(entry);
        }
        self.store.take()
    }

    /// Notes what holds for this one chunk only, and the effort that it is made with.
    pub(crate) fn moved(&mut self, frame: u64, snapshot: &Snapshot, effort: usize) {
        let once: Map<String, Value> =
            snapshot.replaced().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let effort = (self.effort != effort).then_some(effort);
        self.effort = effort.unwrap_or(self.effort);
        if !once.is_empty() || effort.is_some() {
            self.note(Entry { frame: Some(frame), once, effort, ..Entry::default() });
        }
    }

    fn note(&mut self, entry: Entry) {
        if self.silent {
            return;
        }
        let bytes = [&entry.parameters, &entry.once].map(size_of_map).iter().sum::<usize>() + 64;
        if self.entries.len() >= MAX_CHANGES || self.bytes + bytes > MAX_JOURNAL_BYTES {
            self.inexact("the performance is longer than what is noted of one");
            return;
        }
        self.bytes += bytes;
        self.entries.push(entry);
    }

    /// A new generator of a model that was loaded with `load` begins: frames count from 0 again, with the values that hold
    /// now.
    pub(crate) fn begin(&mut self, load: &LoadParams) {
        let store = std::mem::take(&mut self.store);
        let mut since = ParameterStore::default();
        since.merge(store.sticky(), 0);
        // What still waits to be delivered goes to the new generator too, and is not lost in the notes.
        let waiting = std::mem::take(&mut self.since).take();
        since.merge(waiting.as_map(), 0);
        *self = Self { store, since, load: load.as_map().clone(), silent: self.silent, ..Self::default() };
    }

    /// Playing the score will not make the very same frames.
    pub(crate) fn inexact(&mut self, why: &'static str) {
        self.why_not.get_or_insert(why);
    }

    /// Gives back what a chunk took but could not use.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.store.restore(snapshot);
        self.inexact("a chunk failed and was made again");
    }

    /// The values that hold until they are changed.
    pub(crate) const fn sticky(&self) -> &Map<String, Value> {
        self.store.sticky()
    }

    /// What was noted so far, for `frames` frames.
    pub(crate) fn score(&self, pipeline_id: &str, mode: InputMode, frames: u64) -> Score {
        Score {
            format: FORMAT.into(),
            format_version: VERSION.into(),
            pipeline_id: Some(pipeline_id.into()),
            mode,
            load: self.load.clone(),
            frames,
            exact: self.why_not.is_none(),
            why_not: self.why_not.map(str::to_owned),
            // Those of the chunk in the making belong to frames that are not there yet.
            changes: self.entries.iter().filter(|entry| entry.frame < Some(frames)).cloned().collect(),
        }
    }
}

/// About how much memory the values take.
fn size_of_map(map: &Map<String, Value>) -> usize {
    map.iter().map(|(key, value)| key.len() + 64 + size_of_value(value)).sum()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 24,
        Value::Array(items) => items.iter().map(|item| size_of_value(item) + 32).sum(),
        Value::Object(map) => size_of_map(map),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
