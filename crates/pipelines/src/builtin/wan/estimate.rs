//! How much memory a family will take.

use super::families::WanFamily;
use super::load::Source;
use super::options::{Options, RandomSize};
use super::random;
use crate::MemoryEstimate;
use scope_models::checkpoint::{Checkpoint, NetworkDescription};
use scope_models::footprint;
use scope_models::text::Umt5Config;
use scope_models::vae::{TaeConfig, WanVaeConfig};
use scope_models::wan::WanConfig;
use scope_models::weights::TensorSource;
use scope_store::{Role, VaeType};

/// Sizes of a family's networks.
struct Sizes {
    network: WanConfig,
    /// Of the text encoder's weights, in bytes.
    text: u64,
    autoencoder: Autoencoder,
}

enum Autoencoder {
    Wan(WanVaeConfig),
    Tiny(TaeConfig),
}

/// With the sizes of the files that are there, or the published ones. `None` where files are there that make no model: to
/// say so is for whoever loads them.
pub(super) fn estimate(
    family: &WanFamily,
    source: &Source,
    options: &Options,
    on_gpu: bool,
) -> Option<MemoryEstimate> {
    let sizes = Sizes::of(family, source, options.files.vae_type, on_gpu)?;
    let Sizes { network, text, autoencoder } = &sizes;
    let size = options.video.size;
    let latent = size.map(|side| side / 8);
    let vace = family.vace(network.num_layers);
    let hints = if options.files.vace { vace.layers.len() } else { 0 };
    let mut networks = vec![network.description(), autoencoder.description()];
    if options.files.vace {
        networks.push(network.vace_description(&vace));
    }
    let roll_out = (family.roll_out)();
    Some(MemoryEstimate {
        weights: networks.iter().map(footprint::weights).sum::<u64>() + text,
        cache: footprint::cache(network, &roll_out, latent),
        activations: footprint::activations(network, &roll_out, latent, hints),
        autoencoder: autoencoder.stream_bytes(size),
    })
}

impl Sizes {
    fn of(family: &WanFamily, source: &Source, vae: VaeType, on_gpu: bool) -> Option<Self> {
        let network = source.config(family).ok()?;
        let text_bytes = |config: &Umt5Config, source: &dyn TensorSource| match on_gpu {
            true => footprint::text_on_gpu(config, source),
            false => footprint::weights(&config.description()),
        };
        let (text, autoencoder) = match source {
            Source::Files(files) => {
                let open = |role| Checkpoint::open(files.path(role)?).ok();
                let (text, file) = (open(Role::TextEncoder)?, open(Role::Vae)?);
                (text_bytes(&Umt5Config::of(&text).ok()?, &text), Autoencoder::of(&file, vae)?)
            }
            Source::Random(size) => {
                let text = random::text_encoder(*size);
                let text = text_bytes(&text, &random::text_weights(&text));
                (text, Autoencoder::of(&random::autoencoder(vae, *size), vae)?)
            }
        };
        Some(Self { network, text, autoencoder })
    }
}

impl Autoencoder {
    fn of(source: &dyn TensorSource, vae: VaeType) -> Option<Self> {
        match vae {
            VaeType::Wan | VaeType::LightVae => WanVaeConfig::of(source).ok().map(Self::Wan),
            VaeType::Tae | VaeType::LightTae => TaeConfig::of(source).ok().map(Self::Tiny),
        }
    }

    fn description(&self) -> NetworkDescription {
        match self {
            Self::Wan(config) => config.description(),
            Self::Tiny(config) => config.description(),
        }
    }

    fn stream_bytes(&self, size: [usize; 2]) -> u64 {
        match self {
            Self::Wan(config) => config.stream_bytes(size),
            Self::Tiny(config) => config.stream_bytes(size),
        }
    }
}

/// The sizes that are published, for files that are not there yet.
pub(super) const PUBLISHED: Source = Source::Random(RandomSize::Real);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadParams;
    use crate::builtin::wan::families::FAMILIES;

    #[test]
    fn a_gpu_holds_the_text_encoder_in_e4m3_and_none_of_its_tables() {
        for family in &FAMILIES {
            let options = Options::read(family, &LoadParams::default()).unwrap();
            let weights = |on_gpu| estimate(family, &PUBLISHED, &options, on_gpu).unwrap().weights;
            let text = Umt5Config::xxl();
            let table = (text.vocabulary * text.dim) as u64;
            let layers = text.description().parameters() - table;
            // Of every number of a layer a byte less, and the table's two; the widest layer's two more while it is used.
            let saved = layers + 2 * table - 2 * (text.dim * text.dim_ffn) as u64;
            let found = weights(false) - weights(true);
            assert!(found.abs_diff(saved) < saved / 1000, "{}: {found} beside {saved}", family.id);
        }
    }
}
