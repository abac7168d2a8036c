//! The command line. An option given there wins over its environment variable, that over the configuration file.

use clap::{Args, Parser, Subcommand};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Version and commit.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("SCOPE_GIT_COMMIT"), ")");

/// Real-time, interactive generative video. Without a command: serve.
#[derive(Debug, Parser)]
#[command(name = "scope", version = VERSION, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the web interface and the API.
    Serve,
    /// List the pipelines.
    Pipelines,
    /// Third-party pipelines: list, install, remove.
    Plugins {
        #[command(subcommand)]
        command: crate::plugins::PluginsCommand,
    },
    /// Look at the files of models, download, verify or remove them.
    Models {
        #[command(subcommand)]
        command: crate::models::ModelsCommand,
    },
    /// Say what this machine can do, and what is missing.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Options of the server. All are optional here: the configuration file and the defaults fill in the rest.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Server options")]
pub(crate) struct Options {
    /// Address to listen on; 0.0.0.0 for all [default: 127.0.0.1]
    #[arg(long, global = true, env = "SCOPE_HOST")]
    pub(crate) host: Option<String>,
    /// TCP port; 0 for any that is free [default: 8000]
    #[arg(long, global = true, env = "SCOPE_PORT")]
    pub(crate) port: Option<u16>,
    /// Do not open a browser
    #[arg(short = 'N', long, global = true)]
    pub(crate) no_browser: bool,
    /// Token that callers must show, instead of a new one at every start
    #[arg(long, global = true, env = "SCOPE_TOKEN", hide_env_values = true, value_parser = token)]
    pub(crate) token: Option<String>,
    /// Ask local tools for the token as well
    #[arg(long, global = true, env = "SCOPE_REQUIRE_TOKEN")]
    pub(crate) require_token: bool,
    /// Foreign origins whose pages may call
    #[arg(long, global = true, help = "Let pages of this origin call, e.g. https://studio.example; may be repeated", value_name = "ORIGIN", env = "SCOPE_ALLOW_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub(crate) allow_origin: Vec<String>,
    /// Answer to this host name as well; may be repeated
    #[arg(long, global = true, value_name = "NAME", env = "SCOPE_ALLOW_HOST", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// Where everything is kept [default: ~/.daydream-scope]
    #[arg(long, global = true, value_name = "DIR", env = "DAYDREAM_SCOPE_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Model weights [default: DATA_DIR/models]
    #[arg(long, global = true, value_name = "DIR", env = "DAYDREAM_SCOPE_MODELS_DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// Uploads [default: next to the models]
    #[arg(long, global = true, value_name = "DIR", env = "DAYDREAM_SCOPE_ASSETS_DIR")]
    pub(crate) assets_dir: Option<PathBuf>,
    /// LoRA adapters [default: MODELS_DIR/lora]
    #[arg(long, global = true, value_name = "DIR", env = "DAYDREAM_SCOPE_LORA_DIR")]
    pub(crate) lora_dir: Option<PathBuf>,
    /// More LoRA adapters, never written to
    #[arg(long, global = true, value_name = "DIR", env = "DAYDREAM_SCOPE_LORA_SHARED_DIR")]
    pub(crate) lora_shared_dir: Option<PathBuf>,
    /// Log files [default: DATA_DIR/logs]
    #[arg(long, global = true, value_name = "DIR", env = "DAYDREAM_SCOPE_LOGS_DIR")]
    pub(crate) logs_dir: Option<PathBuf>,
    /// Let parameters name files below this directory; may be repeated
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Vec<PathBuf>,
    /// Configuration file [default: DATA_DIR/scope.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "SCOPE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// STUN and TURN servers
    #[arg(
        long,
        global = true,
        help = "stun:HOST[:PORT] or turn:USER:PASSWORD@HOST[:PORT]; may be repeated",
        value_name = "URL",
        env = "SCOPE_ICE_SERVER",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    pub(crate) ice_server: Vec<String>,
    /// Name no public STUN server when no other ICE server is known
    #[arg(long, global = true, env = "SCOPE_NO_STUN")]
    pub(crate) no_stun: bool,
    /// Address that peers reach this machine at (1:1 NAT); may be repeated
    #[arg(long, global = true, value_name = "IP", env = "SCOPE_PUBLIC_IP", value_delimiter = ',')]
    pub(crate) public_ip: Vec<IpAddr>,
    /// UDP port of all media; 0 for any that is free [default: 0]
    #[arg(long, global = true, value_name = "PORT", env = "SCOPE_MEDIA_PORT")]
    pub(crate) media_port: Option<u16>,
    /// Sessions at a time [default: 8]
    #[arg(long, global = true, value_name = "N", env = "SCOPE_MAX_SESSIONS")]
    pub(crate) max_sessions: Option<usize>,
    /// Size of one upload in MiB [default: 2048]
    #[arg(long, global = true, value_name = "MIB", env = "SCOPE_MAX_UPLOAD_MB")]
    pub(crate) max_upload_mb: Option<u64>,
    /// Take Hugging Face's files from this mirror
    #[arg(long, global = true, value_name = "URL", env = "HF_ENDPOINT")]
    pub(crate) hf_endpoint: Option<String>,
    /// Let downloads be redirected to this host as well; may be repeated
    #[arg(
        long,
        global = true,
        value_name = "https://HOST",
        env = "SCOPE_DOWNLOAD_HOST",
        value_delimiter = ','
    )]
    pub(crate) download_host: Vec<String>,
    /// Load this pipeline at the start
    #[arg(long, global = true, value_name = "ID", env = "PIPELINE")]
    pub(crate) pipeline: Option<String>,
    /// Do not load the built-in model ahead of the first request
    #[arg(long, global = true, env = "SCOPE_NO_LOAD_AHEAD")]
    pub(crate) no_load_ahead: bool,
    /// Compute threads of a model on the CPU [default: one less than cores, at most 8]
    #[arg(long, global = true, value_name = "N", env = "SCOPE_THREADS")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Log levels per target, e.g. info,scope_stream=debug
    #[arg(long, global = true, value_name = "LEVELS", env = "SCOPE_LOG")]
    pub(crate) log: Option<String>,
}

fn token(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    // Shorter ones are what somebody types who thinks of it as a formality.
    if plain && text.len() >= 8 {
        Ok(text.to_owned())
    } else {
        Err("a token has at least 8 visible ASCII characters".into())
    }
}

fn origin(text: &str) -> Result<String, String> {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = authority
        .is_some_and(|it| !it.trim_end_matches('/').is_empty() && !it.trim_end_matches('/').contains('/'));
    if plain || text == "null" {
        Ok(text.to_owned())
    } else {
        Err("write an origin as browsers do: https://HOST[:PORT], or null".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_work_before_and_after_a_command() {
        for line in [&["scope", "--port", "1", "doctor"][..], &["scope", "doctor", "--port", "1"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap().options.port, Some(1));
        }
    }

    #[test]
    fn origins_and_tokens_are_checked() {
        for bad in ["studio.example", "https://", "https://a/b", "*"] {
            assert!(Cli::try_parse_from(["scope", "--allow-origin", bad]).is_err(), "{bad}");
        }
        assert!(Cli::try_parse_from(["scope", "--allow-origin", "null"]).is_ok());
        assert!(Cli::try_parse_from(["scope", "--token", "short"]).is_err());
    }
}
