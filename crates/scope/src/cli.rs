//! The command line. An option given there wins over its environment variable, that over the configuration file.

use crate::model::{KeyValue, Size, Steps, When};
use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU64, NonZeroUsize};
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
    /// Install NVIDIA's runtime libraries, which a GPU needs, from PyPI.
    SetupGpu(crate::setup_gpu::SetupGpuArgs),
    /// Say what this machine can do, and what is missing.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a video without a server, the same one every time.
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(Box<GenerateArgs>),
    /// Measure how fast a pipeline runs on this machine.
    Bench(Box<BenchArgs>),
    /// Print a script that completes commands and options in a shell.
    Completions {
        /// The shell
        shell: Shell,
    },
}

const GENERATE_EXAMPLES: &str = "Examples:
  scope generate --pipeline pocket --prompt \"a dog walking in grass\" -o dog.mp4
  scope generate --pipeline pocket --prompt \"a dog\" --change 3s \"a cat\" --transition 4 -o pets.mp4 -o pets.png
  scope generate --pipeline pocket --input clip.mp4 --prompt \"the sea\" --param noise_scale=0.6 -o sea.mp4
  scope generate --timeline timeline.json --hash-only --json
  scope generate --score show.json -o show.mp4";

/// What `scope generate` and `scope bench` have in common.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// Width and height in pixels [default: the pipeline's]
    #[arg(long, value_name = "WxH")]
    pub(crate) size: Option<Size>,
    /// Seed of the noise [default: the pipeline's]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Denoising steps: how many, or their noise levels [default: the pipeline's]
    #[arg(long, value_name = "N|LEVEL,…")]
    pub(crate) steps: Option<Steps>,
    /// Parameter of every chunk; the value is JSON, or else a text; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) param: Vec<KeyValue>,
    /// Parameter of loading; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) load: Vec<KeyValue>,
    /// Video or picture to work on: video mode
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
}

/// `scope generate`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Video")]
pub(crate) struct GenerateArgs {
    /// What to show; several are blended [default: the pipeline's own]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Vec<String>,
    /// Share of the prompt in the same place, one for each
    #[arg(long, value_name = "NUMBER")]
    pub(crate) weight: Vec<f64>,
    /// Another prompt from a frame (48) or a time (3s) on; may be repeated
    #[arg(long, num_args = 2, value_names = ["WHEN", "TEXT"], action = ArgAction::Append)]
    pub(crate) change: Vec<String>,
    /// Another parameter from a frame or a time on; may be repeated
    #[arg(long, num_args = 2, value_names = ["WHEN", "KEY=VALUE"], action = ArgAction::Append)]
    pub(crate) change_param: Vec<String>,
    /// Chunks over which prompts change; 0 is a cut
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) transition: u32,
    /// Play a timeline or workflow file: its prompts, and its settings where it was made with this pipeline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "weight", "change"])]
    pub(crate) timeline: Option<PathBuf>,
    /// Make the frames of a performance again: a score, as GET /api/v1/sessions/ID/score gives it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["timeline", "prompt", "weight", "change", "change_param", "param"])]
    pub(crate) score: Option<PathBuf>,
    /// Length [default: the timeline's or score's, the input's, or 96 frames]
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<NonZeroU64>,
    /// Frames a second of a video from text or from a picture [default: the pipeline's, or 16]
    #[arg(long, value_name = "NUMBER", value_parser = frame_rate)]
    pub(crate) fps: Option<f64>,
    /// Where it goes: NAME.mp4, NAME.png for a contact sheet, DIR/%05d.png for every frame, - for nowhere; may be repeated
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Vec<PathBuf>,
    /// Pictures of a contact sheet, across and down
    #[arg(long, value_name = "COLSxROWS", default_value = "4x3", help_heading = "Output")]
    pub(crate) sheet: Size,
    /// Write nothing, print the hash
    #[arg(long, help_heading = "Output", conflicts_with = "output")]
    pub(crate) hash_only: bool,
    /// Replace files that exist
    #[arg(long, help_heading = "Output")]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// `scope bench`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Measurement")]
pub(crate) struct BenchArgs {
    /// Chunks that are measured
    #[arg(long, value_name = "N", default_value = "40")]
    pub(crate) chunks: NonZeroU64,
    /// Chunks before those [default: 4; 10 of each row of --suite]
    #[arg(long, value_name = "N")]
    pub(crate) warmup: Option<u64>,
    /// Measure the large models, one after the other, with noise for weights, and print a table
    #[arg(long, conflicts_with_all = ["prompt", "param", "steps", "input", "seed"])]
    pub(crate) suite: bool,
    /// What to show [default: the pipeline's own]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Vec<String>,
    /// Run with weights that are noise, to measure a model that is not here
    #[arg(long)]
    pub(crate) random_weights: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave what the card does at most unmeasured, and with it the floor: a suite has measured it for all of its rows
    #[arg(long, hide = true)]
    pub(crate) no_ceilings: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

impl GenerateArgs {
    /// `--change`, in pairs.
    pub(crate) fn changes(&self) -> Result<Vec<(When, &str)>, String> {
        pairs(&self.change).map(|(when, text)| Ok((when.parse()?, text))).collect()
    }

