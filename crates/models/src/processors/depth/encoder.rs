//! DINOv2: *Learning Robust Visual Features without Supervision* (Oquab et al. 2023, arXiv 2304.07193;
//! github.com/facebookresearch/dinov2, Apache-2.0).

use scope_engine::{
    Tensor,
    ops::{self, Activation, AttentionOptions, Conv, ConvInput, ConvSpec, Gain, Keys, Linear, conv},
};

use super::{DepthConfig, LAYERS, PATCH};
use crate::{
    checkpoint::NetworkDescription,
    weights::{Loader, WeightError},
};

/// Features of a head.
pub(super) const HEAD_DIM: usize = 64;
/// Added to variances.
const EPS: f32 = 1e-6;
/// What the published network adds to the number of patches when it enlarges the positions.
const OFFSET: f64 = 0.1;
/// Mean and standard deviation of the channels of the pictures that it was trained on (ImageNet).
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

pub(super) fn describe(config: &DepthConfig, net: &mut NetworkDescription) {
    let (dim, ffn) = (config.dim, config.dim_ffn);
    net.tensor("cls_token", &[1, 1, dim])
        .tensor("pos_embed", &[1, config.grid * config.grid + 1, dim])
        .tensor("mask_token", &[1, dim])
        .weight_and_bias("patch_embed.proj", &[dim, 3, PATCH, PATCH]);
    for block in 0..config.blocks {
        net.scope(&format!("blocks.{block}"), |net| {
            net.weight_and_bias("norm1", &[dim])
                .linear("attn.qkv", 3 * dim, dim)
                .linear("attn.proj", dim, dim)
                .tensor("ls1.gamma", &[dim])
                .weight_and_bias("norm2", &[dim])
                .linear("mlp.fc1", ffn, dim)
                .linear("mlp.fc2", dim, ffn)
                .tensor("ls2.gamma", &[dim]);
        });
    }
    net.weight_and_bias("norm", &[dim]);
}

#[derive(Debug)]
pub(super) struct Encoder {
    patches: Conv,
    /// Of the token that stands for the whole picture, with its position.
    whole: Tensor,
    /// Of the patches, `[1, grid, grid, dim]`.
    positions: Tensor,
    blocks: Vec<Block>,
    norm: [Tensor; 2],
}

#[derive(Debug)]
struct Block {
    norms: [[Tensor; 2]; 2],
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    wide: Linear,
    narrow: Linear,
}

impl Encoder {
    pub(super) fn load(loader: &Loader<'_>, config: &DepthConfig) -> Result<Self, WeightError> {
        let (dim, grid) = (config.dim, config.grid);
        let mut whole = loader.values("cls_token", &[1, 1, dim])?;
        let positions = loader.values("pos_embed", &[1, grid * grid + 1, dim])?;
        let (first, patches) = positions.split_at(dim);
        for (value, position) in whole.iter_mut().zip(first) {
            *value += position;
        }
        let blocks = (0..config.blocks).map(|index| Block::load(&loader.at("blocks").at(index), config));
        Ok(Self {
            patches: patch_layer(&loader.at("patch_embed.proj"), dim)?,
            whole: Tensor::from_f32(loader.device(), &[1, dim], &whole)?,
            positions: Tensor::from_f32(loader.device(), &[1, grid, grid, dim], patches)?,
            blocks: blocks.collect::<Result<_, _>>()?,
            norm: norm(loader, "norm", dim)?,
        })
    }

    /// What it sees of a picture `[1, height, width, 3]`, in four layers of `[1, height / 14, width / 14, dim]`.
    pub(super) fn run(&self, picture: &Tensor) -> scope_engine::Result<Vec<Tensor>> {
        let patches = conv(picture, &self.patches, &ConvInput::default())?;
        let ([height, width], dim) = ([patches.dim(1), patches.dim(2)], patches.dim(3));
        let patches = ops::add(patches, &self.positions([height, width])?)?;
        let mut x = Tensor::concat(&[&self.whole, &patches.reshape(&[height * width, dim])?])?;
        let mut layers = Vec::with_capacity(LAYERS);
        let quarter = self.blocks.len() / LAYERS;
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.run(x)?;
            if (index + 1).is_multiple_of(quarter) {
                let seen = normed(&x, &self.norm)?;
                layers.push(seen.narrow(1, height * width)?.reshape(&[1, height, width, dim])?);
            }
        }
        Ok(layers)
    }

    fn positions(&self, size: [usize; 2]) -> scope_engine::Result<Tensor> {
        let grid = self.positions.dim(1);
        if size == [grid; 2] {
            return Ok(self.positions.clone());
        }
        let step = size.map(|patches| grid as f64 / (patches as f64 + OFFSET));
        ops::resize_bicubic(&self.positions, size, Some(step))
    }
}

