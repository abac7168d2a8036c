//! Getting adapters: from Hugging Face, from CivitAI, from any allowed address, from an upload.

use super::folder::{LoraRecord, describe, is_adapter, without_keys, words_of};
use super::{LoraEntry, LoraError, LoraFolder, LoraSource, Provenance};
use crate::digest::Expected;
use crate::disk::Disk;
use crate::fetch::{self, FetchError, Patience, Retry};
use crate::folder::format_bytes;
use crate::manifest::is_sha256;
use crate::network::{Credential, Network, NetworkError, NetworkOptions, Secrets};
use crate::part::Part;
use crate::path::StorePath;
use crate::schedule::Limits;
use parking_lot::Mutex;
use reqwest::{Method, Url};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// The most bytes that an adapter may have.
const MAX_BYTES: u64 = 8 << 30;
/// Adapters that are fetched at a time.
const MAX_AT_A_TIME: usize = 3;
/// Bytes of CivitAI's answer about a version.
const MAX_ANSWER_BYTES: usize = 2 << 20;

/// What is to be installed.
#[derive(Clone, Debug)]
pub struct InstallRequest {
    /// Where it comes from.
    pub source: LoraSource,
    /// Its name; the source's unless given.
    pub file_name: Option<String>,
    /// A folder below the adapters' folder.
    pub subfolder: Option<String>,
    /// Its checksum, if the user knows it.
    pub expected_sha256: Option<String>,
    /// A key for CivitAI, for this time only.
    pub civitai_key: Option<String>,
}

impl InstallRequest {
    /// The adapter at `source`, under its own name.
    pub const fn new(source: LoraSource) -> Self {
        Self { source, file_name: None, subfolder: None, expected_sha256: None, civitai_key: None }
    }
}

/// An adapter that was installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// Its place in the folder.
    pub place: StorePath,
    /// As listings show it.
    pub entry: LoraEntry,
    /// Its checksum.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
}

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraProgress {
    /// The adapter's place in the folder.
    pub place: StorePath,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that there will be, if known.
    pub total_bytes: Option<u64>,
}

/// A folder of adapters, and what is fetched into it.
pub struct LoraStore {
    folder: LoraFolder,
    network: Network,
    disk: Arc<dyn Disk>,
    limits: Limits,
    patience: Patience,
    places: Semaphore,
    going_on: Mutex<BTreeMap<StorePath, watch::Sender<bool>>>,
}

/// The entry of a download that goes on, for as long as it does.
struct GoingOn<'a> {
    store: &'a LoraStore,
    place: &'a StorePath,
}

impl Drop for GoingOn<'_> {
    fn drop(&mut self) {
        self.store.going_on.lock().remove(self.place);
    }
}

/// Where an adapter's bytes are, and what its source says about it.
struct Resolved {
    url: Url,
    name: String,
    expected: Expected,
    provenance: Provenance,
    trigger_words: Vec<String>,
}

struct OneKey(String);

impl Secrets for OneKey {
    fn key(&self, of: Credential) -> Option<String> {
        (of == Credential::CivitAi).then(|| self.0.clone())
    }
}

