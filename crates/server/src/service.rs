//! Everything that handlers act on.

use crate::assets::{AssetStore, Sandbox, SandboxedAssets};
use crate::config::Config;
use crate::events::Events;
use crate::hardware::{self, Gpu};
use crate::http::{ApiError, ApiResult};
use crate::ice::{IceConfig, IceServer, IceServers};
use crate::keys::KeyStore;
use crate::logs::LogFile;
use crate::metrics::Metrics;
use crate::onboarding::OnboardingStore;
use crate::projects::ProjectStore;
use crate::renders::Renders;
use crate::security::{Credentials, Gate, Policy, is_loopback_host, load_or_create_key, new_token};
use crate::sessions::Sessions;
use crate::ui::Ui;
use crate::webrtc::WebRtc;
use scope_pipelines::{LoadParams, Registry};
use scope_plugins::Scan;
use scope_store::{LoraStore, Secrets, Store};
use scope_stream::{LoadRequest, ModelManager};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{OnceCell, watch};

/// Why the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// For good.
    Shutdown,
    /// To start again at once.
    Restart,
}

/// The server's state. Handlers are thin shells around its parts.
pub struct Service {
    /// What it was told at the start.
    pub config: Config,
    /// Access control.
    pub gate: Gate,
    /// Uploads.
    pub assets: AssetStore,
    /// Tells other servers on this folder that recordings may be going on.
    _recordings: Option<File>,
    /// Files that parameters name, inside the directories that they may name.
    pub files: Arc<SandboxedAssets>,
    /// The files of models.
    pub store: Arc<Store>,
    /// LoRA adapters.
    pub loras: LoraStore,
    /// Loaded pipelines.
    pub models: Arc<ModelManager>,
    /// Installed plugins, whose pipelines are in the registry.
    pub plugins: Scan,
    /// Running sessions.
    pub sessions: Sessions,
    /// Shows that are rendered again.
    pub(crate) renders: Renders,
    /// Connected clients.
    pub webrtc: WebRtc,
    /// The log, when it could be opened.
    pub log: Option<Arc<LogFile>>,
    /// API keys.
    pub keys: Arc<KeyStore>,
    /// First-run answers.
    pub onboarding: Arc<OnboardingStore>,
    /// Projects of the web interface.
    pub projects: ProjectStore,
    /// Files of the web interface.
    pub ui: Ui,
    /// What is told to watching pages.
    pub events: Events,
    /// Request counters.
    pub metrics: Metrics,
    /// When the server started.
    pub started_at: SystemTime,
    ice: IceServers,
    gpus: OnceCell<Vec<Gpu>>,
    stop: watch::Sender<Option<Stop>>,
}

impl Service {
    /// A service of the pipelines in `registry` that has done nothing yet but read its cookie key.
    ///
    /// # Errors
    /// When the data directory cannot be used, or the system refuses a thread.
    pub fn new(config: Config, registry: Registry, ui: Ui, log: Option<Arc<LogFile>>) -> io::Result<Self> {
        let dirs = &config.dirs;
        std::fs::create_dir_all(&dirs.data)?;
        let key = load_or_create_key(&dirs.data.join("session.key"))?;
        let token = config.token.clone().map_or_else(new_token, Ok)?;
        let roots = [&dirs.assets, &dirs.lora, &dirs.models];
        let roots = roots.into_iter().chain(&dirs.lora_shared).chain(&dirs.extra_roots).cloned();
        let keys = Arc::new(KeyStore::new(&dirs.data, |name| std::env::var(name).ok()));
        let store = crate::model_store(&config, Arc::clone(&keys)).map_err(io::Error::other)?;
        let loras = crate::loras::lora_store(&config, Arc::clone(&keys) as Arc<dyn Secrets>);
        let loras = loras.map_err(io::Error::other)?;
        let assets = AssetStore::new(&dirs.assets);
        Ok(Self {
            gate: Gate::new(policy(&config), Credentials::new(token, &key)),
            _recordings: crate::kept::claim(&dirs.data.join("recordings.lock"), &assets.recordings()),
            assets,
            files: Arc::new(SandboxedAssets::new(Sandbox::new(roots), |bytes| {
                scope_media::still::decode(bytes).map_err(|error| error.to_string())
            })),
            models: ModelManager::with_memory(registry, hardware::free_memory)?,
            plugins: Scan::default(),
            sessions: Sessions::default(),
            renders: Renders::default(),
            webrtc: WebRtc::default(),
            keys,
            store: Arc::new(store),
            loras,
            onboarding: Arc::new(OnboardingStore::new(&dirs.data)),
            projects: ProjectStore::new(&dirs.projects),
            ice: IceServers::new(ice_config(&config)),
            log,
            ui,
            events: Events::default(),
            metrics: Metrics::default(),
            started_at: SystemTime::now(),
            gpus: OnceCell::new(),
            stop: watch::Sender::new(None),
            config,
        })
    }

