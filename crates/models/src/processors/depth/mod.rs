//! Depth of video: *Video Depth Anything* (Chen et al. 2025, arXiv 2501.12375; github.com/DepthAnything/Video-Depth-Anything,
//! Apache-2.0) in its small size, one frame at a time.
//!
//! DINOv2 sees each frame; the head of *Vision Transformers for Dense Prediction* (Ranftl et al. 2021) makes one picture of
//! four of its layers. In four places of the head, every pixel attends to its own past.

mod encoder;
mod head;
mod temporal;

use std::collections::VecDeque;

use scope_engine::{Tensor, ops};

use super::{ProcessorError, check};
use crate::{
    checkpoint::{Checkpoint, CheckpointError, NetworkDescription},
    weights::{Loader, WeightError},
};
use encoder::Encoder;
use head::Head;

/// The network's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthConfig {
    /// Features of the encoder's tokens.
    pub dim: usize,
    /// Features inside its feed-forward layers.
    pub dim_ffn: usize,
    /// Its blocks. The head sees it after each quarter of them.
    pub blocks: usize,
    /// Patches along the sides of the square that positions were learned for.
    pub grid: usize,
    /// Channels that the head makes of the four layers.
    pub widths: [usize; 4],
    /// Channels of the head where it joins them.
    pub features: usize,
    /// Channels before the last layer.
    pub last: usize,
    /// Moments that a pixel attends to, the present one among them.
    pub moments: usize,
}

impl DepthConfig {
    /// `video_depth_anything_vits` as published.
    #[must_use]
    pub fn small() -> Self {
        Self {
            dim: 384,
            dim_ffn: 1536,
            blocks: 12,
            grid: 37,
            widths: [48, 96, 192, 384],
            features: 64,
            last: 32,
            moments: 32,
        }
    }

    /// The sizes of the network in a file.
    ///
    /// # Errors
    /// [`CheckpointError`] when it has no such network.
    pub fn of(file: &Checkpoint) -> Result<Self, CheckpointError> {
        let extent = |name: &str, axis: usize| {
            Ok::<_, CheckpointError>(file.get(name)?.shape().get(axis).copied().unwrap_or(0))
        };
        let width = |layer: usize| file.rows(&format!("head.projects.{layer}.weight"));
        let pe = format!("{}.pos_encoder.pe", temporal::attention_name(0, 0));
        let is_block =
            |index: &usize| file.find(&format!("pretrained.blocks.{index}.norm1.weight")).is_some();
        Ok(Self {
            dim: extent("pretrained.cls_token", 2)?,
            dim_ffn: file.rows("pretrained.blocks.0.mlp.fc1.weight")?,
            blocks: (0..MAX_BLOCKS).take_while(is_block).count(),
            grid: extent("pretrained.pos_embed", 1)?.saturating_sub(1).isqrt(),
            widths: [width(0)?, width(1)?, width(2)?, width(3)?],
            features: file.rows("head.scratch.layer1_rn.weight")?,
            last: file.rows("head.scratch.output_conv2.0.weight")?,
            moments: extent(&pe, 1)?,
        })
    }

    /// The tensors of the network.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let mut net = NetworkDescription::new("video depth network");
        net.scope("pretrained", |net| encoder::describe(self, net));
        net.scope("head", |net| head::describe(self, net));
        net
    }

    /// Whether there could be such a network.
    fn check(&self) -> Result<(), WeightError> {
        let [.., third, fourth] = self.widths;
        let attended = [third, fourth, self.features];
        let wrong = |name: &str, expected: usize, found: usize| {
            Err(WeightError::Shape { name: name.into(), expected: vec![expected], found: vec![found] })
        };
        if self.dim == 0 || !self.dim.is_multiple_of(encoder::HEAD_DIM) {
            let nearest = self.dim.max(1).next_multiple_of(encoder::HEAD_DIM);
            return wrong("pretrained.norm.weight", nearest, self.dim);
        }
        if self.blocks == 0 || !self.blocks.is_multiple_of(LAYERS) {
            return wrong("pretrained.blocks", self.blocks.max(1).next_multiple_of(LAYERS), self.blocks);
        }
        for (module, width) in [0, 1, 2].into_iter().zip(attended) {
            if width == 0 || !width.is_multiple_of(temporal::GROUPS) {
                let name = format!("head.motion_modules.{module}.temporal_transformer.norm.weight");
                return wrong(&name, width.max(1).next_multiple_of(temporal::GROUPS), width);
            }
        }
        if !(LEAST_MOMENTS..=MEMORY).contains(&self.moments) {
            let name = format!("{}.pos_encoder.pe", temporal::attention_name(0, 0));
            return wrong(&name, LEAST_MOMENTS, self.moments);
        }
        Ok(())
    }
}

