//! Which files the pipelines need: data, checked when it is read.

use crate::network::base_url;
use crate::path::{PathError, StorePath};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

const BUILTIN: &str = include_str!("models.toml");

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is no TOML of this shape.
    #[error("the manifest of models cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A name leads outside the folder.
    #[error("the manifest of models: {0}")]
    Path(#[from] PathError),
    /// It contradicts itself.
    #[error("the manifest of models: {0}")]
    Inconsistent(String),
}

/// What a file is to the pipeline that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sizes of the generator's network (JSON).
    Config,
    /// The generator's weights.
    Generator,
    /// A LoRA adapter that belongs to the generator.
    GeneratorLora,
    /// The autoencoder.
    Vae,
    /// The text encoder's weights.
    TextEncoder,
    /// The text encoder's tokenizer (`tokenizer.json`).
    Tokenizer,
    /// The conditioning network VACE.
    Vace,
    /// The weights of a network before or after a generator.
    Processor,
    /// Nothing as it is: an archive that is unpacked.
    Archive,
    /// Nothing: other programs that share the folder ask for it. Its absence is no problem.
    Companion,
}

/// Autoencoders that a pipeline can be loaded with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VaeType {
    /// The published one.
    #[default]
    Wan,
    /// The same, pruned.
    LightVae,
    /// A tiny autoencoder.
    Tae,
    /// The same, distilled.
    LightTae,
}

/// Sizes in which a processor's network is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelSize {
    /// The faster one.
    #[default]
    Small,
    /// The better one.
    Large,
}

impl ModelSize {
    /// The size that load parameters call `text`.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(text.into()).ok()
    }
}

impl VaeType {
    /// The autoencoder that load parameters call `text`.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(text.into()).ok()
    }
}

/// The load parameters that decide which files a pipeline needs. Quantisation is not among them: weights are quantised when
/// they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The autoencoder.
    pub vae_type: VaeType,
    /// Whether VACE conditioning is wanted.
    pub vace: bool,
    /// The size of a processor's network.
    pub model_size: ModelSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { vae_type: VaeType::Wan, vace: true, model_size: ModelSize::Small }
    }
}

impl Settings {
    /// Reads `vae_type`, `vace_enabled` and `model_size` from load parameters; whatever is absent or unknown has its
    /// default.
    pub fn from_params(params: &Map<String, Value>) -> Self {
        fn read<T: DeserializeOwned>(params: &Map<String, Value>, key: &str) -> Option<T> {
            params.get(key).and_then(|value| serde_json::from_value(value.clone()).ok())
        }
        let defaults = Self::default();
        Self {
            vae_type: read(params, "vae_type").unwrap_or(defaults.vae_type),
            vace: read(params, "vace_enabled").unwrap_or(defaults.vace),
            model_size: read(params, "model_size").unwrap_or(defaults.model_size),
        }
    }
}

/// One file of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its repository, `owner/name`.
    pub repository: String,
    /// Where it lies in the repository.
    pub path: StorePath,
    /// Where it lies in the models folder.
    pub local: StorePath,
    /// What it is to its pipeline.
    pub role: Role,
    /// How many bytes to expect before a server has said so.
    pub about_bytes: Option<u64>,
    /// Its exact size.
    pub size: Option<u64>,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// What that begins with, where no more of it is published.
    pub sha256_begins: Option<String>,
    /// The settings that have a use for it.
    pub when: When,
}

impl FileEntry {
    /// Whether the pipeline needs it with these settings; companions are never needed.
    pub fn is_needed(&self, settings: &Settings) -> bool {
        self.role != Role::Companion && self.belongs_to(settings)
    }

    /// Whether these settings have a use for it, or are no reason to leave it out.
    pub fn belongs_to(&self, settings: &Settings) -> bool {
        self.when.vae_type.is_none_or(|vae| vae == settings.vae_type)
            && self.when.vace.is_none_or(|vace| vace == settings.vace)
            && self.when.model_size.is_none_or(|size| size == settings.model_size)
    }
}

/// Settings that have a use for a file. What is absent matters to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Those with this autoencoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae_type: Option<VaeType>,
    /// Those with VACE, or those without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vace: Option<bool>,
    /// Those with this size of network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_size: Option<ModelSize>,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// `owner/name`: on Hugging Face, unless it has a server of its own.
    pub id: String,
    /// The branch, tag or commit to take files from.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// The licence that its page states, as an SPDX identifier; `None` when it has to be read there.
    pub licence: Option<String>,
    /// The address that its files lie below, if that is not Hugging Face's. It has no revisions.
    pub server: Option<String>,
    /// The page that describes it, if that is not Hugging Face's.
    pub website: Option<String>,
}