    /// Names the plugins that the registry's other pipelines come from.
    #[must_use]
    pub fn with_plugins(self, plugins: Scan) -> Self {
        Self { plugins, ..self }
    }

    /// The STUN and TURN servers to use now.
    pub async fn ice_servers(&self) -> Vec<IceServer> {
        let keys = Arc::clone(&self.keys);
        let token = blocking(move || keys.value("huggingface")).await.ok().flatten();
        self.ice.get(token.as_deref(), Instant::now()).await
    }

    /// The GPUs of this machine; asked once.
    pub async fn gpus(&self) -> &[Gpu] {
        self.gpus.get_or_init(|| async { blocking(hardware::nvidia_gpus).await.unwrap_or_default() }).await
    }

    /// The pipeline of those who have chosen none.
    pub fn default_pipeline(&self) -> Option<&str> {
        self.config.preload.as_deref().or_else(|| self.models.registry().newcomer())
    }

    /// Begins to load the default pipeline: for all to see if the configuration names one; else so that nobody sees it who
    /// does not ask for it, because clients expect a server on which nothing is loaded.
    pub fn preload(&self) {
        let Some(id) = self.default_pipeline() else { return };
        let (node_id, pipeline_id) = (id.to_owned(), id.to_owned());
        let request = LoadRequest { node_id, pipeline_id, params: LoadParams::default() };
        if self.config.preload.is_some() {
            if let Err(error) = self.models.load(vec![request]) {
                tracing::error!("nothing is loaded at the start: {error}");
            }
        } else if self.config.load_ahead
            && let Err(error) = self.models.load_ahead(request)
        {
            tracing::warn!("nothing is loaded ahead: {error}");
        }
    }

    /// Stops the server after `delay`, so that the answer to whoever asked still gets out.
    pub fn stop_after(&self, delay: Duration, stop: Stop) {
        let sender = self.stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            sender.send_replace(Some(stop));
        });
    }

    /// Stops the server.
    pub fn stop(&self, stop: Stop) {
        self.stop.send_replace(Some(stop));
    }

    /// Waits until somebody stops the server.
    pub async fn stopped(&self) -> Stop {
        let mut receiver = self.stop.subscribe();
        let stop = receiver.wait_for(Option::is_some).await.map(|stop| *stop);
        // The sender lives in `self`.
        stop.ok().flatten().unwrap_or(Stop::Shutdown)
    }
}

/// Who only serves this machine needs no help of the internet's to be found, and its users' browsers should not ask.
fn ice_config(config: &Config) -> IceConfig {
    let mut ice = config.ice.clone();
    ice.no_stun |= is_loopback_host(&config.host);
    ice
}

fn policy(config: &Config) -> Policy {
    let bound = config.host.trim_matches(['[', ']']).to_ascii_lowercase();
    let any_address = bound.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let origin = |text: &String| text.trim_end_matches('/').to_ascii_lowercase();
    let hosts = config.allow_hosts.iter().map(|text| text.to_ascii_lowercase());
    Policy {
        require_token: config.require_token,
        allow_origins: config.allow_origins.iter().map(origin).collect(),
        hosts: hosts.chain([bound]).collect(),
        any_address,
    }
}

/// Runs `work` on a thread that may wait for disks and processes.
///
/// # Errors
/// 500 when it panics.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    let mistake = |error| ApiError::internal("the server made a mistake; its log has the details", &error);
    tokio::task::spawn_blocking(work).await.map_err(mistake)
}
