//! From files, or from nothing, to networks.

use super::families::WanFamily;
use super::options::{Options, RandomSize};
use super::random;
use crate::LoadError;
use crate::builtin::models_missing;
use crate::video::{LateVace, Lora, VideoModel};
use scope_engine::Device;
use scope_models::checkpoint::{Checkpoint, Linear, NetworkDescription, Selection, Unexpected, Unwrap};
use scope_models::lora::keys::{BUILT_IN_ADAPTER, LoraFile, LoraRules};
use scope_models::lora::{Merged, attach};
use scope_models::quirks::Quirks;
use scope_models::text::{TextEncoder, Tokenizer, Umt5, Umt5Config};
use scope_models::vae::{TaeConfig, TinyAutoencoder, VideoAutoencoder, WanAutoencoder, WanVaeConfig};
use scope_models::wan::{VaceBlocks, WanConfig, WanTransformer};
use scope_models::weights::{Loader, Precision, RandomWeights, TensorSource};
use scope_store::{ModelFiles, ModelFolder, Role, Settings, Unavailable, VaeType};
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The generator in a checkpoint of any family: alone, or one of several networks of its training.
const GENERATOR: Selection = Selection {
    unwrap: Unwrap::IfPresent("generator"),
    strip_prefix_if_all: Some("model."),
    ..Selection::ALL
};
/// The VACE blocks, alone or in a checkpoint of all blocks.
const VACE: Selection =
    Selection { keep_prefixes: &["vace_blocks.", "vace_patch_embedding."], ..Selection::ALL };
const VACE_PATCHES: &str = "vace_patch_embedding.weight";
const VACE_BLOCKS: &str = "vace_blocks.";

type Failure = Box<dyn Error + Send + Sync>;

/// A family's networks.
pub(super) struct Networks {
    pub(super) model: VideoModel,
    pub(super) text: Arc<TextEncoder>,
}

/// Where weights come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Files(ModelFiles),
    Random(RandomSize),
}

/// Loads a family's networks onto a device.
pub(super) fn load(
    family: &'static WanFamily,
    folder: &ModelFolder,
    options: &Options,
    device: &Device,
    stage: &dyn Fn(&str),
) -> Result<Networks, LoadError> {
    let source = Source::find(family, folder, options).map_err(|error| models_missing(family.id, &error))?;
    networks(family, folder, options, &source, device, stage)
        .map_err(|error| LoadError::of(family.id, error.as_ref()))
}

fn networks(
    family: &'static WanFamily,
    folder: &ModelFolder,
    options: &Options,
    source: &Source,
    device: &Device,
    stage: &dyn Fn(&str),
) -> Result<Networks, Failure> {
    stage("Loading diffusion model…");
    let config = source.config(family)?;
    let builder = Builder {
        family,
        config,
        device: device.clone(),
        precision: options.precision,
        loras: options.video.loras.iter().map(UserLora::open).collect::<Result<_, _>>()?,
    };
    builder.check_loras()?;
    let mut transformer = builder.transformer(source)?;
    if options.files.vace {
        stage("Loading VACE…");
        transformer = builder.with_vace(&transformer, source)?;
    }
    let transformer = Arc::new(transformer);
    stage("Loading text encoder…");
    let text = text_encoder(source, &builder)?;
    stage("Loading VAE…");
    // Pictures are decoded while the transformer goes on.
    let autoencoder = autoencoder(source, options.files.vae_type, &device.beside()?)?;
    let vace: Option<Arc<dyn LateVace>> = (!options.files.vace).then(|| {
        Arc::new(VaceLater {
            folder: folder.clone(),
            settings: Settings { vace: true, ..options.files },
            random: options.random,
            base: Arc::clone(&transformer),
            builder,
            whole: Mutex::default(),
        }) as _
    });
    let model =
        VideoModel { transformer, autoencoder, family: (family.roll_out)(), quirks: Quirks::default(), vace };
    Ok(Networks { model, text: Arc::new(text) })
}

impl Source {
    /// The family's files, or what stands for them.
    pub(super) fn find(
        family: &WanFamily,
        folder: &ModelFolder,
        options: &Options,
    ) -> Result<Self, Unavailable> {
        match options.random {
            Some(size) => Ok(Self::Random(size)),
            None => folder.locate(family.id, &options.files).map(Self::Files),
        }
    }

    /// Sizes of the transformer.
    pub(super) fn config(&self, family: &WanFamily) -> Result<WanConfig, Failure> {
        match self {
            Self::Files(files) => {
                let path = path(files, Role::Config)?;
                Ok(WanConfig::from_json(&std::fs::read(path).map_err(|error| unreadable(path, &error))?)?)
            }
            Self::Random(size) => Ok(random::network(family, *size)),
        }
    }
}