/// From colours between 0 and 1: that these are brought to mean 0 and deviation 1 first is part of the weights.
fn patch_layer(loader: &Loader<'_>, dim: usize) -> Result<Conv, WeightError> {
    let spec = ConvSpec::square(PATCH).strided(PATCH).padded([0; 4]);
    let mut weight = loader.conv_weight([3, dim], &spec)?;
    let mut bias = loader.values("bias", &[dim])?;
    for (weight, bias) in weight.chunks_exact_mut(3 * PATCH * PATCH).zip(&mut bias) {
        for ((weight, mean), deviation) in weight.chunks_exact_mut(PATCH * PATCH).zip(MEAN).zip(DEVIATION) {
            for weight in weight {
                *weight /= deviation;
                *bias -= *weight * mean;
            }
        }
    }
    loader.conv_from(&weight, [3, dim], spec, Some(&bias))
}

pub(super) fn norm(loader: &Loader<'_>, name: &str, dim: usize) -> Result<[Tensor; 2], WeightError> {
    let loader = loader.at(name);
    Ok([loader.tensor("weight", &[dim])?, loader.tensor("bias", &[dim])?])
}

fn normed(x: &Tensor, [weight, bias]: &[Tensor; 2]) -> scope_engine::Result<Tensor> {
    ops::layer_norm(x, Some((weight, bias)), EPS)
}

/// The linear layer below the loader's prefix with each output multiplied by a factor.
fn scaled(loader: &Loader<'_>, shape: [usize; 2], factors: &[f32]) -> Result<Linear, WeightError> {
    let mut weight = loader.values("weight", &shape)?;
    let mut bias = loader.values("bias", &shape[..1])?;
    for ((row, bias), factor) in weight.chunks_exact_mut(shape[1]).zip(&mut bias).zip(factors) {
        row.iter_mut().for_each(|weight| *weight *= factor);
        *bias *= factor;
    }
    loader.linear_from(&weight, shape, Some(&bias))
}

impl Block {
    fn load(loader: &Loader<'_>, config: &DepthConfig) -> Result<Self, WeightError> {
        let (dim, ffn) = (config.dim, config.dim_ffn);
        let all = loader.at("attn.qkv");
        let (weight, bias) = (all.values("weight", &[3 * dim, dim])?, all.values("bias", &[3 * dim])?);
        let part = |index: usize| {
            let bias = &bias[index * dim..][..dim];
            all.linear_from(&weight[index * dim * dim..][..dim * dim], [dim, dim], Some(bias))
        };
        let factors = |name: &str| loader.at(name).values("gamma", &[dim]);
        Ok(Self {
            norms: [norm(loader, "norm1", dim)?, norm(loader, "norm2", dim)?],
            query: part(0)?,
            key: part(1)?,
            value: part(2)?,
            out: scaled(&loader.at("attn.proj"), [dim, dim], &factors("ls1")?)?,
            wide: loader.at("mlp.fc1").linear(ffn, dim)?,
            narrow: scaled(&loader.at("mlp.fc2"), [dim, ffn], &factors("ls2")?)?,
        })
    }

    fn run(&self, x: Tensor) -> scope_engine::Result<Tensor> {
        let (tokens, dim) = (x.dim(0), x.dim(1));
        let seen = normed(&x, &self.norms[0])?;
        let heads = |layer: &Linear| {
            ops::linear(&seen, layer, Activation::None)?.reshape(&[tokens, dim / HEAD_DIM, HEAD_DIM])
        };
        let (k, v) = (heads(&self.key)?, heads(&self.value)?);
        let attended =
            ops::attention(&heads(&self.query)?, &[Keys::new(&k, &v)], &AttentionOptions::default())?;
        let x = ops::linear_add(x, &attended.reshape(&[tokens, dim])?, &self.out, Gain::Constant(1.0))?;
        let wide = ops::linear(&normed(&x, &self.norms[1])?, &self.wide, Activation::GeluErf)?;
        ops::linear_add(x, &wide, &self.narrow, Gain::Constant(1.0))
    }
}
