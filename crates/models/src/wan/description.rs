//! Names and shapes of the transformer's tensors, as published checkpoints have them.

use super::{VACE_CHANNELS, VaceConfig, WanConfig};
use crate::checkpoint::NetworkDescription;

impl WanConfig {
    /// The tensors of the transformer.
    #[must_use]
    pub fn description(&self) -> NetworkDescription {
        let Self { dim, freq_dim, text_dim, in_dim, out_dim, num_layers, patch, .. } = *self;
        let mut net =
            NetworkDescription::new(format!("a Wan transformer of {num_layers} layers of {dim} features"));
        net.weight_and_bias("patch_embedding", &[dim, in_dim, 1, patch, patch]);
        net.linear("text_embedding.0", dim, text_dim).linear("text_embedding.2", dim, dim);
        net.linear("time_embedding.0", dim, freq_dim).linear("time_embedding.2", dim, dim);
        net.linear("time_projection.1", 6 * dim, dim);
        for layer in 0..num_layers {
            net.scope(&format!("blocks.{layer}"), |net| self.describe_block(net));
        }
        net.linear("head.head", patch * patch * out_dim, dim).tensor("head.modulation", &[1, 2, dim]);
        net
    }

    /// The tensors of a VACE module for this transformer.
    #[must_use]
    pub fn vace_description(&self, vace: &VaceConfig) -> NetworkDescription {
        let dim = self.dim;
        let blocks = vace.layers.len();
        let mut net = NetworkDescription::new(format!("a VACE module of {blocks} blocks of {dim} features"));
        net.weight_and_bias("vace_patch_embedding", &[dim, VACE_CHANNELS, 1, self.patch, self.patch]);
        for block in 0..blocks {
            net.scope(&format!("vace_blocks.{block}"), |net| {
                self.describe_block(net);
                if block == 0 {
                    net.linear("before_proj", dim, dim);
                }
                net.linear("after_proj", dim, dim);
            });
        }
        net
    }

    fn describe_block(&self, net: &mut NetworkDescription) {
        let dim = self.dim;
        for attention in ["self_attn", "cross_attn"] {
            net.scope(attention, |net| {
                for layer in ["q", "k", "v", "o"] {
                    net.linear(layer, dim, dim);
                }
                net.rms_norm("norm_q", dim).rms_norm("norm_k", dim);
            });
        }
        net.weight_and_bias("norm3", &[dim]);
        net.linear("ffn.0", self.ffn_dim, dim).linear("ffn.2", dim, self.ffn_dim);
        net.tensor("modulation", &[1, 6, dim]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sizes_have_their_published_numbers_of_tensors_and_weights() {
        let small = WanConfig::t2v_1_3b();
        assert_eq!(
            (small.description().tensors().len(), small.description().parameters()),
            (825, 1_418_996_800)
        );
        let large = WanConfig::t2v_14b();
        assert_eq!(
            (large.description().tensors().len(), large.description().parameters()),
            (1095, 14_288_491_584)
        );
        assert_eq!(small.vace_description(&VaceConfig::every_second(30)).tensors().len(), 439);
        assert_eq!(large.vace_description(&VaceConfig::every_fifth(40)).tensors().len(), 236);
    }
}
