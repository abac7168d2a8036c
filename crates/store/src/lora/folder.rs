//! LoRA adapters on disk, and what is known about where they came from.

use super::LoraError;
use crate::container;
use crate::digest::Expected;
use crate::fetch::read_digests;
use crate::path::StorePath;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The manifest's name and the version of its format, which other programs share.
const MANIFEST: &str = "lora_manifest.json";
const VERSION: &str = "1.0";
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// What a listing shows, and how deep it looks.
const MAX_LISTED: usize = 10_000;
const MAX_DEPTH: usize = 8;
/// Words that are kept of what a maker wrote.
const MAX_WORDS: usize = 32;
const MAX_WORD_CHARS: usize = 300;

/// Where an adapter came from. Addresses are kept without keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// `huggingface`, `civitai`, `url` or `local`.
    pub source: String,
    /// Hugging Face repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<String>,
    /// File in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hf_filename: Option<String>,
    /// CivitAI model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// CivitAI version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Provenance {
    /// The same without keys in its address.
    ///
    /// # Errors
    /// When the source is none of the known ones.
    pub fn cleaned(mut self) -> Result<Self, LoraError> {
        if !["huggingface", "civitai", "url", "local"].contains(&self.source.as_str()) {
            return Err(LoraError::Request("source is huggingface, civitai, url or local".into()));
        }
        self.url = self.url.as_deref().and_then(without_keys);
        Ok(self)
    }
}

/// An address without user, password and parameters that look like keys; `None` when it is none.
pub(super) fn without_keys(text: &str) -> Option<String> {
    let mut url = reqwest::Url::parse(text).ok()?;
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["token", "key", "secret", "sign", "auth", "password", "credential"]
            .iter()
            .any(|word| name.contains(word))
    };
    let kept: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| !secret(name)).collect();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    Some(url.into())
}

/// What the manifest has about one adapter. Keys that other programs add are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraRecord {
    /// Its place in the folder.
    pub filename: String,
    /// Where it came from.
    pub provenance: Provenance,
    /// Its checksum.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was added, RFC 3339.
    pub added_at: String,
    /// Words that call it up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trigger_words: Vec<String>,
    /// Its licence, where somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Manifest {
    version: String,
    entries: BTreeMap<String, LoraRecord>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// One adapter, as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoraEntry {
    /// File name without its extension.
    pub name: String,
    /// Absolute path; clients send it back in parameters.
    pub path: String,
    /// Size in MiB, rounded to two places.
    pub size_mb: f64,
    /// Folder below the adapters' folder, if any.
    pub folder: Option<String>,
    /// Its checksum, if known.
    pub sha256: Option<String>,
    /// Where it came from, if known.
    pub provenance: Option<Provenance>,
    /// Whether it lies in the shared folder.
    pub read_only: bool,
    /// Words that call it up.
    pub trigger_words: Vec<String>,
    /// Its licence, if known.
    pub licence: Option<String>,
}

/// The folder of adapters, and perhaps another one that is only read. Functions read the disk: not for async threads.
#[derive(Clone, Debug)]
pub struct LoraFolder {
    root: PathBuf,
    shared: Option<PathBuf>,
}

/// What a safetensors file says about itself.
pub(super) struct Described {
    pub(super) trigger_words: Vec<String>,
    pub(super) licence: Option<String>,
}

impl LoraFolder {
    /// The folder `root`, which need not exist, and `shared`.
    pub fn new(root: impl Into<PathBuf>, shared: Option<PathBuf>) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Self { root: absolute(root.into()), shared: shared.map(absolute) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All adapters by folder and name, the shared ones after the user's.
    pub fn list(&self) -> Vec<LoraEntry> {
        let manifest = self.manifest();
        let own = find(&self.root).into_iter().filter_map(|path| self.entry(&path, &manifest));
        let shared = self.shared.iter().flat_map(|root| {
            find(root).into_iter().filter_map(move |path| entry_of(root, &path, None, true))
        });
        let mut all: Vec<_> = own.chain(shared).collect();
        all.sort_by(|a, b| (a.read_only, &a.folder, &a.name).cmp(&(b.read_only, &b.folder, &b.name)));
        all
    }

    fn entry(&self, path: &Path, manifest: &Manifest) -> Option<LoraEntry> {
        let record = manifest.entries.get(&relative(&self.root, path)?);
        entry_of(&self.root, path, record, false)
    }

    /// The entry of the adapter at `place`.
    pub fn get(&self, place: &StorePath) -> Option<LoraEntry> {
        self.entry(&place.below(&self.root), &self.manifest())
    }

    /// Removes an adapter by its name without extension: in the folder, or else in one of its folders. What it was called.
    ///
    /// # Errors
    /// [`LoraError::NotFound`], [`LoraError::ReadOnly`].
    pub fn remove(&self, name: &str) -> Result<String, LoraError> {
        let stem = |path: &Path| path.file_stem().is_some_and(|stem| stem == name);
        let depth =
            |path: &Path| path.strip_prefix(&self.root).map_or(usize::MAX, |it| it.components().count());
        // Whatever is found was listed by ourselves: a name cannot lead elsewhere.
        let mut found: Vec<_> =
            find(&self.root).into_iter().filter(|path| stem(path) && depth(path) <= 2).collect();
        found.sort_by_key(|path| (depth(path), path.clone()));
        let Some(path) = found.first() else {
            let is_shared = self.shared.iter().any(|root| find(root).iter().any(|path| stem(path)));
            let name = name.chars().take(80).collect();
            return Err(if is_shared { LoraError::ReadOnly(name) } else { LoraError::NotFound(name) });
        };
        fs::remove_file(path)?;
        let place = relative(&self.root, path).unwrap_or_default();
        self.change(|entries| drop(entries.remove(&place)))?;
        Ok(place)
    }

    /// Writes down where an adapter came from; its record.
    ///
    /// # Errors
    /// [`LoraError::NotFound`], [`LoraError::Request`].
    pub fn set_provenance(&self, place: &StorePath, provenance: Provenance) -> Result<LoraRecord, LoraError> {
        let provenance = provenance.cleaned()?;
        let path = place.below(&self.root);
        if !is_adapter(&path) || !fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return Err(LoraError::NotFound(place.to_string()));
        }
        let known = self.manifest().entries.remove(place.as_str());
        let size_bytes = fs::metadata(&path)?.len();
        let mut record =
            match known.filter(|known| known.size_bytes == size_bytes && !known.sha256.is_empty()) {
                Some(known) => known,
                None => {
                    let digests = read_digests(&path, &Expected::default(), |_| true)?;
                    let sha256 = digests.map(|digests| digests.sha256).unwrap_or_default();
                    LoraRecord { size_bytes, sha256, added_at: now(), ..LoraRecord::default() }
                }
            };
        record.filename = place.to_string();
        record.provenance = provenance;
        self.record(place, record.clone())?;
        Ok(record)
    }