fn main_branch() -> String {
    "main".into()
}

impl Repository {
    /// The page that describes it, with its licence.
    pub fn page(&self) -> String {
        self.website.clone().unwrap_or_else(|| format!("https://huggingface.co/{}", self.id))
    }

    /// Its folder in the models folder.
    fn folder(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or(&self.id)
    }
}

/// What one pipeline needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineEntry {
    /// The pipeline's id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// All files that any settings have a use for, each once.
    pub files: Vec<FileEntry>,
}

/// All pipelines that need files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    repositories: BTreeMap<String, Repository>,
    pipelines: Vec<PipelineEntry>,
}

impl Manifest {
    /// The pipelines of this program.
    pub fn builtin() -> Arc<Self> {
        static PARSED: LazyLock<Arc<Manifest>> =
            // Data that cannot be read fails a test; a program built with it has no models to fetch.
            LazyLock::new(|| Arc::new(Manifest::parse(BUILTIN).unwrap_or_default()));
        Arc::clone(&PARSED)
    }

    /// The files of one download, all of one repository.
    pub(crate) fn of_one(repository: Repository, pipeline: PipelineEntry) -> Self {
        Self { repositories: [(repository.id.clone(), repository)].into(), pipelines: vec![pipeline] }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let raw: raw::Document = toml::from_str(text)?;
        let mut repositories = BTreeMap::new();
        for repository in raw.repository {
            check_repository(&repository)?;
            repositories.insert(repository.id.clone(), repository);
        }
        let mut manifest = Self { repositories, pipelines: Vec::new() };
        for pipeline in raw.pipeline {
            let mut files: Vec<FileEntry> = Vec::new();
            for id in &pipeline.sets {
                let set = raw.set.iter().find(|set| set.id == *id).ok_or_else(|| {
                    ManifestError::Inconsistent(format!("pipeline {} uses the unknown set {id}", pipeline.id))
                })?;
                for file in &set.files {
                    files.push(manifest.file(file)?);
                }
            }
            for file in &pipeline.files {
                files.push(manifest.file(file)?);
            }
            check_files(&pipeline.id, &files)?;
            manifest.pipelines.push(PipelineEntry { id: pipeline.id, name: pipeline.name, files });
        }
        manifest.check_agreement()?;
        Ok(manifest)
    }

    fn file(&self, raw: &raw::File) -> Result<FileEntry, ManifestError> {
        let repository = self
            .repositories
            .get(&raw.repository)
            .ok_or_else(|| ManifestError::Inconsistent(format!("{} is of no known repository", raw.path)))?;
        let folder: StorePath = repository.folder().parse()?;
        let begins = |hash: &String| hash.len() < 8 || !is_hex(hash);
        if raw.sha256.as_ref().is_some_and(|hash| !is_sha256(hash))
            || raw.sha256_begins.as_ref().is_some_and(begins)
        {
            return Err(ManifestError::Inconsistent(format!("the sha256 of {} is none", raw.path)));
        }
        Ok(FileEntry {
            repository: raw.repository.clone(),
            path: raw.path.clone(),
            local: folder.join(&raw.path)?,
            role: raw.role,
            about_bytes: raw.size.or(raw.about_bytes),
            size: raw.size,
            sha256: raw.sha256.clone(),
            sha256_begins: raw.sha256_begins.clone(),
            when: raw.when,
        })
    }

    /// Pipelines may share a file, but then they must mean the same one.
    fn check_agreement(&self) -> Result<(), ManifestError> {
        let mut seen: BTreeMap<&StorePath, &FileEntry> = BTreeMap::new();
        for file in self.pipelines.iter().flat_map(|pipeline| &pipeline.files) {
            let first = seen.entry(&file.local).or_insert(file);
            let identity = |file: &FileEntry| {
                (file.repository.clone(), file.size, file.sha256.clone(), file.sha256_begins.clone())
            };
            if identity(first) != identity(file) {
                let problem = format!("two different files would lie at {}", file.local);
                return Err(ManifestError::Inconsistent(problem));
            }
        }
        Ok(())
    }

    /// All pipelines.
    pub fn pipelines(&self) -> &[PipelineEntry] {
        &self.pipelines
    }

    /// The pipeline with this id; `None` when it needs no files.
    pub fn pipeline(&self, id: &str) -> Option<&PipelineEntry> {
        self.pipelines.iter().find(|pipeline| pipeline.id == id)
    }

    /// The repository of a file.
    pub fn repository(&self, id: &str) -> Option<&Repository> {
        self.repositories.get(id)
    }
}

