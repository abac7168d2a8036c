//! The blocks of Wan's autoencoder.

use scope_engine::{
    Tensor,
    ops::{
        self, Activation, AttentionOptions, ChannelNorm, Conv, ConvInput, ConvSpec, Enlarge, Gain, Keys,
        Linear, conv, conv_norm,
    },
};

use smallvec::SmallVec;

use super::super::memory::{Pass, newest};
use crate::weights::{Loader, WeightError};

/// What a layer wants of the one in front of it, whose last convolution makes it all at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wants<'a> {
    /// The pictures as they are.
    Plain,
    /// Those, and behind a norm with these factors and SiLU.
    Both(&'a Tensor),
    /// Behind norm and SiLU alone.
    Normed(&'a Tensor),
}

/// What goes from layer to layer.
#[derive(Debug)]
pub(super) struct Stream {
    /// The pictures; behind norm and SiLU if only that was wanted.
    pub(super) x: Tensor,
    /// Those behind norm and SiLU, if that was wanted too.
    normed: Option<Tensor>,
}

impl From<Tensor> for Stream {
    fn from(x: Tensor) -> Self {
        Self { x, normed: None }
    }
}

impl Wants<'_> {
    /// What is wanted of a convolution's result.
    fn of_conv(self, x: &Tensor, layer: &Conv, input: &ConvInput<'_>) -> scope_engine::Result<Stream> {
        let (gamma, keep) = match self {
            Self::Plain => return Ok(conv(x, layer, input)?.into()),
            Self::Both(gamma) => (gamma, true),
            Self::Normed(gamma) => (gamma, false),
        };
        let (plain, normed) = conv_norm(x, layer, input, &ChannelNorm { gamma, silu: true }, keep)?;
        Ok(match plain {
            Some(x) => Stream { x, normed: Some(normed) },
            None => normed.into(),
        })
    }

    /// The same for a convolution that remembers frames.
    pub(super) fn of_causal(
        self,
        pass: &mut Pass<'_>,
        x: &Tensor,
        layer: &Conv,
        residual: Option<&Tensor>,
    ) -> scope_engine::Result<Stream> {
        pass.with_past(x, layer, |past| {
            self.of_conv(x, layer, &ConvInput { past, residual, activation: Activation::None })
        })
    }

    /// The same of pictures that are there already.
    fn of(self, x: Tensor) -> scope_engine::Result<Stream> {
        Ok(match self {
            Self::Plain => x.into(),
            Self::Both(gamma) => {
                let normed = ops::channel_norm(&x, gamma, true)?;
                Stream { x, normed: Some(normed) }
            }
            Self::Normed(gamma) => ops::channel_norm(&x, gamma, true)?.into(),
        })
    }
}

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

    pub(super) fn wants(&self) -> Wants<'_> {
        Wants::Both(&self.gammas[0])
    }

    pub(super) fn run(
        &self,
        pass: &mut Pass<'_>,
        Stream { x, normed }: Stream,
        wants: Wants<'_>,
    ) -> scope_engine::Result<Stream> {
        let [first, second] = &self.convs;
        let normed = match normed {
            Some(normed) => normed,
            None => ops::channel_norm(&x, &self.gammas[0], true)?,
        };
        let hidden = Wants::Normed(&self.gammas[1]).of_causal(pass, &normed, first, None)?.x;
        let shortcut = match &self.shortcut {
            None => x,
            Some(shortcut) => conv(&x, shortcut, &ConvInput::default())?,
        };
        wants.of_causal(pass, &hidden, second, Some(&shortcut))
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

    pub(super) fn run(
        &self,
        pass: &mut Pass<'_>,
        x: &Tensor,
        wants: Wants<'_>,
    ) -> scope_engine::Result<Stream> {
        let Some(time) = &self.time else { return wants.of_conv(x, &self.space, &ConvInput::default()) };
        let x = conv(x, &self.space, &ConvInput::default())?;
        if pass.first {
            *pass.slot() = Some(newest(None, &x, 1)?);
            return wants.of(x);
        }
        wants.of_causal(pass, &x, time, None)
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

    pub(super) fn run(
        &self,
        pass: &mut Pass<'_>,
        x: Tensor,
        wants: Wants<'_>,
    ) -> scope_engine::Result<Stream> {
        let x = match &self.time {
            None => x,
            // The first latent is a single frame, and the second sees zeros before it, as in training.
            Some(_) if pass.first => {
                *pass.slot() = None;
                x
            }
            Some(time) => pass.conv(&x, time, None, Activation::None)?,
        };
        wants.of_conv(&x, &self.space, &ConvInput::default())
    }
}
