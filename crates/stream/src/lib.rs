//! The streaming core: a [`Session`] runs a graph of pipelines on live frames.
//!
//! ```text
//! source ─▶ latest-wins queue ─▶ runner (one thread per pipeline node) ─▶ sink: pacer ─▶ frame bus ─▶ taps
//!                                   ▲ parameters, at chunk boundaries                    (encoder, recorder, snapshot)
//! ```
//!
//! * Everything is bounded, in frames and in age; what is dropped is counted by cause ([`Drops`]).
//! * Frames keep their capture time end to end. An *epoch* makes frames from before a reset droppable at any hop; a
//!   *revision* tells which parameter update a frame shows.
//! * The parts with logic — [`graph`], [`queue`], [`pacer`], [`tempo`] — are state machines that take `now`; threads and
//!   locks are a thin shell around them.
//! * [`ModelManager`] serialises loading and unloading. Sessions hold [`Lease`]s; a model that is wanted back is given up at the
//!   next chunk boundary, and the session resumes when its replacement is loaded.
//! * [`offline`] runs a generator without a session: no clock, no queue, no lost frame. [`script`] has the changes that a video
//!   goes through, and [`timeline`] reads them from files. A session notes what it was told, as a
//!   [`score`] that makes the same frames again.
//! * A failure inside a session ends that session only, and says so to whoever listens to its [`SessionEvent`]s.

mod bus;
mod counters;
mod file_source;
pub mod graph;
mod models;
pub mod offline;
pub mod pacer;
pub mod queue;
mod recording;
pub mod render;
mod runner;
pub mod score;
pub mod script;
mod session;
mod sink;
pub mod tempo;
pub mod timeline;

pub use bus::{FrameBus, FrameTap, Subscription};
pub use counters::{DropCause, Drops, RateMeter};
pub use graph::{Graph, GraphError};
pub use models::{
    FreeMemory, Lease, LeaseError, LoadRejected, LoadRequest, LoadStatus, ModelManager, StatusKind,
};
pub use recording::{Keep, RecordingError, Recordings, recover_recordings};
pub use runner::EffortReport;
pub use session::{
    Applied, Metrics, Session, SessionError, SessionEvent, SessionKind, SessionSpec, SessionState,
    SourceInfo, StopReason,
};
