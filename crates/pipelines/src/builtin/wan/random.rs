//! Made-up weights, to measure the speed of a family or to try it without its files.

use super::families::WanFamily;
use super::options::RandomSize;
use scope_models::text::{Tokenizer, TokenizerError, Umt5Config};
use scope_models::vae::{TaeConfig, WanVaeConfig};
use scope_models::wan::WanConfig;
use scope_models::weights::RandomWeights;
use scope_store::VaeType;
use serde_json::json;

/// All made-up networks are of this seed.
const SEED: u64 = 1;
/// Text positions of a tiny network.
const TINY_TEXT: usize = 32;

/// The sizes of a family's transformer.
pub(super) fn network(family: &WanFamily, size: RandomSize) -> WanConfig {
    let real = (family.network)();
    match size {
        RandomSize::Real => real,
        RandomSize::Tiny => WanConfig {
            dim: 64,
            ffn_dim: 128,
            freq_dim: 32,
            text_dim: 64,
            text_len: TINY_TEXT,
            num_heads: 4,
            num_layers: 2 * family.vace_stride,
            ..real
        },
    }
}

/// The sizes of its text encoder.
pub(super) fn text_encoder(size: RandomSize) -> Umt5Config {
    match size {
        RandomSize::Real => Umt5Config::xxl(),
        RandomSize::Tiny => Umt5Config {
            vocabulary: 128,
            dim: 64,
            dim_attention: 64,
            dim_ffn: 128,
            heads: 4,
            layers: 2,
            ..Umt5Config::xxl()
        },
    }
}

/// Its weights: the matrices of layers in e4m3, as in the published file; the table of tokens, and that of distances, in bf16.
pub(super) fn text_weights(config: &Umt5Config) -> RandomWeights {
    weights(&config.description()).in_e4m3(|name| name.contains(".attn.") || name.contains(".ffn."))
}

/// The weights of a family's autoencoder.
pub(super) fn autoencoder(kind: VaeType, size: RandomSize) -> RandomWeights {
    let tiny = size == RandomSize::Tiny;
    let description = match kind {
        VaeType::Wan if tiny => {
            WanVaeConfig::new(16, &[1, 2, 4, 4], 0.0, 2, &[false, true, true]).description()
        }
        VaeType::LightVae if tiny => {
            WanVaeConfig::new(8, &[1, 2, 4, 4], 0.0, 2, &[false, true, true]).description()
        }
        VaeType::Wan => WanVaeConfig::full().description(),
        VaeType::LightVae => WanVaeConfig::light().description(),
        VaeType::Tae | VaeType::LightTae if tiny => {
            TaeConfig { encoder_widths: [32; 4], decoder_widths: [64, 32, 32, 32], ..TaeConfig::full() }
                .description()
        }
        VaeType::Tae | VaeType::LightTae => TaeConfig::full().description(),
    };
    weights(&description)
}

/// Weights for a network.
pub(super) fn weights(network: &scope_models::checkpoint::NetworkDescription) -> RandomWeights {
    RandomWeights::new(&[network], SEED)
}

/// A tokenizer that spells: a token for each printable ASCII character.
pub(super) fn tokenizer() -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_bytes(tokenizer_json().as_bytes())
}

/// Its document, in the format of UMT5's.
fn tokenizer_json() -> String {
    let mut vocabulary =
        vec![json!(["<pad>", 0.0]), json!(["</s>", 0.0]), json!(["<unk>", 0.0]), json!(["▁", -2.0])];
    vocabulary.extend(('!'..='~').map(|character| json!([character.to_string(), -4.0])));
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": false},
    })
    .to_string()
}
