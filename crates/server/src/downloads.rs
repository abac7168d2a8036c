//! The files of models, as the server offers them: the store with the user's keys and settings, and what pages are told.

use crate::config::Config;
use crate::http::{ApiError, ApiResult};
use crate::{KeyStore, Service};
use axum::http::StatusCode;
use scope_store::{
    Credential, JobState, Limits, ModelFolder, NetworkError, NetworkOptions, Patience, RealDisk, Secrets,
    Settings, Started, Store, StoreError, StoreOptions, Unavailable,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often pages are told how far a download is.
const TELL_EVERY: Duration = Duration::from_millis(500);

impl Secrets for KeyStore {
    fn key(&self, of: Credential) -> Option<String> {
        self.value(match of {
            Credential::HuggingFace => "huggingface",
            Credential::CivitAi => "civitai",
        })
    }
}

/// The store of the models folder that `config` names.
///
/// # Errors
/// When the mirror's address is none, or no HTTP client can be made.
pub fn model_store(config: &Config, keys: Arc<KeyStore>) -> Result<Store, NetworkError> {
    Store::new(StoreOptions {
        folder: ModelFolder::new(&config.dirs.models),
        network: NetworkOptions::public(config.hf_endpoint.as_deref(), &config.download_hosts)?,
        secrets: keys,
        disk: Arc::new(RealDisk),
        limits: Limits::default(),
        patience: Patience::default(),
    })
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::Unavailable(Unavailable::UnknownPipeline(_)) => {
                Self::not_found(detail).with_code("unknown_pipeline")
            }
            StoreError::Unavailable(_) => Self::conflict(detail).with_code("models_missing"),
            StoreError::Downloading(_) => Self::conflict(detail).with_code("download_running"),
            StoreError::Outside(_) => Self::conflict(detail).with_code("outside_folder"),
            _ => Self::internal("the models folder cannot be used; the log has the details", &detail),
        }
    }
}

impl Service {
    /// Whether the weights of a pipeline are on disk, and its download. Pipelines without files have nothing to wait for.
    ///
    /// # Errors
    /// 404 for an unknown pipeline.
    pub async fn model_status(&self, pipeline: &str, settings: Option<Settings>) -> ApiResult<Value> {
        if self.store.folder().manifest().pipeline(pipeline).is_none() {
            self.require_pipeline(pipeline)?;
            return Ok(json!({"downloaded": true, "progress": null}));
        }
        Ok(json!(self.store.status(pipeline, settings).await?))
    }

    /// Begins to download what a pipeline lacks; says what happens.
    ///
    /// # Errors
    /// 404 for an unknown pipeline, 409 when it is being downloaded.
    pub async fn download_models(&self, pipeline: &str, settings: Option<Settings>) -> ApiResult<String> {
        if self.store.folder().manifest().pipeline(pipeline).is_none() {
            self.require_pipeline(pipeline)?;
            return Ok(format!("{pipeline} needs no download"));
        }
        Ok(match self.store.download(pipeline, settings).await? {
            Started::AlreadyThere => format!("everything that {pipeline} needs is there"),
            Started::Downloading { files } => format!("downloading {files} files of {pipeline}"),
        })
    }

    /// Removes the files of a pipeline that no other one needs; what was removed.
    ///
    /// # Errors
    /// 404 for an unknown pipeline, 409 when it is loaded or being downloaded.
    pub async fn remove_models(&self, pipeline: &str) -> ApiResult<Value> {
        if self.models.loaded().iter().any(|node| node.pipeline_id == pipeline) {
            let detail = format!("{pipeline} is loaded; unload it first");
            return Err(ApiError::conflict(detail).with_code("pipeline_loaded"));
        }
        Ok(json!(self.store.remove(pipeline).await?))
    }

    fn require_pipeline(&self, id: &str) -> ApiResult<()> {
        let unknown = || {
            let detail = format!(
                "the pipeline {id:?} does not exist here; GET /api/v1/pipelines/schemas lists those that do"
            );
            ApiError::new(StatusCode::NOT_FOUND, detail).with_code("unknown_pipeline")
        };
        self.models.registry().get(id).map(|_| ()).ok_or_else(unknown)
    }

    /// What pages are told about downloads: one document for each that is remembered.
    pub(crate) fn download_events(&self) -> Vec<Value> {
        self.numbered_downloads().map(|(_, document)| document).collect()
    }

    /// The same with the number of each download.
    fn numbered_downloads(&self) -> impl Iterator<Item = (u64, Value)> {
        self.store.downloads().into_iter().map(|(id, run, state)| {
            let progress = self.store.progress(&id);
            let downloaded = state == JobState::Done;
            let document =
                json!({"pipeline_id": id, "downloaded": downloaded, "state": state, "progress": progress});
            (run, document)
        })
    }

    /// Tells watching pages about downloads, until the server stops.
    pub(crate) async fn watch_downloads(self: Arc<Self>) {
        let mut changes = self.store.changes();
        // With its number: a short download that ends like the one before it is news all the same.
        let mut told: HashMap<String, (u64, Value)> = HashMap::new();
        while changes.changed().await.is_ok() {
            for news in self.numbered_downloads() {
                let id = news.1["pipeline_id"].as_str().unwrap_or_default().to_owned();
                if told.get(&id) != Some(&news) {
                    self.events.send("models", news.1.clone());
                    told.insert(id, news);
                }
            }
            // Progress comes with every megabyte.
            tokio::time::sleep(TELL_EVERY).await;
        }
    }
}