/// Pixels along a patch.
const PATCH: usize = 14;
/// Layers of the encoder that the head sees.
const LAYERS: usize = 4;
/// Blocks of the encoder, at most.
const MAX_BLOCKS: usize = 100;
/// The shorter side of the pictures that the network works on, and the longer one where it would be longer than in 16:9.
const SIDE: f64 = 518.0;
const WIDEST: f64 = 1.78;
/// Frames whose states are kept: a pixel attends to the oldest two and to the newest. As published: two overlapping windows of
/// 32 frames less what they share.
const MEMORY: usize = 42;
/// Moments of which the oldest two are references.
const REFERENCES: usize = 2;
const LEAST_MOMENTS: usize = REFERENCES + 2;

/// The size, `[height, width]`, in which the network works on pictures of a size: multiples of 14 of about the same shape, the
/// shorter side being 518, or less where the longer one is more than 16:9 of it.
fn working_size([height, width]: [usize; 2]) -> [usize; 2] {
    let [height, width] = [height.max(1) as f64, width.max(1) as f64];
    let ratio = height.max(width) / height.min(width);
    let patch = PATCH as f64;
    let side = match ratio > WIDEST {
        true => (((SIDE * 1.777 / ratio).floor() / patch).round_ties_even() * patch).max(patch),
        false => SIDE,
    };
    let scale = side / height.min(width);
    [height, width].map(|length| {
        let patches = (length * scale / patch).round_ties_even();
        // Not below the side by a rounding error.
        (patches.max((side / patch).floor()) as usize).max(1) * PATCH
    })
}

/// The weights.
#[derive(Debug)]
pub struct DepthNet {
    encoder: Encoder,
    head: Head,
    moments: usize,
}

/// What a stream remembers of its frames.
#[derive(Clone, Debug, Default)]
pub struct DepthMemory {
    size: [usize; 2],
    /// Oldest first; the states of a frame are the inputs of all layers of attention over time.
    frames: VecDeque<Vec<Tensor>>,
}

impl DepthMemory {
    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.frames.clear();
    }

    /// The states of the frames that the next one attends to, for each layer.
    fn window(&self, moments: usize) -> Vec<Vec<&Tensor>> {
        let recent = self.frames.len().saturating_sub(moments - 1 - REFERENCES).max(REFERENCES);
        let frames = self.frames.iter().take(REFERENCES).chain(self.frames.iter().skip(recent));
        let mut layers: Vec<Vec<&Tensor>> = (0..head::STATES).map(|_| Vec::with_capacity(moments)).collect();
        for frame in frames {
            for (layer, state) in layers.iter_mut().zip(frame) {
                layer.push(state);
            }
        }
        layers
    }

    fn push(&mut self, states: Vec<Tensor>, moments: usize) {
        // Before the first frame, all was like it.
        let copies = if self.frames.is_empty() { moments } else { 1 };
        self.frames.extend(std::iter::repeat_n(states, copies));
        while self.frames.len() > MEMORY {
            // The first frame stays.
            self.frames.remove(1);
        }
    }
}

