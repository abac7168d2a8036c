//! Contour drawings of photographs: the generator of *Learning to generate line drawings that convey geometry and
//! semantics* (Chan, Durand & Isola 2022; github.com/carolineec/informative-drawings, MIT).

use scope_engine::{
    Tensor,
    ops::{self, Activation, Conv, ConvInput, ConvSpec, Enlarge, conv},
};

use super::{ProcessorError, check};
use crate::{
    checkpoint::{Checkpoint, CheckpointError, NetworkDescription},
    weights::{Loader, WeightError},
};

/// The network's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContourConfig {
    /// Channels at full, half and quarter resolution.
    pub widths: [usize; 3],
}

impl ContourConfig {
    /// As published.
    #[must_use]
    pub fn full() -> Self {
        Self { widths: [64, 128, 256] }
    }

    /// The sizes of the network in a file.
    ///
    /// # Errors
    /// [`CheckpointError`] when it has no such network.
    pub fn of(file: &Checkpoint) -> Result<Self, CheckpointError> {
        Ok(Self {
            widths: [
                file.rows("model0.1.weight")?,
                file.rows("model1.0.weight")?,
                file.rows("model1.3.weight")?,
            ],
        })
    }

    /// The tensors of the network.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let [full, half, quarter] = self.widths;
        let mut net = NetworkDescription::new("contour drawing network");
        net.weight_and_bias("model0.1", &[full, 3, 7, 7])
            .weight_and_bias("model1.0", &[half, full, 3, 3])
            .weight_and_bias("model1.3", &[quarter, half, 3, 3]);
        for block in 0..3 {
            net.scope(&format!("model2.{block}.conv_block"), |net| {
                for layer in ["1", "5"] {
                    net.weight_and_bias(layer, &[quarter, quarter, 3, 3]);
                }
            });
        }
        // Of transposed convolutions the inputs come first.
        for (layer, inputs, outputs) in [("model3.0", quarter, half), ("model3.3", half, full)] {
            net.scope(layer, |net| {
                net.tensor("weight", &[inputs, outputs, 3, 3]).tensor("bias", &[outputs]);
            });
        }
        net.weight_and_bias("model4.1", &[1, full, 7, 7]);
        net
    }
}

/// Added to variances.
const EPS: f32 = 1e-5;

/// The weights.
#[derive(Debug)]
pub struct ContourNet {
    stem: Conv,
    down: [Conv; 2],
    blocks: [[Conv; 2]; 3],
    up: [Conv; 2],
    head: Conv,
}

impl ContourNet {
    /// Builds the network from `model0.*` to `model4.*` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: ContourConfig) -> Result<Self, WeightError> {
        let [full, half, quarter] = config.widths;
        let (wide, square) = (ConvSpec::square(7).reflecting(), ConvSpec::square(3));
        let down = square.strided(2);
        // One more pixel at the bottom and the right: the reverse of a convolution with stride 2.
        let up = square.padded([1, 0, 1, 0]).enlarged(Enlarge::Transposed2);
        let block = |index: usize| {
            let layers = loader.at("model2").at(index).at("conv_block");
            Ok::<_, WeightError>([
                layers.at(1).conv([quarter; 2], square.reflecting())?,
                layers.at(5).conv([quarter; 2], square.reflecting())?,
            ])
        };
        Ok(Self {
            stem: loader.at("model0.1").conv([3, full], wide)?,
            down: [
                loader.at("model1.0").conv([full, half], down)?,
                loader.at("model1.3").conv([half, quarter], down)?,
            ],
            blocks: [block(0)?, block(1)?, block(2)?],
            up: [
                loader.at("model3.0").conv([quarter, half], up)?,
                loader.at("model3.3").conv([half, full], up)?,
            ],
            head: loader.at("model4.1").conv([full, 1], wide)?,
        })
    }

    /// Draws the contours of pictures `[frames, height, width, 3]` between 0 and 1: `[frames, height, width, 1]`, white
    /// paper being 1. Frames are independent of each other.
    ///
    /// # Errors
    /// [`ProcessorError::Input`] for pictures of another shape, [`ProcessorError::Engine`] for such of fewer than five
    /// pixels a side.
    pub fn draw(&self, pictures: &Tensor) -> Result<Tensor, ProcessorError> {
        check(pictures, 0, "[frames, height, width, 3]")?;
        let (height, width) = (pictures.dim(1), pictures.dim(2));
        let mut frames = Vec::with_capacity(pictures.dim(0));
        // One at a time: at full resolution a frame is large.
        for index in 0..pictures.dim(0) {
            frames.push(self.draw_one(&pictures.narrow(index, 1)?)?);
        }
        if frames.is_empty() {
            return Ok(Tensor::zeros(&pictures.device(), &[0, height, width, 1])?);
        }
        Ok(Tensor::concat(&frames.iter().collect::<Vec<_>>())?)
    }

    fn draw_one(&self, picture: &Tensor) -> scope_engine::Result<Tensor> {
        let normed = |x: &Tensor, layer: &Conv, activation: Activation| {
            ops::instance_norm(&conv(x, layer, &ConvInput::default())?, EPS, activation)
        };
        let mut x = normed(picture, &self.stem, Activation::Relu)?;
        for layer in &self.down {
            x = normed(&x, layer, Activation::Relu)?;
        }
        for [first, second] in &self.blocks {
            let hidden = normed(&x, first, Activation::Relu)?;
            x = ops::add(normed(&hidden, second, Activation::None)?, &x)?;
        }
        for layer in &self.up {
            x = normed(&x, layer, Activation::Relu)?;
        }
        let input = ConvInput { activation: Activation::Sigmoid, ..ConvInput::default() };
        let drawn = conv(&x, &self.head, &input)?;
        // Sides that are no multiple of four were rounded up on the way.
        ops::crop(&drawn, [0, 0], [picture.dim(1), picture.dim(2)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published: `netG_A_latest.pth`.
    #[test]
    fn the_description_is_the_published_network() {
        let description = ContourConfig::full().description();
        assert_eq!((description.tensors().len(), description.parameters()), (24, 4_290_945));
    }
}