impl LoraStore {
    /// A store of the adapters in `folder`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        folder: LoraFolder,
        network: NetworkOptions,
        secrets: Arc<dyn Secrets>,
        disk: Arc<dyn Disk>,
        limits: Limits,
        patience: Patience,
    ) -> Result<Self, NetworkError> {
        let network = Network::new(network, secrets)?;
        Ok(Self {
            folder,
            network,
            disk,
            limits,
            patience,
            places: Semaphore::new(MAX_AT_A_TIME),
            going_on: Mutex::default(),
        })
    }

    /// The folder.
    pub const fn folder(&self) -> &LoraFolder {
        &self.folder
    }

    /// Ends the download of the adapter at `place`; whether there is one. What came is kept for the next attempt, as
    /// after any other break.
    pub fn cancel(&self, place: &StorePath) -> bool {
        self.going_on.lock().get(place).is_some_and(|cancel| !cancel.send_replace(true))
    }

    fn begin<'a>(&'a self, place: &'a StorePath) -> Result<(GoingOn<'a>, watch::Receiver<bool>), FetchError> {
        match self.going_on.lock().entry(place.clone()) {
            Entry::Occupied(_) => Err(FetchError::InUse),
            Entry::Vacant(free) => {
                let (cancel, cancelled) = watch::channel(false);
                free.insert(cancel);
                Ok((GoingOn { store: self, place }, cancelled))
            }
        }
    }

    /// Fetches an adapter, checks it, and gives it its name. A part that an earlier attempt left is resumed when the source says
    /// what the whole should be.
    ///
    /// # Errors
    /// [`LoraError`]. Nothing is left under the adapter's name then, and no file is ever replaced.
    pub async fn install(
        &self,
        request: InstallRequest,
        progress: &(dyn Fn(LoraProgress) + Sync),
    ) -> Result<Installed, LoraError> {
        let _place = self.places.try_acquire().map_err(|_| LoraError::Busy)?;
        let wanted_hash = request.expected_sha256.as_deref().map(str::trim).map(str::to_ascii_lowercase);
        if wanted_hash.as_ref().is_some_and(|hash| !is_sha256(hash)) {
            return Err(LoraError::Request("expected_sha256 has 64 hexadecimal digits".into()));
        }
        let network = match &request.civitai_key {
            Some(key) => self.network.with_secrets(Arc::new(OneKey(key.clone()))),
            None => self.network.clone(),
        };
        let mut resolved = self.resolve(&network, &request.source).await?;
        let told_hash = resolved.expected.sha256.take();
        if told_hash.is_some() && wanted_hash.is_some() && told_hash != wanted_hash {
            return Err(LoraError::Checksum);
        }
        resolved.expected.sha256 = wanted_hash.clone().or(told_hash);
        let place =
            place_of(request.subfolder.as_deref(), request.file_name.as_deref().unwrap_or(&resolved.name))?;
        let target = place.below(self.folder.root());
        if target.exists() {
            return Err(LoraError::Exists(place.to_string()));
        }
        self.check_room(resolved.expected.size).await?;
        let part = self.fetch(&network, &resolved, &place, progress).await.map_err(|error| match error {
            FetchError::WrongChecksum { .. } if wanted_hash.is_some() => LoraError::Checksum,
            error => error.into(),
        })?;
        let Resolved { provenance, trigger_words, .. } = resolved;
        self.keep(part, place, provenance, trigger_words).await
    }

    async fn fetch(
        &self,
        network: &Network,
        resolved: &Resolved,
        place: &StorePath,
        progress: &(dyn Fn(LoraProgress) + Sync),
    ) -> Result<Part, FetchError> {
        let root = self.folder.root().to_owned();
        std::fs::create_dir_all(&root)?;
        let mut request = fetch::Request {
            url: resolved.url.clone(),
            target: place.below(&root),
            root,
            expected: resolved.expected.clone(),
            // Without a checksum nobody could tell whether what is there belongs to this file.
            afresh: !resolved.expected.has_digest(),
            max_bytes: MAX_BYTES,
        };
        let total_bytes = resolved.expected.size;
        let told = |bytes| progress(LoraProgress { place: place.clone(), bytes, total_bytes });
        let (_going_on, mut cancelled) = self.begin(place)?;
        let mut pause = self.limits.first_pause;
        let mut attempts = 1;
        loop {
            let got = fetch::fetch_part(network, &self.patience, &request, &told, cancelled.clone()).await;
            let error = match got {
                Ok(part) => return Ok(part),
                Err(error) => error,
            };
            let wait = match error.retry() {
                Retry::Pause => pause,
                Retry::After(asked) => pause.max(asked),
                Retry::Once if attempts == 1 => pause,
                _ => return Err(error),
            };
            if attempts >= self.limits.attempts {
                return Err(error);
            }
            attempts += 1;
            pause = (pause * 2).min(self.limits.max_pause);
            // What this very download left may be gone on with.
            request.afresh = false;
            if timeout(wait, cancelled.wait_for(|cancelled| *cancelled)).await.is_ok() {
                return Err(FetchError::Cancelled);
            }
        }
    }

    /// Checks a file that is there in full, gives it its name, and writes down what is known about it.
    async fn keep(
        &self,
        part: Part,
        place: StorePath,
        provenance: Provenance,
        trigger_words: Vec<String>,
    ) -> Result<Installed, LoraError> {
        let folder = self.folder.clone();
        blocking(move || {
            let digests = part.digests();
            let described = match describe(part.path()) {
                Ok(described) => described,
                Err(error) => {
                    part.discard()?;
                    return Err(error);
                }
            };
            part.finish_new().map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => LoraError::Exists(place.to_string()),
                _ => error.into(),
            })?;
            let mut record = LoraRecord::new(&place, digests.len, digests.sha256.clone(), provenance);
            record.trigger_words =
                if trigger_words.is_empty() { described.trigger_words } else { trigger_words };
            record.licence = described.licence;
            folder.record(&place, record)?;
            let entry = folder.get(&place).ok_or_else(|| LoraError::NotFound(place.to_string()))?;
            Ok(Installed { entry, sha256: digests.sha256, size_bytes: digests.len, place })
        })
        .await
    }

    async fn check_room(&self, size: Option<u64>) -> Result<(), LoraError> {
        let needed = size.unwrap_or(0).saturating_add(self.limits.spare_bytes);
        let (disk, root) = (Arc::clone(&self.disk), self.folder.root().to_owned());
        let free = tokio::task::spawn_blocking(move || disk.free_bytes(&root)).await;
        match free {
            Ok(Ok(free)) if free < needed => {
                Err(LoraError::DiskFull { needed: format_bytes(needed), free: format_bytes(free) })
            }
            // A system that does not say how much room there is will say when there is none.
            _ => Ok(()),
        }
    }

    async fn resolve(&self, network: &Network, source: &LoraSource) -> Result<Resolved, LoraError> {
        match source {
            LoraSource::HuggingFace { repository, revision, path } => {
                let mut url = network.options().hub.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop_if_empty().extend(repository.split('/')).extend(["resolve", revision]);
                    segments.extend(path.as_str().split('/'));
                }
                let provenance = Provenance {
                    source: "huggingface".into(),
                    repo_id: Some(repository.clone()),
                    hf_filename: Some(path.to_string()),
                    ..Provenance::default()
                };
                // The name is checked before anybody is asked.
                place_of(None, path.file_name())?;
                self.probe(network, url, provenance, path.file_name().to_owned()).await
            }
            LoraSource::Url(url) => {
                let provenance = Provenance {
                    source: "url".into(),
                    url: without_keys(url.as_str()),
                    ..Provenance::default()
                };
                let name = url.path_segments().into_iter().flatten().next_back().unwrap_or("").to_owned();
                self.probe(network, url.clone(), provenance, name).await
            }
            LoraSource::CivitAiVersion(version) => self.civitai(network, *version).await,
            LoraSource::CivitAiModel(model) => {
                #[derive(Deserialize)]
                struct Model {
                    #[serde(rename = "modelVersions")]
                    versions: Vec<Version>,
                }
                #[derive(Deserialize)]
                struct Version {
                    id: u64,
                }
                let model: Model = ask_json(network, &format!("api/v1/models/{model}")).await?;
                let newest = model.versions.first().map(|version| version.id);
                let newest = newest.ok_or_else(|| LoraError::Request("this model has no version".into()))?;
                self.civitai(network, newest).await
            }
        }
    }

    async fn probe(
        &self,
        network: &Network,
        url: Url,
        provenance: Provenance,
        name: String,
    ) -> Result<Resolved, LoraError> {
        let probed = fetch::probe(network, &self.patience, &url).await?;
        let remote = probed.remote;
        let expected = Expected {
            size: remote.size,
            sha256: remote.sha256,
            git_blob: remote.git_blob,
            ..Expected::default()
        };
        let name = probed.file_name.unwrap_or(name);
        Ok(Resolved { url, name, expected, provenance, trigger_words: Vec::new() })
    }

    async fn civitai(&self, network: &Network, version: u64) -> Result<Resolved, LoraError> {
        let version: Version = ask_json(network, &format!("api/v1/model-versions/{version}")).await?;
        let usable = |file: &&VersionFile| is_adapter(std::path::Path::new(&file.name));
        let mut files: Vec<_> = version.files.iter().filter(usable).collect();
        files.sort_by_key(|file| !file.primary);
        let file =
            files.first().ok_or_else(|| LoraError::Request("this version has no safetensors file".into()))?;
        let url = Url::parse(&file.download_url)
            .map_err(|_| LoraError::Request("its download has no address".into()))?;
        let sha256 =
            file.hashes.sha256.as_deref().map(str::to_ascii_lowercase).filter(|hash| is_sha256(hash));
        let provenance = Provenance {
            source: "civitai".into(),
            model_id: version.model_id.map(|id| id.to_string()),
            version_id: Some(version.id.to_string()),
            url: without_keys(url.as_str()),
            ..Provenance::default()
        };
        let expected = Expected { sha256, ..Expected::default() };
        let trigger_words = words_of(version.trained_words.iter().map(String::as_str));
        Ok(Resolved { url, name: file.name.clone(), expected, provenance, trigger_words })
    }

    /// Begins to take an upload of at most `max_bytes`.
    ///
    /// # Errors
    /// [`LoraError`].
    pub async fn begin_upload(&self, name: &str, max_bytes: u64) -> Result<LoraUpload, LoraError> {
        let place = place_of(None, name)?;
        let root = self.folder.root().to_owned();
        blocking(move || {
            std::fs::create_dir_all(&root)?;
            let target = place.below(&root);
            if target.exists() {
                return Err(LoraError::Exists(place.to_string()));
            }
            let part = Part::open(&root, &target, &Expected::default(), true, |_| true)?;
            Ok(LoraUpload { part: Some(part), place, max_bytes })
        })
        .await
    }

    /// Keeps an upload that is whole.
    ///
    /// # Errors
    /// [`LoraError`].
    pub async fn finish_upload(&self, mut upload: LoraUpload) -> Result<Installed, LoraError> {
        let part = upload.part.take().ok_or_else(|| LoraError::Request("the upload is over".into()))?;
        let provenance = Provenance { source: "local".into(), ..Provenance::default() };
        self.keep(part, upload.place.clone(), provenance, Vec::new()).await
    }
}

