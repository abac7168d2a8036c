//! `scope generate`: a video without a server, the same one every time.

mod output;
mod sheet;

use crate::cli::{GenerateArgs, Options};
use crate::interrupt::{self, Interrupt};
use crate::model::{self, LocalFiles};
use crate::refusal::Refusal;
use crate::{plugins, settings};
use anyhow::{Context, Result};
use aws_lc_rs::digest;
use output::Outputs;
use scope_frame::{Frame, PixelFormat};
use scope_pipelines::prompt::parse_prompts;
use scope_pipelines::{
    InputMode, ParameterError, PipelineSchema, Place, check_load_parameters, check_parameters,
};
use scope_stream::offline::{Clip, FileClip, Offline, OfflineError, OfflineSpec};
use scope_stream::score::{self, Score};
use scope_stream::script::{Change, Moment, Script};
use scope_stream::timeline::{self, Settings, Timeline};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::num::NonZeroU64;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Frames of a video whose length nobody says.
const FRAMES: u64 = 96;
/// Longest file that is read.
const MAX_BYTES: usize =
    if score::MAX_BYTES > timeline::MAX_BYTES { score::MAX_BYTES } else { timeline::MAX_BYTES };
/// How often the terminal is told how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// What came of it.
struct Summary {
    pipeline: String,
    frames: u64,
    size: (u32, u32),
    /// Time spent in the pipeline.
    took: Duration,
    load: Duration,
    /// How long the video plays.
    length: Duration,
    threads: usize,
    sha256: String,
    outputs: Vec<output::Written>,
    interrupted: bool,
}

