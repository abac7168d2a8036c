//! Pipelines turn parameters, and often frames, into frames.
//!
//! The contract, from the outside in:
//!
//! * A [`Pipeline`] is a kind of processing: an id, a [`PipelineSchema`] and a [`load`](Pipeline::load) function. The
//!   schema is the one document that drives validation and the user interface. A [`Registry`] holds all of them.
//! * Loading yields a [`LoadedPipeline`]: weights and whatever else sessions may share.
//! * Each session [`starts`](LoadedPipeline::start) its own [`Generator`]: caches, noise state, prompt state. It is owned by
//!   one thread, which calls [`generate`](Generator::generate) once per *chunk*.
//! * Parameters arrive as a [`Snapshot`] at every chunk boundary. A [`ParameterStore`] coalesces updates per key in
//!   between and knows which keys stick, which are delivered once, and which accumulate.
//! * A generator that can make chunks with less [`Effort`] says so; a [`Governor`] uses that on machines that are too slow.
//!
//! Nothing here touches a network, a codec or a clock: time is an argument.

pub mod builtin;
mod compute;
mod effort;
mod parameters;
mod pipeline;
pub mod prompt;
mod registry;
pub mod schema;
pub mod video;

pub use compute::{Accelerator, Compute, Found, Gpu};
pub use effort::{Effort, Governor, Shift};
pub use parameters::{
    KeyKind, ParameterError, ParameterStore, Place, Snapshot, Update, Validated, check_load_parameters,
    check_parameters, key_kind, validate_update,
};
pub use pipeline::{
    AssetLoader, Chunk, ChunkReport, GenerateError, Generator, InputMode, LoadError, LoadParams,
    LoadedPipeline, MemoryEstimate, Needs, NoAssets, Output, Pipeline, Sampling,
};
pub use registry::{Registry, RegistryError};
pub use schema::PipelineSchema;
pub use scope_engine::cuda::{Ceilings, Cost, MemoryUse, Profile, Spent, Work, memory_use, profile};
