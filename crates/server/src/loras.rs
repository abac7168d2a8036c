//! LoRA adapters, as the server offers them.

use crate::Service;
use crate::config::Config;
use crate::http::{ApiError, ApiResult, too_large, too_slow};
use crate::service::blocking;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use parking_lot::Mutex;
use scope_store::{
    FetchError, InstallRequest, Installed, Limits, LoraError, LoraFolder, LoraProgress, LoraSource,
    LoraStore, LoraUpload, NetworkError, NetworkOptions, Patience, RealDisk, Secrets, StorePath,
};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;
use utoipa::ToSchema;

/// How often pages are told how far a download is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Bytes gathered before a write.
const PIECE: usize = 256 << 10;

/// The store of the adapters' folder that `config` names.
pub(crate) fn lora_store(config: &Config, keys: Arc<dyn Secrets>) -> Result<LoraStore, NetworkError> {
    LoraStore::new(
        LoraFolder::new(&config.dirs.lora, config.dirs.lora_shared.clone()),
        NetworkOptions::public(config.hf_endpoint.as_deref(), &config.download_hosts)?,
        keys,
        Arc::new(RealDisk),
        Limits::default(),
        Patience::default(),
    )
}

/// An adapter's source, in parts.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct DownloadBody {
    /// `huggingface`, `civitai` or `url`.
    source: String,
    /// Hugging Face repository, `owner/name`.
    repo_id: Option<String>,
    /// File in it.
    hf_filename: Option<String>,
    /// CivitAI model: its newest version.
    model_id: Option<Id>,
    /// CivitAI version.
    version_id: Option<Id>,
    /// Address.
    url: Option<String>,
    /// Folder below the adapters' folder.
    subfolder: Option<String>,
    /// What its SHA-256 should be.
    expected_sha256: Option<String>,
    /// A CivitAI key for this time.
    civitai_token: Option<String>,
}

/// Clients send numbers as numbers and as texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

impl Id {
    fn number(&self) -> ApiResult<u64> {
        let number = match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
        };
        number.ok_or_else(|| ApiError::bad_request("ids of CivitAI are numbers"))
    }
}

impl DownloadBody {
    pub(crate) fn request(self) -> ApiResult<InstallRequest> {
        let missing = |what: &str| ApiError::bad_request(format!("{what} is missing for this source"));
        let source = match self.source.as_str() {
            "huggingface" => {
                let repository = self.repo_id.as_deref().ok_or_else(|| missing("repo_id"))?;
                let file = self.hf_filename.as_deref().ok_or_else(|| missing("hf_filename"))?;
                LoraSource::hugging_face(repository, "main", file)?
            }
            "civitai" => match (&self.version_id, &self.model_id, &self.url) {
                (Some(version), ..) => LoraSource::CivitAiVersion(version.number()?),
                (None, Some(model), _) => LoraSource::CivitAiModel(model.number()?),
                (None, None, Some(url)) => LoraSource::parse(url)?,
                (None, None, None) => return Err(missing("version_id")),
            },
            "url" => LoraSource::parse(self.url.as_deref().ok_or_else(|| missing("url"))?)?,
            _ => return Err(ApiError::bad_request("source is huggingface, civitai or url")),
        };
        Ok(InstallRequest {
            source,
            file_name: None,
            subfolder: self.subfolder,
            expected_sha256: self.expected_sha256.filter(|hash| !hash.is_empty()),
            civitai_key: self.civitai_token.filter(|key| !key.is_empty()),
        })
    }
}

impl From<LoraError> for ApiError {
    fn from(error: LoraError) -> Self {
        let detail = error.to_string();
        match error {
            LoraError::Request(_) | LoraError::NotSafetensors(_) | LoraError::Checksum => {
                Self::bad_request(detail)
            }
            LoraError::NotFound(_) => Self::not_found(detail),
            LoraError::ReadOnly(_) => Self::forbidden(detail),
            LoraError::Exists(_) => Self::conflict(detail),
            LoraError::Busy => Self::busy("adapters"),
            LoraError::DiskFull { .. } | LoraError::Fetch(FetchError::DiskFull) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, detail).with_code("disk_full")
            }
            LoraError::Fetch(FetchError::TooLarge { .. }) => too_large(),
            LoraError::Fetch(error) => {
                let status = match &error {
                    FetchError::NeedsKey { .. } => StatusCode::UNAUTHORIZED,
                    FetchError::Denied { .. } => StatusCode::FORBIDDEN,
                    FetchError::NotFound { .. } => StatusCode::NOT_FOUND,
                    FetchError::Status { status, .. } if (400..500).contains(status) => {
                        StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY)
                    }
                    FetchError::InUse | FetchError::Cancelled => StatusCode::CONFLICT,
                    _ if error.code() == "host_forbidden" => StatusCode::BAD_REQUEST,
                    _ => StatusCode::BAD_GATEWAY,
                };
                Self::new(status, detail).with_code(error.code())
            }
            _ => Self::internal("the adapters' folder cannot be used; the log has the details", &detail),
        }
    }
}

/// A place in the adapters' folder that a client names.
pub(crate) fn place(name: &str) -> ApiResult<StorePath> {
    name.parse().map_err(|error: scope_store::PathError| ApiError::bad_request(error.to_string()))
}

impl Service {
    /// Installs an adapter, and tells watching pages how far it is.
    ///
    /// # Errors
    /// As [`LoraStore::install`].
    pub async fn install_lora(self: &Arc<Self>, request: InstallRequest) -> ApiResult<Installed> {
        let service = Arc::clone(self);
        // On a task of its own: a client that goes away does not leave half a file.
        let installing = tokio::spawn(async move {
            let told = Mutex::new(None::<Instant>);
            let tell = |progress: LoraProgress| {
                let mut told = told.lock();
                if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                    *told = Some(Instant::now());
                    let document = json!({"filename": progress.place, "downloaded_bytes": progress.bytes,
                        "total_bytes": progress.total_bytes});
                    service.events.send("lora_download", document);
                }
            };
            service.loras.install(request, &tell).await
        });
        let mistake =
            |error| ApiError::internal("the server made a mistake; its log has the details", &error);
        Ok(installing.await.map_err(mistake)??)
    }
}

/// Stores a request body as an adapter called `name`.
///
/// # Errors
/// 400 for a bad name or what is no adapter, 408 when it stalls, 409 when the name is taken, 413 when it is too large.
pub(crate) async fn receive(service: &Service, name: &str, mut body: Body) -> ApiResult<Installed> {
    let (max_bytes, patience) = (service.config.max_upload_bytes, service.config.body_timeout);
    if body.size_hint().lower() > max_bytes {
        return Err(too_large());
    }
    let mut upload = service.loras.begin_upload(name, max_bytes).await?;
    let mut piece = BytesMut::with_capacity(PIECE);
    let mut deadline = tokio::time::Instant::now() + patience;
    while let Some(frame) = timeout_at(deadline, body.frame()).await.map_err(|_| too_slow())? {
        let frame = frame.map_err(|_| ApiError::bad_request("the upload broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        piece.extend_from_slice(data);
        if piece.len() >= PIECE {
            upload = append(upload, piece.split()).await?;
            deadline = tokio::time::Instant::now() + patience;
        }
    }
    let upload = append(upload, piece).await?;
    Ok(service.loras.finish_upload(upload).await?)
}

async fn append(mut upload: LoraUpload, piece: BytesMut) -> ApiResult<LoraUpload> {
    Ok(blocking(move || upload.append(&piece).map(|()| upload)).await??)
}
