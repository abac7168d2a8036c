//! From command line, environment and file to a configuration.

use crate::cli::{DeviceChoice, Options};
use anyhow::{Context, Result, anyhow, bail};
use scope_pipelines::{Accelerator, Compute, Gpu};
use scope_server::ice::{IceConfig, IceServer, Provider};
use scope_server::logs::LogOptions;
use scope_server::{Config, Dirs};
use scope_store::GpuLibraries;
use serde::Deserialize;
use std::env;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The configuration file: the options' names, as keys.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    host: Option<String>,
    port: Option<u16>,
    no_browser: bool,
    token: Option<String>,
    require_token: bool,
    allow_origin: Vec<String>,
    allow_host: Vec<String>,
    models_dir: Option<PathBuf>,
    assets_dir: Option<PathBuf>,
    lora_dir: Option<PathBuf>,
    lora_shared_dir: Option<PathBuf>,
    logs_dir: Option<PathBuf>,
    root: Vec<PathBuf>,
    ice_server: Vec<String>,
    no_stun: bool,
    public_ip: Vec<IpAddr>,
    media_port: Option<u16>,
    max_sessions: Option<usize>,
    max_upload_mb: Option<u64>,
    hf_endpoint: Option<String>,
    download_host: Vec<String>,
    pipeline: Option<String>,
    no_load_ahead: bool,
    threads: Option<NonZeroUsize>,
    device: Option<DeviceChoice>,
    log: Option<String>,
}

/// Everything that was asked for.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) compute: Compute,
    pub(crate) log: LogOptions,
    pub(crate) open_browser: bool,
    /// Whether a supervisor starts us again.
    pub(crate) managed: bool,
}

/// Reads an environment variable; empty ones count as absent.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(crate) fn from_process(options: &Options) -> Result<Settings> {
    let home = env::home_dir().unwrap_or_else(|| ".".into());
    merge(options, &|name| env::var(name).ok().filter(|value| !value.is_empty()), &home)
}

fn merge(options: &Options, env: Env<'_>, home: &Path) -> Result<Settings> {
    let data = options.data_dir.clone().unwrap_or_else(|| home.join(".daydream-scope"));
    let data = std::path::absolute(data)?;
    let file = read_file(options.config.as_deref(), &data)?;
    let mut config = Config::new(&data);
    config.dirs = dirs(options, &file, &data)?;
    config.git_commit = env!("SCOPE_GIT_COMMIT");
    config.version = env!("CARGO_PKG_VERSION");
    config.host = options.host.clone().or(file.host).unwrap_or(config.host);
    config.port = options.port.or(file.port).unwrap_or(config.port);
    config.token = options.token.clone().or(file.token);
    config.require_token = options.require_token || file.require_token;
    config.allow_origins = either(&options.allow_origin, file.allow_origin);
    config.allow_hosts = either(&options.allow_host, file.allow_host);
    config.public_ips = either(&options.public_ip, file.public_ip);
    config.media_port = options.media_port.or(file.media_port).unwrap_or(config.media_port);
    config.max_sessions = options.max_sessions.or(file.max_sessions).unwrap_or(config.max_sessions);
    let upload_mb = options.max_upload_mb.or(file.max_upload_mb);
    config.max_upload_bytes = upload_mb.map_or(config.max_upload_bytes, |mb| mb.saturating_mul(1 << 20));
    config.hf_endpoint = options.hf_endpoint.clone().or(file.hf_endpoint).filter(|url| !url.is_empty());
    config.download_hosts = either(&options.download_host, file.download_host);
    config.preload = options.pipeline.clone().or(file.pipeline).filter(|id| !id.is_empty());
    config.load_ahead = !options.no_load_ahead && !file.no_load_ahead;
    let gpu = Gpu {
        ordinal: 0,
        library_folders: vec![GpuLibraries::folder_in(&data)],
        kernel_cache: Some(data.join("kernels")),
    };
    let compute = Compute {
        threads: options.threads.or(file.threads),
        free_memory: Some(scope_server::hardware::free_memory),
        accelerator: match options.device.or(file.device).unwrap_or_default() {
            DeviceChoice::Auto => Accelerator::IfThere(gpu),
            DeviceChoice::Cpu => Accelerator::None,
            DeviceChoice::Cuda(ordinal) => Accelerator::Needed(Gpu { ordinal, ..gpu }),
        },
    };
    config.ice = ice(&either(&options.ice_server, file.ice_server), options.no_stun || file.no_stun, env)?;
    if config.max_sessions == 0 {
        bail!("max-sessions is 0: nobody could connect");
    }
    let off = ["0", "false", "no"];
    let log = LogOptions {
        verbose: env("VERBOSE_LOGGING").is_some_and(|value| !off.contains(&value.to_lowercase().as_str())),
        quiet: env("SCOPE_LOG_QUIET_LOGGERS").map_or_else(Vec::new, |list| split(&list)),
        directives: options.log.clone().or(file.log),
    };
    // A restarted server has its page open already.
    let open_browser = !options.no_browser && !file.no_browser && env(crate::run::RESTARTED).is_none();
    Ok(Settings { config, compute, log, open_browser, managed: env("DAYDREAM_SCOPE_MANAGED").is_some() })
}