fn check_repository(repository: &Repository) -> Result<(), ManifestError> {
    let path: StorePath = repository.id.parse()?;
    let revision: StorePath = repository.revision.parse()?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    if path.as_str().split('/').count() != 2 || !plain(path.as_str()) || !plain(revision.as_str()) {
        return Err(ManifestError::Inconsistent(format!("{:?} is no repository", repository.id)));
    }
    if let Some(server) = repository.server.as_ref().filter(|server| base_url(server).is_none()) {
        return Err(ManifestError::Inconsistent(format!("{server:?} is no address of a server")));
    }
    Ok(())
}

/// Each file once, and for every choice of settings at most one file of a role.
fn check_files(pipeline: &str, files: &[FileEntry]) -> Result<(), ManifestError> {
    for (index, file) in files.iter().enumerate() {
        for other in &files[..index] {
            let both = |settings: &Settings| file.is_needed(settings) && other.is_needed(settings);
            let same_role = file.role == other.role && all_settings().any(|settings| both(&settings));
            if file.local == other.local || same_role {
                let problem = format!("pipeline {pipeline} has two files for {}", file.local);
                return Err(ManifestError::Inconsistent(problem));
            }
        }
    }
    Ok(())
}

/// Every choice of settings.
pub(crate) fn all_settings() -> impl Iterator<Item = Settings> {
    let kinds = [VaeType::Wan, VaeType::LightVae, VaeType::Tae, VaeType::LightTae];
    let sizes = [ModelSize::Small, ModelSize::Large];
    let all = kinds.into_iter().flat_map(|vae_type| [false, true].map(|vace| (vae_type, vace)));
    all.flat_map(move |(vae_type, vace)| sizes.map(|model_size| Settings { vae_type, vace, model_size }))
}

/// Whether `text` is a SHA-256 in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

