//! The blocks of Wan's autoencoder.

use scope_engine::{
    Tensor,
    ops::{self, Activation, AttentionOptions, Conv, ConvInput, ConvSpec, Enlarge, Gain, Keys, Linear, conv},
};

use smallvec::SmallVec;

use super::super::memory::{Pass, newest};
use crate::weights::{Loader, WeightError};

/// Two causal 3×3×3 convolutions, each behind norm and SiLU, beside a shortcut.
#[derive(Debug)]
pub(super) struct Residual {
    gammas: [Tensor; 2],
    convs: [Conv; 2],
    shortcut: Option<Conv>,
}

impl Residual {
    pub(super) fn load(loader: &Loader<'_>, [inputs, outputs]: [usize; 2]) -> Result<Self, WeightError> {
        let spec = ConvSpec::square(3).causal(3);
        let layers = loader.at("residual");
        let shortcut = if inputs == outputs {
            None
        } else {
            Some(loader.at("shortcut").conv([inputs, outputs], ConvSpec::pointwise())?)
        };
        Ok(Self {
            gammas: [
                layers.tensor("0.gamma", &[inputs, 1, 1, 1])?,
                layers.tensor("3.gamma", &[outputs, 1, 1, 1])?,
            ],
            convs: [layers.at(2).conv([inputs, outputs], spec)?, layers.at(6).conv([outputs; 2], spec)?],
            shortcut,
        })
    }

    pub(super) fn run(&self, pass: &mut Pass<'_>, x: &Tensor) -> scope_engine::Result<Tensor> {
        let [first, second] = &self.convs;
        let hidden = ops::channel_norm(x, &self.gammas[0], true)?;
        let hidden = pass.conv(&hidden, first, None, Activation::None)?;
        let hidden = ops::channel_norm(&hidden, &self.gammas[1], true)?;
        let shortcut = match &self.shortcut {
            None => x.clone(),
            Some(shortcut) => conv(x, shortcut, &ConvInput::default())?,
        };
        pass.conv(&hidden, second, Some(&shortcut), Activation::None)
    }
}

/// Attention among the pixels of a frame, with one head.
#[derive(Debug)]
pub(super) struct Attention {
    gamma: Tensor,
    /// Queries, keys and values.
    inputs: [Linear; 3],
    output: Linear,
}

impl Attention {
    pub(super) fn load(loader: &Loader<'_>, channels: usize) -> Result<Self, WeightError> {
        let weight = loader.values("to_qkv.weight", &[3 * channels, channels, 1, 1])?;
        let bias = loader.values("to_qkv.bias", &[3 * channels])?;
        let square = channels * channels;
        let part = |index: usize| {
            let weight = &weight[index * square..(index + 1) * square];
            let bias = &bias[index * channels..(index + 1) * channels];
            loader.linear_from(weight, [channels; 2], Some(bias))
        };
        let inputs = [part(0)?, part(1)?, part(2)?];
        let weight = loader.values("proj.weight", &[channels, channels, 1, 1])?;
        let bias = loader.values("proj.bias", &[channels])?;
        Ok(Self {
            gamma: loader.tensor("norm.gamma", &[channels, 1, 1])?,
            inputs,
            output: loader.linear_from(&weight, [channels; 2], Some(&bias))?,
        })
    }

    pub(super) fn run(&self, x: &Tensor) -> scope_engine::Result<Tensor> {
        let [frames, height, width, channels] = [0, 1, 2, 3].map(|axis| x.dim(axis));
        let normed = ops::channel_norm(x, &self.gamma, false)?;
        let [q, k, v] = &self.inputs;
        let heads = |layer: &Linear| {
            ops::linear(&normed, layer, Activation::None)?.reshape(&[frames, height * width, 1, channels])
        };
        let (q, k, v) = (heads(q)?, heads(k)?, heads(v)?);
        let mut attended: SmallVec<[Tensor; 4]> = SmallVec::new();
        for frame in 0..frames {
            let of_frame = |all: &Tensor| all.narrow(frame, 1)?.reshape(&[height * width, 1, channels]);
            let (k, v) = (of_frame(&k)?, of_frame(&v)?);
            let keys = [Keys::new(&k, &v)];
            attended.push(ops::attention(&of_frame(&q)?, &keys, &AttentionOptions::default())?);
        }
        let attended =
            Tensor::concat(&attended.iter().collect::<SmallVec<[&Tensor; 4]>>())?.reshape(&x.shape())?;
        ops::linear_add(x.clone(), &attended, &self.output, Gain::Constant(1.0))
    }
}

/// Halves height and width, and time too if `time` is there.
#[derive(Debug)]
pub(super) struct Downsample {
    space: Conv,
    time: Option<Conv>,
}

impl Downsample {
    pub(super) fn load(loader: &Loader<'_>, channels: usize, halves_time: bool) -> Result<Self, WeightError> {
        let space = ConvSpec::square(3).strided(2).padded([0, 1, 0, 1]);
        // Every second frame, of the last one before this part of the stream and those of the part itself.
        let time = ConvSpec { frame_stride: 2, before: 1, ..ConvSpec::pointwise().causal(3) };
        let time = if halves_time { Some(loader.at("time_conv").conv([channels; 2], time)?) } else { None };
        Ok(Self { space: loader.at("resample").at(1).conv([channels; 2], space)?, time })
    }

    pub(super) fn run(&self, pass: &mut Pass<'_>, x: &Tensor) -> scope_engine::Result<Tensor> {
        let x = conv(x, &self.space, &ConvInput::default())?;
        match &self.time {
            None => Ok(x),
            Some(_) if pass.first => {
                *pass.slot() = Some(newest(None, &x, 1)?);
                Ok(x)
            }
            Some(time) => pass.conv(&x, time, None, Activation::None),
        }
    }
}

/// Doubles height and width and halves the channels, and doubles time too if `time` is there.
#[derive(Debug)]
pub(super) struct Upsample {
    time: Option<Conv>,
    space: Conv,
}

impl Upsample {
    pub(super) fn load(
        loader: &Loader<'_>,
        channels: usize,
        doubles_time: bool,
    ) -> Result<Self, WeightError> {
        let time = ConvSpec::pointwise().causal(3).growing(2);
        let time = if doubles_time {
            Some(loader.at("time_conv").conv([channels, 2 * channels], time)?)
        } else {
            None
        };
        let space = ConvSpec::square(3).enlarged(Enlarge::Nearest2);
        Ok(Self { time, space: loader.at("resample").at(1).conv([channels, channels / 2], space)? })
    }

    pub(super) fn run(&self, pass: &mut Pass<'_>, x: &Tensor) -> scope_engine::Result<Tensor> {
        let x = match &self.time {
            None => x.clone(),
            // The first latent is a single frame, and the second sees zeros before it, as in training.
            Some(_) if pass.first => {
                *pass.slot() = None;
                x.clone()
            }
            Some(time) => pass.conv(x, time, None, Activation::None)?,
        };
        conv(&x, &self.space, &ConvInput::default())
    }
}
