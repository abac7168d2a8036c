//! VACE: control signals beside the transformer (Jiang et al. 2025, arXiv 2503.07598). A side chain of blocks turns a
//! 96-channel context into hints that are added after some of the main blocks.

use scope_engine::{
    Tensor,
    ops::{self, Activation, Linear},
};

use super::{
    Projection, WanConfig, WanError,
    block::{Block, SelfAttention, Shared},
    cache::TextKeys,
    transformer::{load_patch, padding_to_128},
};
use crate::weights::{Loader, WeightError};

/// Channels of a context: 16 of what stays, 16 of what is generated anew, 64 of the mask.
pub const VACE_CHANNELS: usize = 96;

/// Which main blocks get a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaceConfig {
    /// Indices of main blocks, ascending; the first is block 0.
    pub layers: Vec<usize>,
}

impl VaceConfig {
    /// Every second block: the module of the 1.3B model.
    #[must_use]
    pub fn every_second(blocks: usize) -> Self {
        Self { layers: (0..blocks).step_by(2).collect() }
    }

    /// Every fifth block: the module of the 14B model.
    #[must_use]
    pub fn every_fifth(blocks: usize) -> Self {
        Self { layers: (0..blocks).step_by(5).collect() }
    }
}

/// Encoded control signals: `[frames, height, width, 96]` in latent pixels.
#[derive(Clone, Debug)]
pub struct VaceContext(pub Tensor);

/// The side chain's weights.
#[derive(Clone, Debug)]
pub struct VaceBlocks {
    layers: Vec<usize>,
    patch: Linear,
    /// Latent pixels of a token's side.
    side: usize,
    before: Projection,
    blocks: Vec<(Block, Projection)>,
}

impl VaceBlocks {
    /// Builds the side chain from `vace_patch_embedding.*` and `vace_blocks.*` below the loader's prefix.
    ///
    /// # Errors
    /// [`WeightError`] for the first tensor that is missing or of another shape.
    pub fn load(loader: &Loader<'_>, config: &WanConfig, vace: &VaceConfig) -> Result<Self, WeightError> {
        let dim = config.dim;
        let at = |index: usize| loader.at("vace_blocks").at(index);
        Ok(Self {
            layers: vace.layers.clone(),
            patch: load_patch(&loader.at("vace_patch_embedding"), dim, VACE_CHANNELS, config.patch)?,
            side: config.patch,
            before: Projection::load(&at(0).at("before_proj"), dim, dim)?,
            blocks: (0..vace.layers.len())
                .map(|index| {
                    let block = Block::load(&at(index), config)?;
                    Ok((block, Projection::load(&at(index).at("after_proj"), dim, dim)?))
                })
                .collect::<Result<_, WeightError>>()?,
        })
    }

    /// Main blocks that get a hint.
    #[must_use]
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    pub(super) fn projection_mut(&mut self, name: &str) -> Option<&mut Projection> {
        let (index, rest) = name.split_once('.')?;
        let index: usize = index.parse().ok()?;
        if (index, rest) == (0, "before_proj") {
            return Some(&mut self.before);
        }
        let (block, after) = self.blocks.get_mut(index)?;
        if rest == "after_proj" { Some(after) } else { block.projection_mut(rest) }
    }

    /// One hint per layer of [`VaceBlocks::layers`], each `[tokens, dim]`, for the main chain's tokens `x` as they
    /// come from the patch embedding. A context of more frames than `x` loses its end, a shorter one is followed by zeros.
    pub(super) fn hints(
        &self,
        x: &Tensor,
        context: &VaceContext,
        modulation: &Tensor,
        shared: &Shared<'_>,
        text: &mut [Option<TextKeys>],
        padded_keys: bool,
    ) -> Result<Vec<Tensor>, WanError> {
        let shape = context.0.shape();
        let (height, width) = (shared.grid.height * self.side, shared.grid.width * self.side);
        if shape.len() != 4 || shape[1..] != [height, width, VACE_CHANNELS] {
            return Err(WanError::Input {
                what: "the VACE context",
                found: shape.to_string(),
                expected: format!("[frames, {height}, {width}, {VACE_CHANNELS}]"),
            });
        }
        let frames = shape[0].min(shared.grid.frames);
        let tokens = ops::linear(
            &ops::patchify(&context.0.narrow(0, frames)?, self.side)?,
            &self.patch,
            Activation::None,
        )?;
        let missing = x.dim(0) - tokens.dim(0);
        let tokens = match missing {
            0 => tokens,
            _ => Tensor::concat(&[&tokens, &Tensor::zeros(&x.device(), &[missing, x.dim(1)])?])?,
        };
        let mut c = self.before.add_to(x.clone(), &tokens, ops::Gain::Constant(1.0), shared.adapters)?;
        let zero_keys = if padded_keys { padding_to_128(x.dim(0)) } else { 0 };
        let mut hints = Vec::with_capacity(self.blocks.len());
        for (index, (block, after)) in self.blocks.iter().enumerate() {
            let mut uncached = None;
            let text = text.get_mut(index).unwrap_or(&mut uncached);
            let table = ops::add(modulation.clone(), block.modulation())?;
            let attention = SelfAttention::Isolated { zero_keys };
            c = block.forward(c.into(), &table, shared, attention, text, None)?.x;
            hints.push(after.forward(&c, Activation::None, shared.adapters)?);
        }
        Ok(hints)
    }
}