mod raw {
    use super::{Repository, Role, StorePath, When};
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Document {
        #[serde(default)]
        pub(super) repository: Vec<Repository>,
        #[serde(default)]
        pub(super) set: Vec<Set>,
        #[serde(default)]
        pub(super) pipeline: Vec<Pipeline>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Set {
        pub(super) id: String,
        pub(super) files: Vec<File>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Pipeline {
        pub(super) id: String,
        pub(super) name: String,
        #[serde(default)]
        pub(super) sets: Vec<String>,
        #[serde(default)]
        pub(super) files: Vec<File>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct File {
        pub(super) repository: String,
        pub(super) path: StorePath,
        pub(super) role: Role,
        #[serde(default)]
        pub(super) when: When,
        pub(super) about_bytes: Option<u64>,
        pub(super) size: Option<u64>,
        pub(super) sha256: Option<String>,
        pub(super) sha256_begins: Option<String>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FIVE: [&str; 5] =
        ["streamdiffusionv2", "longlive", "krea-realtime-video", "reward-forcing", "memflow"];

    fn paths(pipeline: &str, settings: &Settings) -> Vec<String> {
        let manifest = Manifest::parse(BUILTIN).unwrap();
        let files = &manifest.pipeline(pipeline).unwrap().files;
        files.iter().filter(|file| file.is_needed(settings)).map(|file| file.local.to_string()).collect()
    }

    #[test]
    fn the_built_in_manifest_has_the_published_pipelines_and_processors() {
        let manifest = Manifest::parse(BUILTIN).unwrap();
        let ids: Vec<_> = manifest.pipelines().iter().map(|pipeline| pipeline.id.as_str()).collect();
        assert_eq!(ids[..5], FIVE);
        assert_eq!(ids[5..], ["scribble", "rife", "optical-flow", "video-depth-anything"]);
        let default = Settings::default();
        assert_eq!(paths("scribble", &default), ["VACE-Annotators/scribble/anime_style/netG_A_latest.pth"]);
        assert_eq!(paths("rife", &default), ["RIFE/flownet.pkl"]);
        assert_eq!(paths("optical-flow", &default), ["RAFT/raft_small_C_T_V2-01064c6d.pth"]);
        let depth = ["Video-Depth-Anything-Small/video_depth_anything_vits.pth"];
        assert_eq!(paths("video-depth-anything", &default), depth);
        let large = Settings { model_size: ModelSize::Large, ..default };
        assert_eq!(paths("optical-flow", &large), ["RAFT/raft_large_C_T_SKHT_V2-ff5fadd5.pth"]);
        for pipeline in &manifest.pipelines()[..5] {
            for role in
                [Role::Config, Role::Generator, Role::Vae, Role::TextEncoder, Role::Tokenizer, Role::Vace]
            {
                let settings = Settings::default();
                let found =
                    pipeline.files.iter().filter(|file| file.role == role && file.is_needed(&settings));
                assert_eq!(found.count(), 1, "{} {role:?}", pipeline.id);
            }
            assert!(pipeline.files.iter().all(|file| file.about_bytes.is_some()), "{}", pipeline.id);
        }
    }

    #[test]
    fn files_lie_where_existing_folders_have_them() {
        assert_eq!(
            paths("longlive", &Settings::default()),
            [
                "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth",
                "Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json",
                "WanVideo_comfy/umt5-xxl-enc-fp8_e4m3fn.safetensors",
                "Wan2.1-T2V-1.3B/config.json",
                "WanVideo_comfy/Wan2_1-VACE_module_1_3B_bf16.safetensors",
                "LongLive-1.3B/models/longlive_base.pt",
                "LongLive-1.3B/models/lora.pt",
            ]
        );
        let krea = paths(
            "krea-realtime-video",
            &Settings { vae_type: VaeType::Tae, vace: false, ..Settings::default() },
        );
        assert_eq!(
            krea,
            [
                "Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json",
                "WanVideo_comfy/umt5-xxl-enc-fp8_e4m3fn.safetensors",
                "Autoencoders/taew2_1.pth",
                "krea-realtime-video/krea-realtime-video-14b.safetensors",
                "Wan2.1-T2V-14B/config.json",
            ]
        );
    }

    #[test]
    fn load_parameters_choose_the_autoencoder_and_the_conditioning() {
        let settings = |value: Value| Settings::from_params(value.as_object().unwrap());
        assert_eq!(settings(json!({})), Settings::default());
        assert_eq!(
            settings(json!({"vae_type": "lighttae", "vace_enabled": false, "model_size": "large"})),
            Settings { vae_type: VaeType::LightTae, vace: false, model_size: ModelSize::Large }
        );
        let wrong = json!({"vae_type": 3, "vace_enabled": "x", "model_size": "huge"});
        assert_eq!(settings(wrong), Settings::default());
    }

    fn document(repository: &str, files: &str) -> String {
        format!("{repository}\n[[pipeline]]\nid = \"p\"\nname = \"P\"\nfiles = [{files}]\n")
    }

    const REPOSITORY: &str = "[[repository]]\nid = \"o/r\"\n";

    #[test]
    fn hostile_and_contradictory_manifests_are_refused() {
        let file = |path: &str| format!("{{ repository = \"o/r\", path = '{path}', role = \"vae\" }}");
        assert!(Manifest::parse(&document(REPOSITORY, &file("a/b.bin"))).is_ok());
        for path in ["../x", "/etc/x", r"a\..\x", "C:x", "a/../../x", ".ssh/key", "a\\u0000"] {
            assert!(Manifest::parse(&document(REPOSITORY, &file(path))).is_err(), "{path}");
        }
        for id in ["r", "o/../r", "o/r/s", "https://h/r", "o/r?x", "../r"] {
            let repository = format!("[[repository]]\nid = \"{id}\"\n");
            let file = file("a").replace("o/r", id);
            assert!(Manifest::parse(&document(&repository, &file)).is_err(), "{id}");
        }
        for server in ["", "h", "ftp://h/", "https://u:p@h/", "https://h/?q", "file:///etc/"] {
            let repository = format!("{REPOSITORY}server = \"{server}\"\n");
            assert!(Manifest::parse(&document(&repository, &file("a"))).is_err(), "{server}");
        }
        let twice = format!("{}, {}", file("a"), file("a"));
        let same_role = format!("{}, {}", file("a"), file("b"));
        let unknown = file("a").replace("o/r", "o/s");
        let hash = file("a").replace(" }", ", sha256 = \"ABC\" }");
        let short = file("a").replace(" }", ", sha256_begins = \"0123abc\" }");
        let upper = file("a").replace(" }", ", sha256_begins = \"0123ABCD\" }");
        for files in [twice, same_role, unknown, hash, short, upper, "{ path = 3 }".into()] {
            assert!(Manifest::parse(&document(REPOSITORY, &files)).is_err(), "{files}");
        }
        assert!(Manifest::parse("[[pipeline]]\nid = \"p\"\nname = \"P\"\nsets = [\"s\"]\n").is_err());
        let clash = "[[repository]]\nid = \"a/r\"\n[[repository]]\nid = \"b/r\"\n\
            [[pipeline]]\nid = \"p\"\nname = \"P\"\nfiles = [{ repository = \"a/r\", path = \"x\", role = \"vae\" }]\n\
            [[pipeline]]\nid = \"q\"\nname = \"Q\"\nfiles = [{ repository = \"b/r\", path = \"x\", role = \"vae\" }]\n";
        assert!(Manifest::parse(clash).unwrap_err().to_string().contains("two different files"));
    }
}
