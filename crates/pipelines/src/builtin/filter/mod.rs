//! Filters: what happens to single pictures without a network, before or after a model or alone.
//!
//! A filter is data: its schema, and a function that makes its process from the load parameters. All of them work on the
//! planes of I420, the format in which video comes and goes, so that nothing is converted on the way.

mod colour;
mod edges;
mod gray;
mod resize;

use super::each_frame::{EachFrame, Failure, FrameByFrame};
use crate::{Generator, LoadError, LoadParams, LoadedPipeline, Pipeline, PipelineSchema, Snapshot};
use scope_frame::{Frame, Image, ImageError, PixelFormat, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// What happens to each picture, under the parameters of its chunk.
type Process = Arc<dyn Fn(&Image, &Snapshot) -> Result<Image, ImageError> + Send + Sync>;

/// A pipeline that makes each of its pictures from one picture of its input.
pub struct Filter {
    schema: PipelineSchema,
    make: fn(&LoadParams) -> Result<Process, LoadError>,
}

impl Filter {
    /// All of them, in the order in which clients see them.
    pub fn all() -> [Self; 5] {
        [
            Self::passthrough(),
            Self { schema: gray::schema(), make: |_| Ok(Arc::new(|image, _| gray::gray(image))) },
            Self { schema: edges::schema(), make: |_| Ok(Arc::new(edges::edges)) },
            Self { schema: colour::schema(), make: |_| Ok(Arc::new(colour::adjust)) },
            Self { schema: resize::schema(), make: resize::make },
        ]
    }

    /// Sends its input back unchanged, in whatever size it comes: the shortest way through the whole system.
    pub fn passthrough() -> Self {
        let mut schema = PipelineSchema::new("passthrough", "Passthrough", "PassthroughConfig");
        schema.description = "Sends the input video back unchanged.".into();
        Self { schema, make: |_| Ok(Arc::new(|image, _| Ok(image.clone()))) }
    }
}

impl Pipeline for Filter {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn load(&self, params: &LoadParams, _: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        Ok(Arc::new(Loaded((self.make)(params)?)))
    }
}

struct Loaded(Process);

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        Ok(Box::new(FrameByFrame::new(Run(Arc::clone(&self.0)))))
    }
}

struct Run(Process);

impl EachFrame for Run {
    fn frame(
        &mut self,
        frame: Frame,
        parameters: &Snapshot,
        send: &mut dyn FnMut(Image, Timestamp),
    ) -> Result<(), Failure> {
        send((self.0)(&frame.image, parameters)?, frame.captured_at);
        Ok(())
    }
}

/// A number that is set while the filter runs, on a slider.
fn slider(title: &str, description: &str, [least, default, most]: [f64; 3], order: u32) -> Value {
    json!({
        "default": default, "minimum": least, "maximum": most, "title": title, "type": "number",
        "description": description,
        "ui": {"category": "configuration", "is_load_param": false, "order": order, "section": "general",
            "modulatable": true, "modulatable_min": least, "modulatable_max": most},
    })
}

/// A picture with this luma and no colour.
fn colourless(luma: Vec<u8>, width: u32, height: u32) -> Result<Image, ImageError> {
    let mut data = luma;
    data.resize(PixelFormat::I420.byte_len(width, height), NO_CHROMA);
    Image::new(PixelFormat::I420, width, height, data)
}

// Samples of BT.601 in the range of video.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
const NO_CHROMA: u8 = 128;

#[cfg(test)]
mod tests;
