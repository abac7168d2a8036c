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
use scope_store::{Role, VaeType};

/// Sizes of a family's networks.
struct Sizes {
    network: WanConfig,
    text: Umt5Config,
    autoencoder: Autoencoder,
}

enum Autoencoder {
    Wan(WanVaeConfig),
    Tiny(TaeConfig),
}

/// With the sizes of the files that are there, or the published ones. `None` where files are there that make no model: to
/// say so is for whoever loads them.
pub(super) fn estimate(family: &WanFamily, source: &Source, options: &Options) -> Option<MemoryEstimate> {
    let sizes = Sizes::of(family, source, options.files.vae_type)?;
    let Sizes { network, text, autoencoder } = &sizes;
    let size = options.video.size;
    let latent = size.map(|side| side / 8);
    let vace = family.vace(network.num_layers);
    let hints = if options.files.vace { vace.layers.len() } else { 0 };
    let mut networks = vec![network.description(), text.description(), autoencoder.description()];
    if options.files.vace {
        networks.push(network.vace_description(&vace));
    }
    let roll_out = (family.roll_out)();
    Some(MemoryEstimate {
        weights: networks.iter().map(footprint::weights).sum(),
        cache: footprint::cache(network, &roll_out, latent),
        activations: footprint::activations(network, &roll_out, latent, hints),
        autoencoder: autoencoder.stream_bytes(size),
    })
}

impl Sizes {
    fn of(family: &WanFamily, source: &Source, vae: VaeType) -> Option<Self> {
        let network = source.config(family).ok()?;
        let (text, autoencoder) = match source {
            Source::Files(files) => {
                let open = |role| Checkpoint::open(files.path(role)?).ok();
                let (text, file) = (Umt5Config::of(&open(Role::TextEncoder)?).ok()?, open(Role::Vae)?);
                (text, Autoencoder::of(&file, vae)?)
            }
            Source::Random(size) => {
                (random::text_encoder(*size), Autoencoder::of(&random::autoencoder(vae, *size), vae)?)
            }
        };
        Some(Self { network, text, autoencoder })
    }
}

impl Autoencoder {
    fn of(source: &dyn scope_models::weights::TensorSource, vae: VaeType) -> Option<Self> {
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
