use crate::{
    Chunk, ChunkReport, GenerateError, Generator, InputMode, LoadError, LoadParams, LoadedPipeline, Needs,
    Output, Pipeline, PipelineSchema, Sampling,
};
use std::sync::Arc;

/// Sends its input back unchanged, in whatever size it comes: the shortest way through the whole system.
pub struct Passthrough {
    schema: PipelineSchema,
}

impl Passthrough {
    /// The pipeline.
    pub fn new() -> Self {
        let mut schema = PipelineSchema::new("passthrough", "Passthrough", "PassthroughConfig");
        schema.description = "Sends the input video back unchanged.".into();
        Self { schema }
    }
}

impl Default for Passthrough {
    fn default() -> Self {
        Self::new()
    }
}

impl Pipeline for Passthrough {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn load(&self, _: &LoadParams, _: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        Ok(Arc::new(Loaded))
    }
}

struct Loaded;

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        Ok(Box::new(Run))
    }
}

struct Run;

impl Generator for Run {
    /// Always video: there is nothing to pass through without it. One frame at a time adds no latency.
    fn needs(&self, _: InputMode) -> Needs {
        Needs::Frames { count: 1, sampling: Sampling::Consecutive }
    }

    fn generate(
        &mut self,
        mut chunk: Chunk<'_>,
        emit: &mut (dyn FnMut(Output) + Send),
    ) -> Result<ChunkReport, GenerateError> {
        for frame in chunk.inputs.remove("video").unwrap_or_default() {
            emit(Output::Frame {
                port: "video".into(),
                image: frame.image,
                captured_at: Some(frame.captured_at),
            });
        }
        Ok(ChunkReport::default())
    }

    fn reset(&mut self) {}
}
