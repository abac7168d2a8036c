//! Generators that take their input one frame at a time.

use crate::{Chunk, ChunkReport, GenerateError, Generator, InputMode, Needs, Output, Sampling, Snapshot};
use scope_frame::{Frame, Image, Timestamp};
use std::error::Error;

pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// What is made of each frame.
pub(super) trait EachFrame: Send {
    /// Sends the pictures that a frame makes, each with the time that it belongs to.
    fn frame(
        &mut self,
        frame: Frame,
        parameters: &Snapshot,
        send: &mut dyn FnMut(Image, Timestamp),
    ) -> Result<(), Failure>;

    /// Forgets the frames before.
    fn reset(&mut self) {}
}

/// The generator of it.
pub(super) struct FrameByFrame<T>(pub(super) T);

impl<T: EachFrame> Generator for FrameByFrame<T> {
    /// Always video: there is nothing to do without it. One frame at a time adds no latency.
    fn needs(&self, _: InputMode) -> Needs {
        Needs::Frames { count: 1, sampling: Sampling::Consecutive }
    }

    fn generate(
        &mut self,
        mut chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        let mut send = |image: Image, captured_at: Timestamp| {
            emit(Output::Frame { port: "video".into(), image, captured_at: Some(captured_at) });
        };
        for frame in chunk.inputs.remove("video").unwrap_or_default() {
            self.0
                .frame(frame, chunk.parameters, &mut send)
                .map_err(|error| GenerateError::of(error.as_ref()))?;
        }
        Ok(ChunkReport::default())
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