fn dirs(options: &Options, file: &File, data: &Path) -> Result<Dirs> {
    let pick = |option: &Option<PathBuf>, file: &Option<PathBuf>| option.clone().or_else(|| file.clone());
    let mut dirs = Dirs::below(data);
    if let Some(models) = pick(&options.models_dir, &file.models_dir) {
        let models = std::path::absolute(models)?;
        dirs.lora = models.join("lora");
        dirs.assets = models.parent().unwrap_or(&models).join("assets");
        dirs.models = models;
    }
    dirs.assets = pick(&options.assets_dir, &file.assets_dir).unwrap_or(dirs.assets);
    dirs.lora = pick(&options.lora_dir, &file.lora_dir).unwrap_or(dirs.lora);
    dirs.lora_shared = pick(&options.lora_shared_dir, &file.lora_shared_dir);
    dirs.logs = pick(&options.logs_dir, &file.logs_dir).unwrap_or(dirs.logs);
    dirs.extra_roots = either(&options.root, file.root.clone());
    Ok(dirs)
}

/// A list on the command line replaces the file's.
fn either<T: Clone>(options: &[T], file: Vec<T>) -> Vec<T> {
    if options.is_empty() { file } else { options.to_vec() }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn read_file(named: Option<&Path>, data: &Path) -> Result<File> {
    let path = named.map_or_else(|| data.join("scope.toml"), Path::to_owned);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(File::default());
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    toml::from_str(&text).with_context(|| format!("{} has a mistake", path.display()))
}

fn ice(servers: &[String], no_stun: bool, env: Env<'_>) -> Result<IceConfig> {
    let parse = |text: &String| IceServer::parse(text).map_err(|error| anyhow!("--ice-server: {error}"));
    let servers = servers.iter().map(parse).collect::<Result<_>>()?;
    let both = |a: &str, b: &str| env(a).zip(env(b));
    let cloudflare = both("CLOUDFLARE_TURN_KEY_ID", "CLOUDFLARE_TURN_KEY_API_TOKEN")
        .map(|(key_id, api_token)| Provider::Cloudflare { key_id, api_token });
    let twilio = both("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN")
        .map(|(account_sid, auth_token)| Provider::Twilio { account_sid, auth_token });
    let providers = cloudflare.into_iter().chain(twilio).collect();
    Ok(IceConfig { servers, no_stun, providers, ..IceConfig::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn settings(line: &[&str], file: &str, env: Env<'_>) -> Result<Settings> {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("scope.toml"), file).unwrap();
        let data = data.to_str().unwrap().to_owned();
        let line = ["scope", "--data-dir", &data].into_iter().chain(line.iter().copied());
        merge(&Cli::try_parse_from(line).unwrap().options, env, home.path())
    }

    const NOTHING: Env<'_> = &|_| None;

    #[test]
    fn the_command_line_wins_over_the_file_and_that_over_defaults() {
        let file = "port = 1\nallow-host = [\"a\"]\nmax-sessions = 3\n";
        let config = settings(&["--port", "2"], file, NOTHING).unwrap().config;
        assert_eq!((config.port, config.max_sessions, config.host.as_str()), (2, 3, "127.0.0.1"));
        assert_eq!(config.allow_hosts, ["a"]);
        assert_eq!(settings(&["--allow-host", "b"], file, NOTHING).unwrap().config.allow_hosts, ["b"]);
    }

    #[test]
    fn a_mistake_in_the_file_is_named() {
        let error = settings(&[], "prot = 1", NOTHING).unwrap_err();
        assert!(format!("{error:#}").contains("prot"), "{error:#}");
        assert!(settings(&["--config", "/nowhere/scope.toml"], "", NOTHING).is_err());
        assert!(settings(&["--max-sessions", "0"], "", NOTHING).is_err());
        assert!(settings(&["--ice-server", "http://x"], "", NOTHING).is_err());
    }

    #[test]
    fn assets_lie_next_to_the_models() {
        let dirs = settings(&["--models-dir", "/big/models"], "", NOTHING).unwrap().config.dirs;
        assert_eq!((dirs.assets, dirs.lora), ("/big/assets".into(), "/big/models/lora".into()));
    }

    #[test]
    fn turn_services_come_from_the_environment() {
        let env = |name: &str| name.starts_with("TWILIO").then(|| "x".to_owned());
        assert_eq!(settings(&[], "", &env).unwrap().config.ice.providers.len(), 1);
    }

    #[test]
    fn a_restarted_server_opens_no_second_page() {
        assert!(settings(&[], "", NOTHING).unwrap().open_browser);
        assert!(!settings(&["-N"], "", NOTHING).unwrap().open_browser);
        let restarted = |name: &str| (name == crate::run::RESTARTED).then(|| "1".to_owned());
        assert!(!settings(&[], "", &restarted).unwrap().open_browser);
    }
}
