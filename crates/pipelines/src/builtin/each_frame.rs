//! Generators that take their input one frame at a time.

use crate::compute::GiveBack;
use crate::{Chunk, ChunkReport, GenerateError, Generator, InputMode, Needs, Output, Sampling, Snapshot};
use scope_engine::Device;
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
pub(super) struct FrameByFrame<T> {
    run: T,
    _memory: Option<GiveBack>,
}

impl<T> FrameByFrame<T> {
    /// One that needs no device.
    pub(super) fn new(run: T) -> Self {
        Self { run, _memory: None }
    }

    /// One that gives the device's memory back at its end.
    pub(super) fn on(device: &Device, run: T) -> Self {
        Self { run, _memory: Some(GiveBack(device.clone())) }
    }
}

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
            self.run
                .frame(frame, chunk.parameters, &mut send)
                .map_err(|error| GenerateError::of(error.as_ref()))?;
        }
        Ok(ChunkReport::default())
    }

    fn reset(&mut self) {
        self.run.reset();
    }
}