fn path(files: &ModelFiles, role: Role) -> Result<&Path, Failure> {
    files.path(role).ok_or_else(|| format!("the list of model files names no {role:?}").into())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name} can't be read: {error}").into()
}

/// The tensors of a network from one file.
fn open(path: &Path, selection: &Selection, description: &NetworkDescription) -> Result<Checkpoint, Failure> {
    let checkpoint = Checkpoint::open(path)?.select(selection)?;
    checkpoint.check(description, Unexpected::Allow)?;
    Ok(checkpoint)
}

/// A LoRA file that a user asked for.
#[derive(Debug)]
struct UserLora {
    lora: Lora,
    file: Checkpoint,
}

impl UserLora {
    fn open(lora: &Lora) -> Result<Self, Failure> {
        Ok(Self { lora: lora.clone(), file: Checkpoint::open(&lora.path)? })
    }

    fn parse(&self, layers: &[Linear]) -> Result<LoraFile<'_>, Failure> {
        Ok(LoraFile::parse(&self.file, layers, LoraRules::Standard)?.refuse_unmatched()?)
    }
}

/// What the transformer and its VACE blocks are built with.
#[derive(Debug)]
struct Builder {
    family: &'static WanFamily,
    config: WanConfig,
    device: Device,
    precision: Precision,
    loras: Vec<UserLora>,
}

impl Builder {
    /// The linear layers that adapters may be for, whether they are loaded or not.
    fn layers(&self) -> Vec<Linear> {
        let mut layers = self.config.description().linears().to_vec();
        let vace = self.config.vace_description(&self.family.vace(self.config.num_layers));
        layers.extend_from_slice(vace.linears());
        layers
    }

    fn adapters(&self) -> Result<Vec<(LoraFile<'_>, &Lora)>, Failure> {
        let layers = self.layers();
        self.loras.iter().map(|user| Ok((user.parse(&layers)?, &user.lora))).collect()
    }

    /// Says what is wrong with a LoRA file before gigabytes are read.
    fn check_loras(&self) -> Result<(), Failure> {
        self.adapters().map(|_| ())
    }

    /// The transformer without VACE blocks.
    fn transformer(&self, source: &Source) -> Result<WanTransformer, Failure> {
        let description = self.config.description();
        let own = match source {
            Source::Files(files) => files.path(Role::GeneratorLora).map(Checkpoint::open).transpose()?,
            Source::Random(_) => None,
        };
        let own = own.map(|file| file.select(&BUILT_IN_ADAPTER)).transpose()?;
        // The adapter that comes with a model is merged: it adds the same, and costs nothing while the model runs.
        let own = own
            .as_ref()
            .map(|file| LoraFile::parse(file, description.linears(), LoraRules::Standard)?.refuse_unmatched())
            .transpose()?;
        let mut transformer = match source {
            Source::Files(files) => {
                let mut weights = open(path(files, Role::Generator)?, &GENERATOR, &description)?;
                let _ahead = weights.read_ahead();
                self.build(&weights, own.as_ref(), false, |loader| {
                    Ok(WanTransformer::load(loader, &self.config, None)?)
                })
            }
            Source::Random(_) => self.build(&random::weights(&description), None, false, |loader| {
                Ok(WanTransformer::load(loader, &self.config, None)?)
            }),
        }?;
        transformer.calibrate()?;
        Ok(transformer)
    }

    /// The same transformer beside its VACE blocks.
    fn with_vace(&self, base: &WanTransformer, source: &Source) -> Result<WanTransformer, Failure> {
        let vace = self.family.vace(self.config.num_layers);
        let description = self.config.vace_description(&vace);
        let load = |loader: &Loader<'_>| Ok(base.with_vace(VaceBlocks::load(loader, &self.config, &vace)?));
        match source {
            Source::Files(files) => {
                let mut weights = open(path(files, Role::Vace)?, &VACE, &description)?;
                if weights.get(VACE_PATCHES)?.to_f32().iter().all(|&weight| weight == 0.0) {
                    let file = weights.file();
                    return Err(format!(
                        "{file} is untrained: all of {VACE_PATCHES} is zero; fetch it again"
                    )
                    .into());
                }
                let _ahead = weights.read_ahead();
                self.build(&weights, None, true, load)
            }
            Source::Random(_) => self.build(&random::weights(&description), None, true, load),
        }
    }