/// An adapter on its way from the user. Dropped before its end, it leaves nothing behind.
pub struct LoraUpload {
    part: Option<Part>,
    place: StorePath,
    max_bytes: u64,
}

impl LoraUpload {
    /// Takes the next bytes. Waits for the disk: not for async threads.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`], or when the disk refuses.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), LoraError> {
        let Some(part) = &mut self.part else { return Err(LoraError::Request("the upload is over".into())) };
        if part.len() + bytes.len() as u64 > self.max_bytes {
            return Err(FetchError::TooLarge { max: self.max_bytes }.into());
        }
        Ok(part.append(bytes)?)
    }
}

impl Drop for LoraUpload {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            // There is nobody left to tell.
            part.discard().ok();
        }
    }
}

#[derive(Deserialize)]
struct Version {
    id: u64,
    #[serde(rename = "modelId")]
    model_id: Option<u64>,
    #[serde(rename = "trainedWords", default)]
    trained_words: Vec<String>,
    files: Vec<VersionFile>,
}

#[derive(Deserialize)]
struct VersionFile {
    name: String,
    #[serde(rename = "downloadUrl")]
    download_url: String,
    #[serde(default)]
    primary: bool,
    #[serde(default)]
    hashes: Hashes,
}

#[derive(Default, Deserialize)]
struct Hashes {
    #[serde(rename = "SHA256")]
    sha256: Option<String>,
}