    /// `--change-param`, in pairs.
    pub(crate) fn parameter_changes(&self) -> Result<Vec<(When, KeyValue)>, String> {
        pairs(&self.change_param).map(|(when, pair)| Ok((when.parse()?, pair.parse()?))).collect()
    }
}

fn pairs(flat: &[String]) -> impl Iterator<Item = (&str, &str)> {
    flat.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()))
}

/// The command line, with the server's options out of sight where they mean nothing.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    let elsewhere = |arg: Arg| {
        let shared =
            ["pipeline", "threads", "device", "data_dir", "config"].iter().any(|id| arg.get_id() == id);
        let hidden = arg.get_help_heading() == Some(SERVER_OPTIONS) && !shared;
        if hidden { arg.hide(true) } else { arg }
    };
    for sub in command.get_subcommands_mut() {
        if ["generate", "bench", "completions"].contains(&sub.get_name()) {
            *sub = std::mem::take(sub).mut_args(elsewhere);
        }
    }
    command
}

const SERVER_OPTIONS: &str = "Server options";

/// Options of the server. All are optional here: the configuration file and the defaults fill in the rest.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = SERVER_OPTIONS)]
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
    /// Pipeline to load at the start, or to run
    #[arg(long, global = true, value_name = "ID", env = "PIPELINE")]
    pub(crate) pipeline: Option<String>,
    /// Do not load the built-in model ahead of the first request
    #[arg(long, global = true, env = "SCOPE_NO_LOAD_AHEAD")]
    pub(crate) no_load_ahead: bool,

    /// Serve the web interface from this folder instead of the built-in one, for work on the page
    #[arg(long, env = "SCOPE_UI_FOLDER", value_name = "FOLDER", hide = true)]
    pub(crate) ui_folder: Option<PathBuf>,
    /// Compute threads of a model on the CPU [default: one less than cores, at most 8]
    #[arg(long, global = true, value_name = "N", env = "SCOPE_THREADS")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// What large models run on: auto (a GPU if there is one that works), cpu, cuda, or cuda:N for another GPU than the first
    #[arg(long, global = true, value_name = "DEVICE", env = "SCOPE_DEVICE", value_parser = device)]
    pub(crate) device: Option<DeviceChoice>,
    /// Log levels per target, e.g. info,scope_stream=debug
    #[arg(long, global = true, value_name = "LEVELS", env = "SCOPE_LOG")]
    pub(crate) log: Option<String>,
}

/// What large models run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum DeviceChoice {
    /// A GPU if there is one that works.
    #[default]
    Auto,
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        device(&text)
    }
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
    match (text, number) {
        ("auto", _) => Ok(DeviceChoice::Auto),
        ("cpu", _) => Ok(DeviceChoice::Cpu),
        ("cuda", _) => Ok(DeviceChoice::Cuda(0)),
        (_, Some(number)) => Ok(DeviceChoice::Cuda(number)),
        _ => Err("write auto, cpu, cuda or cuda:N".into()),
    }
}

fn frame_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=240.0).contains(&rate) => Ok(rate),
        _ => Err("write a number from 0.1 to 240".into()),
    }
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
    fn commands_without_a_server_do_not_show_its_options() {
        for (name, shown) in [("generate", false), ("bench", false), ("serve", true)] {
            let mut command = command();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert_eq!(help.contains("--ice-server"), shown, "{help}");
            assert!(help.contains("--pipeline"), "{help}");
        }
        let line = ["scope", "generate", "--pipeline", "pocket", "--port", "1"];
        assert_eq!(command().try_get_matches_from(line).unwrap().subcommand_name(), Some("generate"));
    }

    #[test]
    fn changes_come_in_pairs_and_prompts_may_hold_anything() {
        let line = [
            "scope",
            "generate",
            "--change",
            "3s",
            "a: b=0.5, c",
            "--change",
            "48",
            "d",
            "--change-param",
            "9",
            "x=1",
        ];
        let Some(Command::Generate(args)) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        let changes = args.changes().unwrap();
        assert_eq!(changes.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["a: b=0.5, c", "d"]);
        assert_eq!(args.parameter_changes().unwrap()[0].1, "x=1".parse().unwrap());
        assert!(Cli::try_parse_from(["scope", "generate", "--change", "3s"]).is_err());
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