    /// Builds networks from weights with all adapters that are merged, and attaches the others to their layers.
    fn build(
        &self,
        weights: &dyn TensorSource,
        own: Option<&LoraFile<'_>>,
        vace: bool,
        load: impl FnOnce(&Loader<'_>) -> Result<WanTransformer, Failure>,
    ) -> Result<WanTransformer, Failure> {
        let adapters = self.adapters()?;
        let merged: Vec<(&LoraFile<'_>, f32)> = own
            .map(|own| (own, 1.0))
            .into_iter()
            .chain(adapters.iter().filter(|(_, lora)| lora.merged).map(|(file, lora)| (file, lora.scale)))
            .collect();
        let source = Merged::new(weights, &merged);
        let loader = Loader::new(&source, &self.device, self.precision);
        let mut transformer = load(&loader)?;
        let attached = adapters.into_iter().filter(|(_, lora)| !lora.merged);
        for (index, (mut file, _)) in attached.enumerate() {
            file.modules.retain(|module| module.module.starts_with(VACE_BLOCKS) == vace);
            attach(&mut transformer, &file, index, &loader)?;
        }
        Ok(transformer)
    }
}

fn text_encoder(source: &Source, builder: &Builder) -> Result<TextEncoder, Failure> {
    let length = builder.config.text_len;
    let load = |weights: &dyn TensorSource, config: Umt5Config, tokenizer: Tokenizer| {
        if config.dim != builder.config.text_dim {
            let (found, expected) = (config.dim, builder.config.text_dim);
            return Err(format!(
                "the text encoder's embeddings have {found} features where the generator needs {expected}"
            )
            .into());
        }
        let model = Umt5::load(&Loader::new(weights, &builder.device, Precision::Bf16), config)?;
        Ok(TextEncoder::new(tokenizer, model, length))
    };
    match source {
        Source::Files(files) => {
            let tokenizer = Tokenizer::from_file(path(files, Role::Tokenizer)?)?;
            let mut weights = Checkpoint::open(path(files, Role::TextEncoder)?)?;
            let config = Umt5Config::of(&weights)?;
            weights.check(&config.description(), Unexpected::Allow)?;
            if tokenizer.vocabulary() > config.vocabulary {
                return Err(
                    "tokenizer.json has more tokens than the text encoder knows; fetch both again".into()
                );
            }
            let _ahead = weights.read_ahead();
            load(&weights, config, tokenizer)
        }
        Source::Random(size) => {
            let config = random::text_encoder(*size);
            load(&random::text_weights(&config), config, random::tokenizer()?)
        }
    }
}

fn autoencoder(
    source: &Source,
    kind: VaeType,
    device: &Device,
) -> Result<Arc<dyn VideoAutoencoder>, Failure> {
    match source {
        Source::Files(files) => {
            let file = Checkpoint::open(path(files, Role::Vae)?)?;
            build_autoencoder(&file, kind, device, |description| {
                file.check(description, Unexpected::Allow)?;
                Ok(())
            })
        }
        Source::Random(size) => {
            let weights: RandomWeights = random::autoencoder(kind, *size);
            build_autoencoder(&weights, kind, device, |_| Ok(()))
        }
    }
}

fn build_autoencoder(
    weights: &dyn TensorSource,
    kind: VaeType,
    device: &Device,
    check: impl FnOnce(&NetworkDescription) -> Result<(), Failure>,
) -> Result<Arc<dyn VideoAutoencoder>, Failure> {
    let loader = Loader::new(weights, device, Precision::Bf16);
    Ok(match kind {
        VaeType::Wan | VaeType::LightVae => {
            let config = WanVaeConfig::of(weights)?;
            check(&config.description())?;
            Arc::new(WanAutoencoder::load(&loader, config)?)
        }
        VaeType::Tae | VaeType::LightTae => {
            let config = TaeConfig { raw_latents: kind == VaeType::LightTae, ..TaeConfig::of(weights)? };
            check(&config.description())?;
            Arc::new(TinyAutoencoder::load(&loader, config)?)
        }
    })
}

/// VACE blocks for a model that was loaded without, when a session first needs them: whoever adds a reference picture has
/// not always said so before.
#[derive(Debug)]
struct VaceLater {
    folder: ModelFolder,
    settings: Settings,
    random: Option<RandomSize>,
    base: Arc<WanTransformer>,
    builder: Builder,
    whole: Mutex<Option<Arc<WanTransformer>>>,
}

impl LateVace for VaceLater {
    fn transformer(&self) -> Result<Arc<WanTransformer>, String> {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(whole) = &*whole {
            return Ok(Arc::clone(whole));
        }
        let source = match self.random {
            Some(size) => Source::Random(size),
            None => {
                let files = self.folder.locate(self.builder.family.id, &self.settings);
                Source::Files(files.map_err(|error| error.to_string())?)
            }
        };
        let loaded = self.builder.with_vace(&self.base, &source).map_err(|error| error.to_string())?;
        Ok(Arc::clone(whole.insert(Arc::new(loaded))))
    }
}
