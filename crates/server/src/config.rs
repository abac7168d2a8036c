//! What the server is told at its start. Plain data: where it comes from is the binary's business.

use crate::ice::IceConfig;
use crate::webrtc::Timeouts;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Directories on disk. They are created when needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// Small state: keys, first-run answers.
    pub data: PathBuf,
    /// Model weights.
    pub models: PathBuf,
    /// Uploads: pictures, videos, sounds.
    pub assets: PathBuf,
    /// LoRA adapters.
    pub lora: PathBuf,
    /// More LoRA adapters, never written to.
    pub lora_shared: Option<PathBuf>,
    /// Log files.
    pub logs: PathBuf,
    /// Recordings in progress.
    pub recordings: PathBuf,
    /// Projects of the web interface.
    pub projects: PathBuf,
    /// Installed plugins.
    pub plugins: PathBuf,
    /// Other directories whose files parameters may name.
    pub extra_roots: Vec<PathBuf>,
}

impl Dirs {
    /// The usual layout below `data`.
    pub fn below(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        let models = data.join("models");
        Self {
            lora: models.join("lora"),
            assets: data.join("assets"),
            logs: data.join("logs"),
            recordings: data.join("recordings"),
            projects: data.join("projects"),
            plugins: data.join("plugins"),
            lora_shared: None,
            extra_roots: Vec::new(),
            models,
            data,
        }
    }
}

/// What the server is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name or address to bind to.
    pub host: String,
    /// TCP port; 0 takes any that is free.
    pub port: u16,
    /// Directories.
    pub dirs: Dirs,
    /// The launch token; `None` makes a new one.
    pub token: Option<String>,
    /// Whether local tools need the token as well.
    pub require_token: bool,
    /// Foreign origins whose pages may call.
    pub allow_origins: Vec<String>,
    /// Host names besides the loopback ones and `host`.
    pub allow_hosts: Vec<String>,
    /// STUN and TURN.
    pub ice: IceConfig,
    /// Addresses to offer to peers besides those of this machine (1:1 NAT).
    pub public_ips: Vec<IpAddr>,
    /// UDP port of all media; 0 takes any that is free.
    pub media_port: u16,
    /// When clients are given up.
    pub timeouts: Timeouts,
    /// How long a JSON body, or the next 256 KiB of an upload, may take to arrive.
    pub body_timeout: Duration,
    /// Concurrent sessions.
    pub max_sessions: usize,
    /// Bytes that one upload may have.
    pub max_upload_bytes: u64,
    /// Where Hugging Face's files come from instead: a mirror that the user trusts.
    pub hf_endpoint: Option<String>,
    /// More hosts that files may be redirected to, as `https://HOST[:PORT]`.
    pub download_hosts: Vec<String>,
    /// Pipeline to load in the background after the start.
    pub preload: Option<String>,
    /// Whether the pipeline of newcomers is loaded ahead, unseen, when no other is to be loaded at the start.
    pub load_ahead: bool,
    /// Version of the product.
    pub version: &'static str,
    /// Commit it was built from; `unknown` outside a checkout.
    pub git_commit: &'static str,
}

impl Config {
    /// Defaults with all files below `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8000,
            dirs: Dirs::below(data),
            token: None,
            require_token: false,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            ice: IceConfig::default(),
            public_ips: Vec::new(),
            media_port: 0,
            timeouts: Timeouts::default(),
            body_timeout: Duration::from_secs(30),
            max_sessions: 8,
            max_upload_bytes: 2 << 30,
            hf_endpoint: None,
            download_hosts: Vec::new(),
            preload: None,
            load_ahead: true,
            version: env!("CARGO_PKG_VERSION"),
            git_commit: "unknown",
        }
    }
}
