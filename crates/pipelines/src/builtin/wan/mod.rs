//! The five published families of streaming models as pipelines: one implementation, with what differs as data.

mod estimate;
mod families;
mod load;
mod options;
mod random;
mod schema;

use crate::video::{VideoModel, VideoRun, VideoSettings};
use crate::{
    Compute, Generator, LoadError, LoadParams, LoadedPipeline, MemoryEstimate, Pipeline, PipelineSchema,
};
use families::{FAMILIES, WanFamily};
use load::Source;
use options::Options;
use scope_engine::cuda::Arithmetic;
use scope_models::text::TextEncoder;
use scope_store::ModelFolder;
use serde_json::{Value, json};
use std::sync::Arc;

/// Text and video to video by a published model whose weights lie in the models folder.
pub struct WanPipeline {
    family: &'static WanFamily,
    schema: PipelineSchema,
    folder: ModelFolder,
    compute: Compute,
}

impl WanPipeline {
    /// The pipelines of all families, with their weights in this folder.
    pub fn all(folder: &ModelFolder, compute: &Compute) -> impl Iterator<Item = Self> {
        FAMILIES.iter().map(move |family| Self {
            family,
            schema: schema::schema(family),
            folder: folder.clone(),
            compute: compute.clone(),
        })
    }
}

impl Pipeline for WanPipeline {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn estimate(&self, params: &LoadParams) -> Option<MemoryEstimate> {
        let options = Options::read(self.family, params).ok()?;
        let source = Source::find(self.family, &self.folder, &options).unwrap_or(estimate::PUBLISHED);
        estimate::estimate(self.family, &source, &options, self.free_memory().is_some())
    }

    fn free_memory(&self) -> Option<u64> {
        self.compute.free_on_gpu()
    }

    fn load(&self, params: &LoadParams, stage: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let id = self.family.id;
        let options = Options::read(self.family, params)?;
        let device = self.compute.accelerated(Arithmetic::Bf16).map_err(|error| LoadError::of(id, &error))?;
        let networks = load::load(self.family, &self.folder, &options, &device, stage)?;
        Ok(Arc::new(Loaded { id, model: networks.model, text: networks.text, settings: options.video }))
    }
}

/// What sessions start from.
struct Loaded {
    id: &'static str,
    model: VideoModel,
    text: Arc<TextEncoder>,
    settings: VideoSettings,
}

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        let text = Box::new(Arc::clone(&self.text));
        let run = VideoRun::new(&self.model, self.settings.clone(), text)
            .map_err(|error| LoadError::of(self.id, &error))?;
        Ok(Box::new(run))
    }

    fn loaded_lora_adapters(&self) -> Vec<Value> {
        let describe = |lora: &crate::video::Lora| {
            let mode = if lora.merged { "permanent_merge" } else { "runtime_peft" };
            json!({"path": lora.path, "scale": lora.scale, "merge_mode": mode})
        };
        self.settings.loras.iter().map(describe).collect()
    }
}
