//! Networks that prepare the input of a model or refine its output: contour drawings, depth, optical flow, and pictures
//! between pictures.

mod range;
mod run;

use super::each_frame::{Failure, FrameByFrame};
use super::models_missing;
use crate::schema::Usage;
use crate::{Compute, Generator, LoadError, LoadParams, LoadedPipeline, Pipeline, PipelineSchema};
use range::Range;
use scope_engine::Device;
use scope_engine::cuda::Arithmetic;
use scope_models::checkpoint::{Checkpoint, CheckpointError, NetworkDescription, Selection, Unexpected};
use scope_models::processors::{
    ContourConfig, ContourNet, DepthConfig, DepthMemory, DepthNet, Interpolator, Raft, RaftConfig, RifeConfig,
};
use scope_models::weights::{Loader, Precision, RandomWeights, TensorSource};
use scope_store::{ModelFolder, Role, Settings};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// A network of a published processor, whose weights lie in the models folder.
pub struct Processor {
    schema: PipelineSchema,
    open: fn(&Weights<'_>, &Device) -> Result<Network, Failure>,
    folder: ModelFolder,
    compute: Compute,
}

impl Processor {
    /// All of them, with their weights in this folder.
    pub fn all(folder: &ModelFolder, compute: &Compute) -> [Self; 4] {
        type Open = fn(&Weights<'_>, &Device) -> Result<Network, Failure>;
        let processor = |mut schema: PipelineSchema, open: Open| {
            schema.random_weights = true;
            Self { schema, open, folder: folder.clone(), compute: compute.clone() }
        };
        [
            processor(scribble(), open_contours),
            processor(depth(), open_depth),
            processor(optical_flow(), open_flow),
            processor(rife(), open_interpolator),
        ]
    }
}

fn scribble() -> PipelineSchema {
    let mut schema = PipelineSchema::new("scribble", "Scribble", "ScribbleConfig");
    schema.description = "Draws contours as an artist would: a control video for models with VACE.".into();
    schema.requires_models = true;
    schema.modified = true;
    schema.usage = vec![Usage::Preprocessor];
    schema
}

fn depth() -> PipelineSchema {
    let mut schema =
        PipelineSchema::new("video-depth-anything", "Video Depth Anything", "VideoDepthAnythingConfig");
    schema.description = "Shows how near everything is: a control video for models with VACE.".into();
    schema.docs_url = Some("https://github.com/DepthAnything/Video-Depth-Anything".into());
    schema.estimated_vram_gb = Some(1.0);
    schema.requires_models = true;
    schema.modified = true;
    schema.usage = vec![Usage::Preprocessor];
    schema
}

fn optical_flow() -> PipelineSchema {
    let mut schema = PipelineSchema::new("optical-flow", "Optical Flow", "OpticalFlowConfig").with_property(
        MODEL_SIZE,
        json!({
            "default": MODEL_SIZES[0], "enum": MODEL_SIZES, "title": "Model Size", "type": "string",
            "description": "The small network is faster, the large one better.",
            "ui": {"category": "configuration", "is_load_param": true, "order": 1, "section": "quality"},
        }),
    );
    schema.description = "Shows how things move, as colours: a control video for models with VACE.".into();
    schema.docs_url = Some("https://pytorch.org/vision/main/models/raft.html".into());
    schema.requires_models = true;
    schema.modified = true;
    schema.usage = vec![Usage::Preprocessor];
    schema
}

/// The load parameter that chooses among the files of a network that is published in several sizes.
const MODEL_SIZE: &str = "model_size";
const MODEL_SIZES: [&str; 2] = ["small", "large"];

fn rife() -> PipelineSchema {
    let mut schema = PipelineSchema::new("rife", "RIFE", "RIFEConfig");
    schema.description = "Puts a picture between each two: twice the frame rate.".into();
    schema.docs_url = Some("https://github.com/hzwer/Practical-RIFE".into());
    schema.requires_models = true;
    schema.modified = true;
    schema.usage = vec![Usage::Postprocessor];
    schema
}

impl Pipeline for Processor {
    fn schema(&self) -> &PipelineSchema {
        &self.schema
    }

