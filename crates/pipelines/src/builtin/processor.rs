//! Networks that prepare the input of a model or refine its output: contour drawings, and pictures between pictures.

use super::each_frame::{EachFrame, Failure, FrameByFrame};
use super::models_missing;
use crate::schema::Usage;
use crate::{Compute, Generator, LoadError, LoadParams, LoadedPipeline, Pipeline, PipelineSchema, Snapshot};
use scope_engine::{Device, Tensor, ops};
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_models::checkpoint::{Checkpoint, Unexpected};
use scope_models::processors::{ContourConfig, ContourNet, Interpolator, RifeConfig};
use scope_models::weights::{Loader, Precision};
use scope_store::{ModelFolder, Role, Settings};
use std::path::Path;
use std::sync::Arc;

/// A network of a published processor, whose weights lie in the models folder.
pub struct Processor {
    schema: PipelineSchema,
    open: fn(&Path, &Device) -> Result<Network, Failure>,
    folder: ModelFolder,
    compute: Compute,
}

impl Processor {
    /// All of them, with their weights in this folder.
    pub fn all(folder: &ModelFolder, compute: Compute) -> [Self; 2] {
        let processor = |schema, open| Self { schema, open, folder: folder.clone(), compute };
        [processor(scribble(), open_contours), processor(rife(), open_interpolator)]
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

    fn load(&self, _: &LoadParams, stage: &dyn Fn(&str)) -> Result<Arc<dyn LoadedPipeline>, LoadError> {
        let id = &self.schema.id;
        let files =
            self.folder.locate(id, &Settings::default()).map_err(|error| models_missing(id, &error))?;
        let load = || {
            let device = self.compute.device()?;
            let path = files.path(Role::Processor).ok_or("the list of model files names no network")?;
            stage("Loading weights…");
            let network = (self.open)(path, &device)?;
            Ok(Arc::new(Loaded { network, device }) as Arc<dyn LoadedPipeline>)
        };
        load().map_err(|error: Failure| LoadError::of(id, error.as_ref()))
    }
}

/// What sessions share.
#[derive(Clone)]
enum Network {
    Contours(Arc<ContourNet>),
    Between(Arc<Interpolator>),
}

fn open_contours(path: &Path, device: &Device) -> Result<Network, Failure> {
    let file = Checkpoint::open(path)?;
    let config = ContourConfig::of(&file)?;
    file.check(&config.description(), Unexpected::Refuse)?;
    let network = ContourNet::load(&Loader::new(&file, device, Precision::F32), config)?;
    Ok(Network::Contours(Arc::new(network)))
}

fn open_interpolator(path: &Path, device: &Device) -> Result<Network, Failure> {
    let file = Checkpoint::open(path)?.select(&RifeConfig::PUBLISHED)?;
    let config = RifeConfig::of(&file)?;
    file.check(&config.description(), Unexpected::Refuse)?;
    let network = Interpolator::load(&Loader::new(&file, device, Precision::F32), config)?;
    Ok(Network::Between(Arc::new(network)))
}

struct Loaded {
    network: Network,
    device: Device,
}

impl LoadedPipeline for Loaded {
    fn start(&self) -> Result<Box<dyn Generator>, LoadError> {
        let (network, device) = (self.network.clone(), self.device.clone());
        Ok(Box::new(FrameByFrame(Run { network, device, last: None })))
    }
}

struct Run {
    network: Network,
    device: Device,
    /// The picture before, and when it was captured.
    last: Option<(Tensor, Timestamp)>,
}

impl EachFrame for Run {
    fn frame(
        &mut self,
        frame: Frame,
        _: &Snapshot,
        send: &mut dyn FnMut(Image, Timestamp),
    ) -> Result<(), Failure> {
        let now = frame.captured_at;
        let picture = pixels(&frame.image, &self.device)?;
        match &self.network {
            Network::Contours(network) => {
                let drawn = self.device.install(|| network.draw(&picture))?;
                send(gray_image(&drawn, frame.image.size())?, now);
            }
            Network::Between(network) => {
                // After a change of size there is nothing between.
                if let Some((last, before)) =
                    self.last.take().filter(|(last, _)| last.shape() == picture.shape())
                {
                    let both = Tensor::concat(&[&last, &picture])?;
                    let three = self.device.install(|| network.double(&both))?;
                    let middle = Timestamp::from_micros(before.as_micros().midpoint(now.as_micros()));
                    send(rgb_image(&three.narrow(1, 1)?, frame.image.size())?, middle);
                }
                send(frame.image, now);
                self.last = Some((picture, now));
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.last = None;
    }
}

/// `[1, height, width, 3]` between 0 and 1.
fn pixels(image: &Image, device: &Device) -> scope_engine::Result<Tensor> {
    let rgb = image.to_rgb8();
    let shape = [1, image.height() as usize, image.width() as usize, 3];
    Tensor::from_fn(device, &shape, |values| {
        for (value, &byte) in values.iter_mut().zip(rgb.data()) {
            *value = f32::from(byte) / 255.0;
        }
    })
}

/// Values between 0 and 1 as bytes, to the nearest.
fn bytes(values: &Tensor) -> scope_engine::Result<Vec<u8>> {
    ops::to_bytes(values, 255.0, 0.5)
}

/// A picture `[1, height, width, 3]` between 0 and 1.
fn rgb_image(picture: &Tensor, (width, height): (u32, u32)) -> Result<Image, Failure> {
    Ok(Image::new(PixelFormat::Rgb8, width, height, bytes(picture)?)?)
}

/// A drawing `[1, height, width, 1]` between 0 and 1.
fn gray_image(drawing: &Tensor, (width, height): (u32, u32)) -> Result<Image, Failure> {
    let rgb: Vec<u8> = bytes(drawing)?.iter().flat_map(|&value| [value; 3]).collect();
    Ok(Image::new(PixelFormat::Rgb8, width, height, rgb)?)
}
