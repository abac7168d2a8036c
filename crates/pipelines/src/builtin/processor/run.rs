//! What the networks make of each picture of a stream.

use super::super::each_frame::{EachFrame, Failure};
use super::range::{Range, to_unit};
use crate::Snapshot;
use scope_engine::{Device, Tensor, ops};
use scope_frame::{Frame, Image, PixelFormat, Timestamp};
use scope_models::frames::flow_colors;
use scope_models::processors::{ContourNet, DepthMemory, DepthNet, FlowFeatures, Interpolator, Raft};
use std::sync::Arc;

/// Contours of each picture.
pub(super) struct Contours {
    pub(super) network: Arc<ContourNet>,
    pub(super) device: Device,
}

impl EachFrame for Contours {
    fn frame(
        &mut self,
        frame: Frame,
        _: &Snapshot,
        send: &mut dyn FnMut(Image, Timestamp),
    ) -> Result<(), Failure> {
        let picture = pixels(&frame.image, size_of(&frame.image), &self.device)?;
        let drawn = self.device.install(|| self.network.draw(&picture))?;
        send(gray_image(&drawn, frame.image.size())?, frame.captured_at);
        Ok(())
    }
}

/// Each picture, and one between it and the one before.
pub(super) struct Between {
    pub(super) network: Arc<Interpolator>,
    pub(super) device: Device,
    /// The picture before, and when it was captured.
    pub(super) last: Option<(Tensor, Timestamp)>,
}

impl EachFrame for Between {
    fn frame(
        &mut self,
        frame: Frame,
        _: &Snapshot,
        send: &mut dyn FnMut(Image, Timestamp),
    ) -> Result<(), Failure> {
        let now = frame.captured_at;
        let picture = pixels(&frame.image, size_of(&frame.image), &self.device)?;
        // After a change of size there is nothing between.
        if let Some((last, before)) = self.last.take().filter(|(last, _)| last.shape() == picture.shape()) {
            let both = Tensor::concat(&[&last, &picture])?;
            let three = self.device.install(|| self.network.double(&both))?;
            let middle = Timestamp::from_micros(before.as_micros().midpoint(now.as_micros()));
            send(rgb_image(&three.narrow(1, 1)?, frame.image.size())?, middle);
        }
        send(frame.image, now);
        self.last = Some((picture, now));
        Ok(())
    }

    fn reset(&mut self) {
        self.last = None;
    }
}

/// How each picture moved from the one before, as colours.
pub(super) struct Flow {
    pub(super) network: Arc<Raft>,
    pub(super) device: Device,
    /// The size of the picture before, and what the network keeps of it.
    pub(super) last: Option<((u32, u32), FlowFeatures)>,
}

/// Sides of the square in which flow is estimated.
pub(super) const FLOW_SIDE: usize = 512;

impl EachFrame for Flow {
    fn frame(
        &mut self,
        frame: Frame,
        _: &Snapshot,
        send: &mut dyn FnMut(Image, Timestamp),
    ) -> Result<(), Failure> {
        let size = frame.image.size();
        let last = self.last.take().filter(|(before, _)| *before == size);
        let (features, shown) = self.device.install(|| {
            let picture = pixels(&frame.image, [FLOW_SIDE; 2], &self.device)?;
            let features = self.network.features(&picture)?;
            // Nothing has moved yet.
            let Some((_, last)) = last else {
                return Ok((features, Image::solid(size.0, size.1, [u8::MAX; 3])?));
            };
            let colours = flow_colors(&self.network.flow(&last, &features)?)?;
            let colours = Tensor::from_u8(&self.device, &[1, FLOW_SIDE, FLOW_SIDE, 3], &colours)?;
            let shown = ops::resize_bytes(&colours, size_of(&frame.image), [0.0, 1.0])?;
            Ok::<_, Failure>((features, rgb_image(&shown, size)?))
        })?;
        self.last = Some((size, features));
        send(shown, frame.captured_at);
        Ok(())
    }

    fn reset(&mut self) {
        self.last = None;
    }
}

/// How near everything is in each picture: white is near.
pub(super) struct Depth {
    pub(super) network: Arc<DepthNet>,
    pub(super) device: Device,
    pub(super) size: (u32, u32),
    pub(super) memory: DepthMemory,
    pub(super) range: Range,
}

impl EachFrame for Depth {
    fn frame(
        &mut self,
        frame: Frame,
        _: &Snapshot,
        send: &mut dyn FnMut(Image, Timestamp),
    ) -> Result<(), Failure> {
        let size = frame.image.size();
        if self.size != size {
            // Another video.
            self.reset();
            self.size = size;
        }
        let picture = pixels(&frame.image, size_of(&frame.image), &self.device)?;
        let depth = self.device.install(|| self.network.next(&mut self.memory, &picture))?;
        let [scale, shift] = to_unit(self.range.next(&depth.to_vec()));
        let shown = ops::affine_clamped(depth, scale, shift, [0.0, 1.0])?;
        send(gray_image(&shown, size)?, frame.captured_at);
        Ok(())
    }

    fn reset(&mut self) {
        self.memory.clear();
        self.range.clear();
    }
}

/// Height and width.
fn size_of(image: &Image) -> [usize; 2] {
    [image.height() as usize, image.width() as usize]
}

/// `[1, height, width, 3]` between 0 and 1, in another size if it is another.
fn pixels(image: &Image, size: [usize; 2], device: &Device) -> scope_engine::Result<Tensor> {
    let (old, data) = (size_of(image), image.data());
    let bytes = match image.format() {
        PixelFormat::Rgb8 => Tensor::from_u8(device, &[1, old[0], old[1], 3], data)?,
        PixelFormat::I420 => ops::rgb_from_i420(&Tensor::from_u8(device, &[1, data.len()], data)?, old)?,
    };
    ops::resize_bytes(&bytes, size, [0.0, 1.0])
}

/// Values between 0 and 1 as bytes, to the nearest.
fn bytes(values: &Tensor) -> scope_engine::Result<Vec<u8>> {
    ops::to_bytes(values, 255.0, 0.5)?.into_vec()
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
