//! How much memory networks will take, before they are built: counted from their sizes.
//!
//! Weights and caches are counted exactly, up to the padding of their layout. What a pass needs in between is that of its
//! widest layer.

use crate::{
    checkpoint::{ExpectedTensor, NetworkDescription},
    text::Umt5Config,
    vae::{TaeConfig, WanVaeConfig},
    wan::{Family, TextChange, WanConfig},
    weights::TensorSource,
};

const F32: u64 = 4;
const BF16: u64 = 2;
/// Tensors of a layer that live at once: its input, its output, what is added, and what is normed.
const LIVE: u64 = 4;

/// Weights in bf16; what is no matrix and no kernel stays in `f32`.
#[must_use]
pub fn weights(network: &NetworkDescription) -> u64 {
    network.tensors().iter().map(bytes).sum()
}

fn bytes(tensor: &ExpectedTensor) -> u64 {
    let narrow = tensor.shape.len() > 1 && tensor.name.ends_with("weight");
    elements(tensor) * if narrow { BF16 } else { F32 }
}

fn elements(tensor: &ExpectedTensor) -> u64 {
    tensor.shape.iter().map(|&extent| extent as u64).product()
}

/// What a text encoder takes on a GPU that computes in bf16: without its tables, which stay in host memory, and a byte for
/// each number that its source holds in e4m3; with the widest of these in bf16 beside them while it is used.
#[must_use]
pub fn text_on_gpu(config: &Umt5Config, source: &dyn TensorSource) -> u64 {
    let network = config.description();
    let in_e4m3 = |tensor: &ExpectedTensor| source.is_e4m3(&tensor.name);
    let kept = network.tensors().iter().filter(|tensor| !tensor.name.ends_with("embedding.weight"));
    let kept = kept.map(|tensor| if in_e4m3(tensor) { elements(tensor) } else { bytes(tensor) });
    let widened = network.tensors().iter().filter(|tensor| in_e4m3(tensor)).map(bytes);
    kept.sum::<u64>() + widened.max().unwrap_or(0)
}

/// Keys and values of one session, for latents of `[height, width]`.
#[must_use]
pub fn cache(config: &WanConfig, family: &Family, [height, width]: [usize; 2]) -> u64 {
    let frame = config.frame_tokens(height, width) as u64 * config.dim as u64;
    // The bank's frames, and the newest one beside them.
    let bank = family.cache.bank.map_or(0, |bank| bank.frames + 1);
    let frames = (family.cache.window_frames + bank) as u64 * frame;
    let text = (config.text_len * config.dim) as u64;
    config.num_layers as u64 * 2 * (frames + text) * F32
}

/// What the passes of a chunk need in between; `hints` is the number of VACE blocks.
#[must_use]
pub fn activations(config: &WanConfig, family: &Family, [height, width]: [usize; 2], hints: usize) -> u64 {
    let frame_tokens = config.frame_tokens(height, width) as u64;
    let (dim, ffn) = (config.dim as u64, config.ffn_dim as u64);
    // Queries, keys and values beside input, normed input and result; or the feed-forward network's hidden features.
    let token = (6 * dim).max(3 * dim + ffn) * F32;
    // A chunk of an input video opens with a frame more.
    let chunk = (family.chunk_frames as u64 + 1) * frame_tokens;
    let hints = if hints == 0 { 0 } else { (hints as u64 + LIVE) * dim * F32 };
    let again = match (family.text_change, family.recomputed_context) {
        (_, Some(context)) => context.frames,
        (TextChange::Recache { history_frames }, None) => history_frames,
        (TextChange::ForgetText, None) => 0,
    };
    (chunk * (token + hints)).max(again as u64 * frame_tokens * token)
}

impl WanVaeConfig {
    /// What encoding and decoding a stream of pictures of `[height, width]` takes: the frames that layers remember, and the
    /// widest layer's input and output.
    #[must_use]
    pub fn stream_bytes(&self, [height, width]: [usize; 2]) -> u64 {
        let area = |level: usize| (height >> level) as u64 * (width >> level) as u64;
        let mut remembered = 0;
        let mut channels = self.stem as u64;
        for (level, &width) in self.levels.iter().enumerate() {
            let width = width as u64;
            // Every block remembers two frames before each of its two convolutions, in both halves of the network.
            let encoder = channels + (2 * self.residual_blocks as u64 - 1) * width;
            let decoder = (2 * self.residual_blocks as u64 + 2) * width;
            remembered += 2 * (encoder + decoder) * area(level);
            channels = width;
        }
        // The middle of both halves.
        remembered += 2 * 2 * 4 * channels * area(self.levels.len().saturating_sub(1));
        let widest =
            { self.levels.iter().enumerate() }.map(|(level, &width)| width as u64 * area(level)).max();
        let working = working(widest.unwrap_or(0));
        // Layers of other sizes, of encoder and decoder, leave about twice as much that waits for its next use.
        remembered * F32 + working + (2 * working).min(KEPT)
    }
}

/// Pictures that pass through an autoencoder at once.
const FRAMES: u64 = 4;
/// Freed memory that waits for its next use, at most.
const KEPT: u64 = 1 << 30;

/// What an autoencoder computes with whose widest layer has so many features of a picture.
fn working(widest: u64) -> u64 {
    LIVE * FRAMES * widest * F32
}

impl TaeConfig {
    /// What encoding and decoding a stream of pictures of `[height, width]` takes.
    #[must_use]
    pub fn stream_bytes(&self, [height, width]: [usize; 2]) -> u64 {
        let area = |level: usize| (height >> level) as u64 * (width >> level) as u64;
        let blocks = |widths: [usize; 4], blocks: [usize; 3], level: &dyn Fn(usize) -> usize| -> u64 {
            (0..3).map(|stage| (widths[stage] * blocks[stage]) as u64 * area(level(stage))).sum()
        };
        let [_, encoder @ ..] = self.encoder_widths;
        let encoder = [encoder[0], encoder[1], encoder[2], 0];
        let remembered = blocks(encoder, self.encoder_blocks, &|stage| stage + 1)
            + blocks(self.decoder_widths, self.decoder_blocks, &|stage| 3 - stage);
        let widest = (self.encoder_widths[0].max(self.decoder_widths[3])) as u64 * area(0);
        remembered * F32 + working(widest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::RandomWeights;

    #[test]
    fn a_text_encoder_on_a_gpu_takes_what_its_file_holds_of_its_layers() {
        let config = Umt5Config::xxl();
        let source = RandomWeights::new(&[&config.description()], 0);
        let table = (config.vocabulary * config.dim) as u64;
        let wide = weights(&config.description()) - 2 * table;
        // The tables of distances are no more than a fraction of a thousandth.
        let near = |found: u64, expected: u64| found.abs_diff(expected) < expected / 1000;
        assert!(near(text_on_gpu(&config, &source), wide));
        let narrow = source.in_e4m3(|name| name.contains(".attn.") || name.contains(".ffn."));
        assert!(near(text_on_gpu(&config, &narrow), wide / 2 + 2 * 4096 * 10_240));
    }

    #[test]
    fn the_published_sizes_take_gigabytes() {
        let config = WanConfig::t2v_1_3b();
        let (weights, narrow) = (weights(&config.description()), 2 * config.description().parameters());
        assert!(weights > narrow && weights < narrow + narrow / 500, "{weights} beside {narrow}");
        // Thirty layers of keys and values for twelve frames of 720 tokens and 512 text positions.
        let cache = cache(&config, &Family::longlive(), [40, 72]);
        assert_eq!(cache, 30 * 2 * (12 * 720 + 512) * 1536 * 4);
    }
}