impl DepthNet {
    /// Builds the network from `pretrained` and `head` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: DepthConfig) -> Result<Self, WeightError> {
        config.check()?;
        Ok(Self {
            encoder: Encoder::load(&loader.at("pretrained"), &config)?,
            head: Head::load(&loader.at("head"), &config)?,
            moments: config.moments,
        })
    }

    /// How near everything is in the next frame of a stream, `[1, height, width, 3]` between 0 and 1: `[1, height, width,
    /// 1]`, 0 or more, larger being nearer, in a unit of its own. A frame of another size begins a new stream.
    ///
    /// # Errors
    /// [`ProcessorError::Input`] for a frame of another shape.
    pub fn next(&self, memory: &mut DepthMemory, frame: &Tensor) -> Result<Tensor, ProcessorError> {
        check(frame, 1, "[1, height, width, 3]")?;
        let size = [frame.dim(1), frame.dim(2)];
        if frame.dim(0) != 1 {
            return Err(ProcessorError::Input {
                found: frame.shape().to_string(),
                expected: "[1, height, width, 3]",
            });
        }
        let working = ops::resize_bicubic(frame, working_size(size), None)?;
        let depth = self.next_at(memory, &working)?;
        Ok(ops::resize_between_corners(&depth, size)?)
    }

    /// As [`DepthNet::next`] at the frame's own size, of which both sides are multiples of 14.
    ///
    /// # Errors
    /// As [`DepthNet::next`].
    pub fn next_at(&self, memory: &mut DepthMemory, frame: &Tensor) -> Result<Tensor, ProcessorError> {
        const EXPECTED: &str = "[1, height, width, 3], both multiples of 14";
        check(frame, 1, EXPECTED)?;
        let size = [frame.dim(1), frame.dim(2)];
        if frame.dim(0) != 1 || !size.iter().all(|side| side.is_multiple_of(PATCH)) {
            return Err(ProcessorError::Input { found: frame.shape().to_string(), expected: EXPECTED });
        }
        if memory.size != size {
            *memory = DepthMemory { size, frames: VecDeque::new() };
        }
        let layers = self.encoder.run(frame)?;
        let (depth, states) = self.head.run(&layers, &memory.window(self.moments))?;
        memory.push(states, self.moments);
        Ok(depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published: `video_depth_anything_vits.pth`.
    #[test]
    fn the_description_is_the_published_network() {
        let description = DepthConfig::small().description();
        assert_eq!((description.tensors().len(), description.parameters()), (351, 29_080_193));
    }

    #[test]
    fn pictures_keep_their_shape_as_far_as_patches_allow() {
        for (size, expected) in [
            ([512, 512], [518, 518]),
            ([1080, 1920], [518, 924]),
            ([1920, 1080], [924, 518]),
            ([480, 640], [518, 686]),
            // 518 · 1.777 / 2 is 460, the nearest multiple of 14 to it 462.
            ([500, 1000], [462, 924]),
            ([16, 4096], [14, 3584]),
            ([1, 8192], [14, 114_688]),
        ] {
            assert_eq!(working_size(size), expected, "{size:?}");
        }
    }

    #[test]
    fn memory_keeps_the_first_frame_one_from_long_ago_and_the_newest() {
        let device = scope_engine::Device::from(scope_engine::Cpu::new(None).unwrap());
        let mut memory = DepthMemory::default();
        assert!(memory.window(32).iter().all(Vec::is_empty));
        for frame in 0..100 {
            let state = Tensor::from_f32(&device, &[1], &[frame as f32]).unwrap();
            memory.push(vec![state; head::STATES], 32);
            let window = memory.window(32);
            assert_eq!(window.len(), head::STATES);
            let seen: Vec<f32> = window[3].iter().map(|state| state.to_vec()[0]).collect();
            let newest = frame as f32;
            assert_eq!(seen.len(), 31);
            assert_eq!(seen[0], 0.0);
            assert_eq!(seen[1], (newest - 40.0).max(0.0));
            let recent: Vec<f32> = (0..29).rev().map(|ago| (newest - ago as f32).max(0.0)).collect();
            assert_eq!(seen[2..], recent);
        }
    }
}