pub(crate) fn run(options: &Options, args: &GenerateArgs) -> Result<ExitCode> {
    let timeline = args.timeline.as_deref().map(|path| read(path, Timeline::parse)).transpose()?;
    let score = args.score.as_deref().map(|path| read(path, Score::parse)).transpose()?;
    let machine = settings::from_process(options)?;
    let compute = machine.compute.clone();
    let (registry, _) = plugins::registry(&machine);
    let from_timeline = timeline.as_ref().and_then(|timeline| timeline.pipeline_id.as_deref());
    let from_file = score.as_ref().and_then(|score| score.pipeline_id.as_deref()).or(from_timeline);
    let pipeline = model::pipeline(&registry, options.pipeline.as_deref().or(from_file))?;
    let schema = pipeline.schema();
    let mode = model::mode(&args.model, schema)?;
    let settings = match &score {
        Some(score) => score_settings(score, schema, mode)?,
        None => settings(timeline.as_ref(), schema, mode)?,
    };
    let parameters = model::parameters(&args.model, schema, settings.parameters)?;
    let params = model::load_parameters(&args.model, schema, settings.load)?;
    let script = match &score {
        Some(score) => score.script(schema).map_err(|error| Refusal::input(error.to_string()))?,
        None => script(args, timeline.as_ref(), schema, parameters.contains_key("prompts"))?,
    };
    let destinations = output::destinations(args)?;

    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    // A clip that cannot be read is found before the model is loaded.
    let clip = model::clip(&args.model, false, args.fps.unwrap_or(model::FRAME_RATE))?;
    let (loaded, load) = model::load(&*pipeline, &params)?;
    let generator = loaded.start()?;
    let text_rate = args.fps.or_else(|| generator.frame_rate(mode)).unwrap_or(model::FRAME_RATE);
    let frame_rate = clip.as_ref().map_or(text_rate, FileClip::frame_rate);
    let played = timeline.map(|it| it.duration()).filter(|length| !length.is_zero());
    let limit = args
        .frames
        .map(NonZeroU64::get)
        .or_else(|| score.as_ref().map(|score| score.frames).filter(|frames| *frames > 0))
        .or_else(|| played.map(|length| (length.as_secs_f64() * frame_rate).ceil() as u64));
    // A clip that the video outlasts begins again.
    let clip = if limit.is_some() { model::clip(&args.model, true, text_rate)? } else { clip };
    let limit = limit.or_else(|| clip.is_none().then_some(FRAMES));
    let spec = OfflineSpec {
        mode,
        parameters,
        script,
        frame_rate,
        clip: clip.map(|clip| Box::new(clip) as Clip<'_>),
        assets: &LocalFiles,
        // The hash is one of RGB.
        format: PixelFormat::Rgb8,
    };
    let outputs = destinations.open(frame_rate)?;
    let mut maker = Maker {
        run: Offline::new(generator, spec),
        outputs,
        limit,
        interrupt,
        hash: digest::Context::new(&digest::SHA256),
        frames: 0,
        size: None,
        took: Duration::ZERO,
        end: Duration::ZERO,
    };
    if let Err(error) = maker.make(&schema.id) {
        maker.outputs.abandon();
        return Err(error);
    }
    let summary = maker.finish(&schema.id, load.whole, compute.threads().get())?;
    print(&summary, args.json)?;
    Ok(if summary.interrupted { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
}

/// Reads a file that is no longer than any timeline or score.
fn read<T, E: std::fmt::Display>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, E>) -> Result<T, Refusal> {
    let refuse = |problem: &dyn std::fmt::Display| Refusal::input(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|error| refuse(&error))?;
    let mut bytes = Vec::new();
    // One byte more than fits is enough to see that it does not.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| refuse(&error))?;
    parse(&bytes).map_err(|error| refuse(&error))
}

/// What a score's model was loaded with; says what keeps its frames from being the same.
fn score_settings(score: &Score, schema: &PipelineSchema, mode: InputMode) -> Result<Settings, Refusal> {
    if score.mode == InputMode::Video && mode == InputMode::Text {
        return Err(Refusal::usage("the score was made over a video: name it with --input"));
    }
    if score.pipeline_id.as_deref().is_some_and(|id| id != schema.id) {
        return Err(Refusal::usage(format!("the score was made with another pipeline than {}", schema.id)));
    }
    if let Some(why) = score.why_not.as_deref().filter(|_| !score.exact) {
        writeln!(std::io::stderr(), "scope: these are not the very same frames: {why}").ok();
    }
    // Loading ignores what it does not know; what a client sent along is no reason to refuse.
    let known = |key: &str| key == "base_seed" || schema.place(key) == Place::Load;
    let load = score.load.clone().into_iter().filter(|(key, _)| known(key)).collect();
    Ok(Settings { load, ..Settings::default() })
}

/// A file's settings, where they were made for this pipeline; says which mean nothing here.
fn settings(
    timeline: Option<&Timeline>,
    schema: &PipelineSchema,
    mode: InputMode,
) -> Result<Settings, Refusal> {
    let Some(timeline) = timeline else { return Ok(Settings::default()) };
    let mut notes = Vec::new();
    if timeline.mode.is_some_and(|it| it == InputMode::Video && mode == InputMode::Text) {
        notes.push("the timeline was made over a video; --input names one".to_owned());
    }
    if !timeline.loras.is_empty() {
        notes.push("the timeline's LoRA adapters are left out".to_owned());
    }
    let made_for_it = timeline.pipeline_id.as_deref().is_none_or(|id| id == schema.id);
    let settings = if made_for_it { timeline.settings_for(schema) } else { Settings::default() };
    if !made_for_it {
        notes.push(format!(
            "the timeline was made with another pipeline than {}: only its prompts are played",
            schema.id
        ));
    }
    if !settings.unused.is_empty() {
        notes.push(format!("{} has no {}: left out", schema.id, settings.unused.join(", ")));
    }
    for note in notes {
        writeln!(std::io::stderr(), "scope: {note}").ok();
    }
    let refuse = |problems: Vec<ParameterError>| {
        Refusal::input(model::refused("the timeline's", &problems).to_string())
    };
    check_parameters(settings.parameters.clone(), schema).map_err(refuse)?;
    check_load_parameters(settings.load.clone(), schema).map_err(refuse)?;
    Ok(settings)
}

/// Everything that changes on the way, beginning with the prompts of the first frame.
fn script(
    args: &GenerateArgs,
    timeline: Option<&Timeline>,
    schema: &PipelineSchema,
    has_prompts: bool,
) -> Result<Script, Refusal> {
    let changes = args.changes().map_err(|error| Refusal::usage(format!("--change {error}")))?;
    let asks = !args.prompt.is_empty() || !changes.is_empty() || timeline.is_some();
    if !schema.supports_prompts && asks {
        return Err(Refusal::usage(format!("{} uses no prompts", schema.id)));
    }
    let mut script = timeline.map(Timeline::script).unwrap_or_default();
    let has_others = has_prompts && args.prompt.is_empty();
    if timeline.is_none() && schema.supports_prompts && !has_others {
        let prompts = opening(args, schema)?;
        script.push(Change::new(Moment::Frame(0), map("prompts", prompts)));
    }
    for (when, text) in changes {
        let prompts = json!([{"text": text, "weight": 1.0}]);
        let parameters = match args.transition {
            0 => map("prompts", prompts),
            steps => map("transition", json!({"target_prompts": prompts, "num_steps": steps})),
        };
        let parameters =
            check_parameters(parameters, schema).map_err(|problems| model::refused("--change", &problems))?;
        script.push(Change::new(when.0, parameters));
    }
    let changes = args.parameter_changes();
    for (when, pair) in changes.map_err(|error| Refusal::usage(format!("--change-param {error}")))? {
        let parameters = check_parameters(map(&pair.key, pair.value), schema)
            .map_err(|problems| model::refused("--change-param", &problems))?;
        script.push(Change::new(when.0, parameters));
    }
    Ok(script)
}

fn map(key: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value)])
}

/// The prompts of the first frame.
fn opening(args: &GenerateArgs, schema: &PipelineSchema) -> Result<Value, Refusal> {
    if args.prompt.is_empty() && args.weight.is_empty() {
        return Ok(json!(schema.default_prompt.iter().collect::<Vec<_>>()));
    }
    if !args.weight.is_empty() && args.weight.len() != args.prompt.len() {
        return Err(Refusal::usage(format!(
            "there are {} prompts and {} weights: give each prompt one, or none at all",
            args.prompt.len(),
            args.weight.len()
        )));
    }
    let weights = args.weight.iter().copied().chain(std::iter::repeat(1.0));
    let mix: Vec<Value> = args
        .prompt
        .iter()
        .zip(weights)
        .map(|(text, weight)| json!({"text": text, "weight": weight}))
        .collect();
    let mix = json!(mix);
    parse_prompts(&mix).map_err(|error| Refusal::usage(format!("--prompt {error}")))?;
    Ok(mix)
}