    pub(super) fn record(&self, place: &StorePath, record: LoraRecord) -> io::Result<()> {
        self.change(|entries| drop(entries.insert(place.to_string(), record)))
    }

    fn manifest(&self) -> Manifest {
        self.read_manifest().unwrap_or_default()
    }

    fn read_manifest(&self) -> Option<Manifest> {
        let mut text = Vec::new();
        let file = File::open(self.root.join(MANIFEST)).ok()?;
        file.take(MAX_MANIFEST_BYTES).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, LoraRecord>)) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(".manifest.lock"))?;
        lock.lock()?;
        let path = self.root.join(MANIFEST);
        let mut manifest = match self.read_manifest() {
            Some(manifest) => manifest,
            None => {
                // One that cannot be read is put aside, not lost.
                if path.exists() {
                    fs::rename(&path, path.with_extension("json.bak"))?;
                }
                Manifest::default()
            }
        };
        change(&mut manifest.entries);
        manifest.version = VERSION.into();
        let temporary = self.root.join(format!(".{MANIFEST}.part"));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
        file.sync_all()?;
        fs::rename(temporary, path)
    }
}

impl LoraRecord {
    pub(super) fn new(place: &StorePath, size_bytes: u64, sha256: String, provenance: Provenance) -> Self {
        let (filename, added_at) = (place.to_string(), now());
        Self { filename, provenance, sha256, size_bytes, added_at, ..Self::default() }
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Whether a file's name is that of an adapter.
pub(super) fn is_adapter(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// Adapters below `root`. Links are followed, but not for ever.
fn find(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let Some(metadata) = fs::metadata(&path).ok().filter(|_| !hidden) else { continue };
            if metadata.is_dir() && depth < MAX_DEPTH && folders.len() < MAX_LISTED {
                folders.push((path, depth + 1));
            } else if metadata.is_file() && is_adapter(&path) {
                found.push(path);
            }
            if found.len() >= MAX_LISTED {
                return found;
            }
        }
    }
    found
}

/// `path` below `root`, with forward slashes.
fn relative(root: &Path, path: &Path) -> Option<String> {
    let parts = path.strip_prefix(root).ok()?.components();
    let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    Some(parts.join("/"))
}

fn entry_of(root: &Path, path: &Path, record: Option<&LoraRecord>, read_only: bool) -> Option<LoraEntry> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    // A record of another file of this name says nothing.
    let record = record.filter(|record| record.size_bytes == metadata.len());
    let folder = relative(root, path.parent()?)?;
    Some(LoraEntry {
        name: path.file_stem()?.to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
        size_mb: (metadata.len() as f64 / 1_048_576.0 * 100.0).round() / 100.0,
        folder: (!folder.is_empty()).then_some(folder),
        sha256: record.map(|record| record.sha256.clone()),
        provenance: record.map(|record| record.provenance.clone()),
        read_only,
        trigger_words: record.map(|record| record.trigger_words.clone()).unwrap_or_default(),
        licence: record.and_then(|record| record.licence.clone()),
    })
}

/// Reads what a safetensors file says about itself.
///
/// # Errors
/// [`LoraError::NotSafetensors`] when it is none, or not whole.
pub(super) fn describe(path: &Path) -> Result<Described, LoraError> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let refuse = |problem: &str| LoraError::NotSafetensors(problem.into());
    let table =
        container::read_table(&mut file)?.ok_or_else(|| refuse("its table of tensors cannot be read"))?;
    match table {
        table if table.length != len => Err(refuse("its length is not what its table says")),
        table if table.tensors == 0 => Err(refuse("it has no tensors")),
        table => {
            let text = |key: &str| table.metadata.get(key).map(String::as_str);
            let words = text("modelspec.trigger_phrase").or_else(|| text("trigger_words")).unwrap_or("");
            Ok(Described {
                trigger_words: words_of(words.split(',')),
                licence: words_of(text("modelspec.license").or_else(|| text("license"))).pop(),
            })
        }
    }
}

/// Words as they may be kept and shown: trimmed, short, few, printable.
pub(super) fn words_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let clean = |word: &str| -> String {
        word.chars().filter(|c| !c.is_control()).take(MAX_WORD_CHARS).collect::<String>().trim().to_owned()
    };
    words.into_iter().map(clean).filter(|word| !word.is_empty()).take(MAX_WORDS).collect()
}
