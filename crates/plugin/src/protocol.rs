//! The messages between Scope (the host) and a plugin (the guest), version 1.
//!
//! The host speaks first: `hello`, answered by `hello`. A process that only describes itself is then told `bye`. Otherwise
//! `load` is answered by any number of `progress` and then by `loaded` or `failed`; after that sessions are started, generate
//! and are stopped. Every request but `taken`, `stop` and `bye` is answered, in order, before the next one is read.
//!
//! Both sides ignore keys that they do not know. A message of an unknown type ends the conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// Bytes of one message. Larger ones end the conversation.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Messages that answer one request. More end the conversation.
pub const MAX_ANSWERS: usize = 4096;
/// Pipelines of one plugin.
pub const MAX_PIPELINES: usize = 64;
/// Places for pictures from the guest.
pub const OUTPUT_SLOTS: u32 = 8;
/// Bytes of one such place: a picture of 4096×2730, or of another shape with as many pixels. Pages that are never written take no memory.
pub const SLOT_BYTES: u64 = 32 << 20;
/// Bytes of all pictures that one chunk may bring.
pub const MAX_INPUT_BYTES: u64 = 512 << 20;

/// What the host says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HostMessage {
    /// The first message. Answered by [`GuestMessage::Hello`].
    Hello {
        /// The version of the protocol that the host speaks.
        protocol: u32,
        /// Name and version of the host, for logs.
        host: String,
    },
    /// Makes a pipeline ready. Sent once. Answered by [`GuestMessage::Loaded`] or [`GuestMessage::Failed`].
    Load {
        /// The id of one of the plugin's pipelines.
        pipeline: String,
        /// Load parameters; the pipeline's defaults hold for those that are absent.
        parameters: Map<String, Value>,
        /// The file of pictures for the guest.
        input: PathBuf,
        /// The file of pictures from the guest.
        output: OutputFile,
    },
    /// Starts a session with fresh state. Answered by [`GuestMessage::Started`] or [`GuestMessage::Failed`].
    Start {
        /// The host's number for it.
        session: u64,
    },
    /// Works on a chunk. Answered by any number of [`GuestMessage::Frame`] and [`GuestMessage::Value`], then by
    /// [`GuestMessage::Done`] or [`GuestMessage::Failed`].
    Generate(Generate),
    /// The host has read the picture in this place, which is free again. Not answered.
    Taken {
        /// The place.
        slot: u32,
    },
    /// A session is over. Not answered.
    Stop {
        /// Its number.
        session: u64,
    },
    /// Nothing more will come: the guest ends. Not answered.
    Bye,
}

/// Where the guest puts its pictures: [`slots`](Self::slots) places of [`slot_bytes`](Self::slot_bytes) each, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// The file, which exists and has its full size.
    pub path: PathBuf,
    /// Places.
    pub slots: u32,
    /// Bytes of each.
    pub slot_bytes: u64,
}

/// What drives a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing but parameters.
    Text,
    /// Pictures.
    Video,
}

/// A chunk to work on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// The session.
    pub session: u64,
    /// Number of the chunk in its session, from 1.
    pub chunk: u64,
    /// What drives it.
    pub mode: Mode,
    /// Temporal state is to be forgotten first, as for a hard cut.
    #[serde(default)]
    pub reset: bool,
    /// Run-time parameters: those that hold, and those meant for this chunk alone.
    pub parameters: Map<String, Value>,
    /// Pictures on each connected input port, oldest first.
    #[serde(default)]
    pub inputs: BTreeMap<String, Vec<InputPicture>>,
}

/// A picture for the guest: packed 8-bit RGB rows from the top, without gaps, in the input file. Valid until the chunk ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPicture {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// When it was captured, in microseconds on the host's clock.
    pub captured_at_us: u64,
}

/// What the guest says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GuestMessage {
    /// The answer to [`HostMessage::Hello`].
    Hello {
        /// The version of the protocol that the guest speaks.
        protocol: u32,
        /// The plugin's name.
        name: String,
        /// Its version.
        version: String,
        /// The schema of each of its pipelines: keys as in `GET /api/v1/pipelines/schemas`, of which only `id` must be there.
        pipelines: Vec<Value>,
    },
    /// What loading is busy with, in a few words for the user.
    Progress {
        /// The words.
        text: String,
    },
    /// The pipeline is ready.
    Loaded,
    /// The session is ready.
    Started {
        /// What it waits for before a chunk.
        needs: Needs,
    },
    /// A picture of the chunk lies in a free place of the output file: packed 8-bit RGB rows from the top. The place is taken until
    /// [`HostMessage::Taken`] names it.
    Frame {
        /// The output port.
        port: String,
        /// The place.
        slot: u32,
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Which picture of the chunk's first input port it derives from, counted from 0; its capture time is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<usize>,
    },
    /// A value on an output port that carries no pictures: becomes a parameter of whatever is connected.
    Value {
        /// The output port.
        port: String,
        /// The value.
        value: Value,
    },
    /// The chunk is done.
    Done(Done),
    /// The request failed. The guest is as it was before it.
    Failed {
        /// A word for programs: `out_of_memory` ends the session; anything else does not.
        code: String,
        /// What happened, to what, and what to do about it.
        message: String,
    },
}

/// How a chunk ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Parameters that could not be used, each with the reason. The chunk went on without them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub problems: BTreeMap<String, String>,
    /// What the session waits for from now on, if that has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
}

/// What a session waits for before a chunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Needs {
    /// Pictures on every connected port in video mode; 0 runs freely.
    pub frames: usize,
    /// The newest pictures in a row, for pipelines that compare neighbours, instead of some spread over all that wait.
    pub consecutive: bool,
    /// Pictures a second at which its own video should be shown; without it, the rate at which they are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
}

impl Needs {
    /// Waits for `frames` pictures, spread over all that wait.
    #[must_use]
    pub fn frames(frames: usize) -> Self {
        Self { frames, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The examples of docs/plugins.md: what guests in other languages are written against.
    #[test]
    fn messages_look_on_the_wire_as_documented() {
        let generate = HostMessage::Generate(Generate {
            session: 1,
            chunk: 2,
            mode: Mode::Video,
            reset: false,
            parameters: Map::new(),
            inputs: BTreeMap::from([(
                "video".into(),
                vec![InputPicture { offset: 0, width: 2, height: 1, captured_at_us: 5 }],
            )]),
        });
        let expected = json!({
            "type": "generate", "session": 1, "chunk": 2, "mode": "video", "reset": false, "parameters": {},
            "inputs": {"video": [{"offset": 0, "width": 2, "height": 1, "captured_at_us": 5}]},
        });
        assert_eq!(serde_json::to_value(&generate).unwrap(), expected);
        assert_eq!(serde_json::to_value(HostMessage::Bye).unwrap(), json!({"type": "bye"}));
        assert_eq!(serde_json::to_value(GuestMessage::Loaded).unwrap(), json!({"type": "loaded"}));
        let done = json!({"type": "done"});
        assert_eq!(
            serde_json::from_value::<GuestMessage>(done).unwrap(),
            GuestMessage::Done(Done::default())
        );
        let started = json!({"type": "started", "needs": {"frames": 4}, "from_a_later_version": 1});
        let expected = GuestMessage::Started { needs: Needs::frames(4) };
        assert_eq!(serde_json::from_value::<GuestMessage>(started).unwrap(), expected);
    }
}