    fn load(&self, params: &LoadParams, stage: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let id = &self.schema.id;
        let size = params.as_map().get(MODEL_SIZE).filter(|_| self.schema.property(MODEL_SIZE).is_some());
        if size.is_some_and(|size| size.as_str().is_none_or(|size| !MODEL_SIZES.contains(&size))) {
            return Err(LoadError::InvalidParameter {
                pipeline: id.clone(),
                key: MODEL_SIZE.into(),
                problem: format!("must be one of {}", MODEL_SIZES.join(", ")),
            });
        }
        let large = params.as_map().get(MODEL_SIZE).is_some_and(|size| size == MODEL_SIZES[1]);
        let settings = Settings::from_params(params.as_map());
        let files = match params.bool("random_weights") {
            Some(true) => None,
            _ => Some(self.folder.locate(id, &settings).map_err(|error| models_missing(id, &error))?),
        };
        let load = || {
            // What they find are places in pictures, which bf16 tells too roughly.
            let device = self.compute.accelerated(Arithmetic::F32)?;
            let weights = match &files {
                Some(files) => {
                    let path = files.path(Role::Processor);
                    Weights::File(path.ok_or("the list of model files names no network")?)
                }
                None => Weights::Random { large },
            };
            stage("Loading weights…");
            let network = (self.open)(&weights, &device)?;
            Ok(Arc::new(Loaded { network, device }) as Arc<dyn LoadedPipeline>)
        };
        load().map_err(|error: Failure| LoadError::of(id, error.as_ref()))
    }
}

/// Where a network's weights come from.
enum Weights<'a> {
    /// A published file.
    File(&'a Path),
    /// Noise, in the published size; in the larger one of those.
    Random { large: bool },
}

impl Weights<'_> {
    /// The weights, and the sizes of their network. `of` reads those of a file, which has the tensors that `describe` tells;
    /// of some files a part is selected.
    fn open<C>(
        &self,
        selection: Option<&Selection>,
        of: impl FnOnce(&Checkpoint) -> Result<C, CheckpointError>,
        published: impl FnOnce(bool) -> C,
        describe: impl FnOnce(&C) -> NetworkDescription,
    ) -> Result<(Box<dyn TensorSource>, C), Failure> {
        match self {
            Self::File(path) => {
                let file = Checkpoint::open(path)?;
                let file = selection.map_or(Ok(file.clone()), |selection| file.select(selection))?;
                let config = of(&file)?;
                file.check(&describe(&config), Unexpected::Refuse)?;
                Ok((Box::new(file), config))
            }
            Self::Random { large } => {
                let config = published(*large);
                Ok((Box::new(RandomWeights::new(&[&describe(&config)], 0)), config))
            }
        }
    }
}

/// What sessions share.
enum Network {
    Contours(Arc<ContourNet>),
    Between(Arc<Interpolator>),
    Flow(Arc<Raft>),
    Depth(Arc<DepthNet>),
}

fn open_contours(weights: &Weights<'_>, device: &Device) -> Result<Network, Failure> {
    let published = |_| ContourConfig::full();
    let (source, config) = weights.open(None, ContourConfig::of, published, ContourConfig::description)?;
    let network = ContourNet::load(&Loader::new(&*source, device, Precision::F32), config)?;
    Ok(Network::Contours(Arc::new(network)))
}

fn open_interpolator(weights: &Weights<'_>, device: &Device) -> Result<Network, Failure> {
    let (published, selection) = (|_| RifeConfig::full(), Some(&RifeConfig::PUBLISHED));
    let (source, config) = weights.open(selection, RifeConfig::of, published, RifeConfig::description)?;
    let network = Interpolator::load(&Loader::new(&*source, device, Precision::F32), config)?;
    Ok(Network::Between(Arc::new(network)))
}

fn open_flow(weights: &Weights<'_>, device: &Device) -> Result<Network, Failure> {
    let published = |large| if large { RaftConfig::large() } else { RaftConfig::small() };
    let (source, config) = weights.open(None, RaftConfig::of, published, RaftConfig::description)?;
    let network = Raft::load(&Loader::new(&*source, device, Precision::F32), &config)?;
    Ok(Network::Flow(Arc::new(network)))
}

fn open_depth(weights: &Weights<'_>, device: &Device) -> Result<Network, Failure> {
    let published = |_| DepthConfig::small();
    let (source, config) = weights.open(None, DepthConfig::of, published, DepthConfig::description)?;
    let network = DepthNet::load(&Loader::new(&*source, device, Precision::F32), config)?;
    Ok(Network::Depth(Arc::new(network)))
}

struct Loaded {
    network: Network,
    device: Device,
}

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        let device = self.device.clone();
        Ok(match &self.network {
            Network::Contours(network) => Box::new(FrameByFrame::on(
                &self.device,
                run::Contours { network: Arc::clone(network), device },
            )),
            Network::Between(network) => Box::new(FrameByFrame::on(
                &self.device,
                run::Between { network: Arc::clone(network), device, last: None },
            )),
            Network::Depth(network) => Box::new(FrameByFrame::on(
                &self.device,
                run::Depth {
                    network: Arc::clone(network),
                    device,
                    size: (0, 0),
                    memory: DepthMemory::default(),
                    range: Range::default(),
                },
            )),
            Network::Flow(network) => Box::new(FrameByFrame::on(
                &self.device,
                run::Flow { network: Arc::clone(network), device, last: None },
            )),
        })
    }
}