/// A video in the making.
struct Maker<'a> {
    run: Offline<'a>,
    outputs: Outputs,
    limit: Option<u64>,
    interrupt: Interrupt,
    hash: digest::Context,
    frames: u64,
    size: Option<(u32, u32)>,
    took: Duration,
    /// When the last frame is shown.
    end: Duration,
}

impl Maker<'_> {
    fn make(&mut self, pipeline: &str) -> Result<()> {
        let mut progress = Progress::new(self.limit);
        while !self.interrupt.is_raised() && self.limit.is_none_or(|limit| self.frames < limit) {
            let began = Instant::now();
            let chunk = self.run.next_chunk().map_err(|error| match error {
                OfflineError::Clip(error) => {
                    anyhow::Error::from(Refusal::input(format!("the input: {error}")))
                }
                error => anyhow::anyhow!("{pipeline}: {error}"),
            })?;
            self.took += began.elapsed();
            let Some(chunk) = chunk else { break };
            if let Some((key, problem)) = chunk.parameter_problems.first() {
                return Err(Refusal::usage(format!("--param {key}: {problem}")).into());
            }
            let left = self.limit.map_or(usize::MAX, |limit| (limit - self.frames) as usize);
            for frame in chunk.frames.into_iter().take(left) {
                self.take(frame)?;
            }
            progress.show(self.frames, self.took);
        }
        progress.clear();
        Ok(())
    }

    fn take(&mut self, mut frame: Frame) -> Result<(), Refusal> {
        frame.image = frame.image.to_rgb8();
        self.hash.update(frame.image.data());
        self.size.get_or_insert(frame.image.size());
        self.end = Duration::from_micros(frame.captured_at.as_micros());
        self.outputs.write(self.frames, &frame)?;
        self.frames += 1;
        Ok(())
    }

    fn finish(self, pipeline: &str, load: Duration, threads: usize) -> Result<Summary, Refusal> {
        let interrupted = self.interrupt.is_raised();
        let Some(size) = self.size else {
            self.outputs.abandon();
            return Err(Refusal::input(match interrupted {
                true => "stopped before the first frame",
                false => "the input has no frame",
            }));
        };
        let mut sha256 = "sha256:".to_owned();
        for byte in self.hash.finish().as_ref() {
            // Writing to a string cannot fail.
            write!(sha256, "{byte:02x}").ok();
        }
        Ok(Summary {
            pipeline: pipeline.to_owned(),
            frames: self.frames,
            size,
            took: self.took,
            load,
            length: self.end + Duration::from_secs_f64(1.0 / self.run.frame_rate()),
            threads,
            sha256,
            outputs: self.outputs.finish()?,
            interrupted,
        })
    }
}

fn print(summary: &Summary, as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
    let fps = (summary.frames as f64 / summary.took.as_secs_f64().max(1e-9) * 100.0).round() / 100.0;
    let (width, height) = summary.size;
    if as_json {
        let document = json!({
            "pipeline": summary.pipeline,
            "frames": summary.frames,
            "width": width,
            "height": height,
            "seconds": seconds(summary.took),
            "fps": fps,
            "load_seconds": seconds(summary.load),
            "video_seconds": seconds(summary.length),
            "threads": summary.threads,
            "sha256": summary.sha256,
            "outputs": summary.outputs.iter().map(|it| json!({"path": it.path, "bytes": it.bytes})).collect::<Vec<_>>(),
            "interrupted": summary.interrupted,
        });
        return writeln!(out, "{document:#}");
    }
    writeln!(out, "frames   {} of {width}×{height}, {} s of video", summary.frames, seconds(summary.length))?;
    writeln!(
        out,
        "time     {} s, {fps} frames a second; loaded in {} s",
        seconds(summary.took),
        seconds(summary.load)
    )?;
    for written in &summary.outputs {
        writeln!(out, "wrote    {} ({} KiB)", written.path.display(), written.bytes.div_ceil(1024))?;
    }
    if summary.interrupted {
        writeln!(out, "stopped  before the end")?;
    }
    writeln!(out, "{}", summary.sha256)
}

/// How far it is, for whoever sits at the terminal.
struct Progress {
    shown: Option<Instant>,
    limit: Option<u64>,
    is_terminal: bool,
}

impl Progress {
    fn new(limit: Option<u64>) -> Self {
        Self { shown: None, limit, is_terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, frames: u64, took: Duration) {
        if !self.is_terminal || self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let of = self.limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        let fps = frames as f64 / took.as_secs_f64().max(1e-9);
        write!(std::io::stderr(), "\r\x1b[Kframe {frames}{of}, {fps:.1} a second").ok();
    }

    fn clear(&self) {
        if self.shown.is_some() {
            write!(std::io::stderr(), "\r\x1b[K").ok();
        }
    }
}