/// Asks CivitAI's API.
async fn ask_json<T: serde::de::DeserializeOwned>(network: &Network, path: &str) -> Result<T, LoraError> {
    let url = network.options().civitai.join(path);
    let url = url.map_err(|_| LoraError::Request("CivitAI has no address".into()))?;
    let answer = network.send(Method::GET, &url, 0).await.map_err(FetchError::from)?;
    fetch::check_status(&answer, &Patience::default())?;
    let host = url.host_str().unwrap_or("the server").to_owned();
    let mut response = answer.response;
    let mut text = Vec::new();
    let limit = network.options().answer_timeout;
    let reading = async {
        while let Some(piece) =
            response.chunk().await.map_err(|_| FetchError::Interrupted { host: host.clone() })?
        {
            text.extend_from_slice(&piece);
            if text.len() > MAX_ANSWER_BYTES {
                return Err(FetchError::TooLarge { max: MAX_ANSWER_BYTES as u64 });
            }
        }
        Ok(())
    };
    let silent = FetchError::Stalled { host: host.clone() };
    tokio::time::timeout(limit, reading).await.map_err(|_| silent)??;
    serde_json::from_slice(&text)
        .map_err(|_| LoraError::Request(format!("{host} gave an answer that makes no sense")))
}

/// Where an adapter of this name goes.
fn place_of(subfolder: Option<&str>, name: &str) -> Result<StorePath, LoraError> {
    let refuse = |error: crate::PathError| LoraError::Request(error.to_string());
    let place: StorePath = name.parse().map_err(refuse)?;
    if place.as_str().contains('/') {
        return Err(LoraError::Request("a file name has no slashes; use subfolder".into()));
    }
    if !is_adapter(std::path::Path::new(place.as_str())) {
        return Err(LoraError::Request("adapters are .safetensors files; give a name that ends so".into()));
    }
    match subfolder.filter(|folder| !folder.is_empty()) {
        Some(folder) => folder.parse::<StorePath>().and_then(|folder| folder.join(&place)).map_err(refuse),
        None => Ok(place),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoraError> + Send + 'static,
) -> Result<T, LoraError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(LoraError::Disk(std::io::Error::other(error))),
    }
}
