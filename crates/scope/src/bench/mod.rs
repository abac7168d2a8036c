//! `scope bench`: how fast a pipeline runs on this machine, and what it costs.

mod floor;
mod suite;

use crate::cli::{BenchArgs, Options};
use crate::model::{self, LocalFiles};
use crate::refusal::Refusal;
use crate::{plugins, settings};
use anyhow::{Result, anyhow};
use floor::{Ceilings, Least};
use scope_frame::PixelFormat;
use scope_pipelines::{Cost, Found, Place, Profile, Spent, Work, memory_use, profile};
use scope_stream::offline::{Clip, Offline, OfflineSpec};
use scope_stream::script::Script;
use serde::Serialize;
use serde_json::{Map, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Times of one thing over all chunks, in milliseconds.
#[derive(Debug, Serialize, PartialEq)]
struct Spread {
    median: f64,
    p95: f64,
}

impl Spread {
    /// `None` of no times.
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        // Nearest rank.
        let at = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.max(1) - 1).map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
        };
        Some(Self { median: at(0.5)?, p95: at(0.95)? })
    }
}

#[derive(Debug, Serialize)]
struct Stage {
    name: &'static str,
    #[serde(flatten)]
    time_ms: Spread,
}

/// Where a GPU's time and memory went. The times are of further chunks, in which the GPU waits after each stage.
#[derive(Debug, Serialize)]
struct GpuReport {
    current_mib: f64,
    peak_mib: f64,
    /// A chunk's time from its beginning to its last frame.
    chunk_ms: f64,
    /// A chunk's stages.
    stages_ms: Vec<(&'static str, f64)>,
    /// Kinds of work in a chunk: time on the device, and pieces.
    work_ms: Vec<(&'static str, f64, usize)>,
    /// The same by kernel and by the sizes of a product, the longest first.
    pieces_ms: Vec<(String, f64, usize)>,
    /// What no program can leave out of a chunk.
    least: Least,
    /// What the card does at most.
    ceilings: Option<Ceilings>,
    /// A chunk's time if every product ran at that rate, and every byte else at that of a copy.
    floor_ms: Option<f64>,
}

/// Memory of the process in MiB, where the system tells.
#[derive(Debug, Serialize)]
struct Memory {
    current_mib: f64,
    peak_mib: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    pipeline: String,
    width: u32,
    height: u32,
    /// Compute threads of models on the CPU.
    threads: usize,
    /// What it ran on, in words.
    device: String,
    chunks: usize,
    frames: u64,
    fps: f64,
    load_seconds: f64,
    /// What the pipeline said that it was doing meanwhile.
    load_stages_seconds: Vec<(String, f64)>,
    /// From a loaded model to the frames of the first chunk.
    first_frame_seconds: f64,
    /// From another prompt to the first frames that show it, if it came between two chunks.
    prompt_seconds: Option<f64>,
    chunk_ms: Spread,
    stages_ms: Vec<Stage>,
    gpu: Option<GpuReport>,
    memory: Option<Memory>,
}

/// Chunks before those that are measured.
const WARMUP: u64 = 4;
/// Kernels and sizes of products in a table.
const LISTED_PIECES: usize = 24;

pub(crate) fn run(options: &Options, args: &BenchArgs) -> Result<ExitCode> {
    if args.suite {
        return suite::run(options, args);
    }
    let machine = settings::from_process(options)?;
    let compute = machine.compute.clone();
    let (registry, _) = plugins::registry(&machine);
    let pipeline = model::pipeline(&registry, options.pipeline.as_deref())?;
    let schema = pipeline.schema();
    let mode = model::mode(&args.model, schema)?;
    let mut parameters = model::parameters(&args.model, schema, Map::new())?;
    let mut load = Map::new();
    if args.random_weights {
        if schema.place("random_weights") != Place::Load {
            let text =
                format!("--random-weights is not supported by {}: it has its weights with it", schema.id);
            return Err(Refusal::usage(text).into());
        }
        load.insert("random_weights".into(), json!(true));
    }
    let params = model::load_parameters(&args.model, schema, load)?;
    if schema.supports_prompts {
        let own: Vec<&String> = schema.default_prompt.iter().collect();
        let prompts = if args.prompt.is_empty() { json!(own) } else { json!(args.prompt) };
        parameters.insert("prompts".into(), prompts);
    } else if !args.prompt.is_empty() {
        return Err(Refusal::usage(format!("{} uses no prompts", schema.id)).into());
    }
    let parameters = scope_pipelines::check_parameters(parameters, schema)
        .map_err(|problems| model::refused("--prompt", &problems))?;
    let clip = model::clip(&args.model, true, model::FRAME_RATE)?;
    let (loaded, load_times) = model::load(&*pipeline, &params)?;
    let started = Instant::now();
    let generator = loaded.start()?;
    let frame_rate = generator.frame_rate(mode).unwrap_or(model::FRAME_RATE);
    let clip = clip.map(|clip| Box::new(clip) as Clip<'_>);
    let spec = OfflineSpec {
        mode,
        parameters,
        script: Script::default(),
        frame_rate,
        clip,
        assets: &LocalFiles,
        // As a session asks for them.
        format: PixelFormat::I420,
    };
    let mut run = Offline::new(generator, spec);
    let measured = measure(&mut run, args, started)?;
    let prompt_time = if schema.supports_prompts { Some(change_prompt(&mut run)?) } else { None };
    let found = compute.find();
    let mut gpu = match &found {
        Found::Gpu(_) => gpu_report(&mut run)?,
        Found::Cpu { .. } => None,
    };
    let memory = memory();
    // What measures the card needs some of the memory that the model has.
    drop(run);
    drop(loaded);
    if let Some(gpu) = gpu.as_mut().filter(|_| !args.no_ceilings) {
        gpu.ceilings = compute.ceilings()?.map(Ceilings::from);
        gpu.floor_ms = gpu.ceilings.map(|ceilings| ceilings.floor_ms(&gpu.least));
    }
    let frames = measured.frames;
    let whole: Duration = measured.chunks.iter().sum();
    let nothing = || anyhow!("{} made no frame", schema.id);
    let report = Report {
        pipeline: schema.id.clone(),
        width: measured.size.ok_or_else(nothing)?.0,
        height: measured.size.ok_or_else(nothing)?.1,
        threads: compute.threads().get(),
        device: match (&gpu, found) {
            (Some(_), Found::Gpu(name)) => name,
            _ => format!("{} CPU threads", compute.threads()),
        },
        chunks: measured.chunks.len(),
        frames,
        fps: (frames as f64 / whole.as_secs_f64().max(1e-9) * 100.0).round() / 100.0,
        load_seconds: seconds(load_times.whole),
        load_stages_seconds: load_times
            .stages
            .into_iter()
            .map(|(stage, time)| (stage, seconds(time)))
            .collect(),
        first_frame_seconds: seconds(measured.first.ok_or_else(nothing)?),
        prompt_seconds: prompt_time.map(seconds),
        chunk_ms: Spread::of(measured.chunks).ok_or_else(nothing)?,
        stages_ms: measured
            .stages
            .into_iter()
            .filter_map(|(name, times)| Some(Stage { name, time_ms: Spread::of(times)? }))
            .collect(),
        gpu,
        memory,
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", table(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

#[derive(Default)]
struct Measured {
    size: Option<(u32, u32)>,
    first: Option<Duration>,
    chunks: Vec<Duration>,
    frames: u64,
    stages: Vec<(&'static str, Vec<Duration>)>,
}

fn measure(run: &mut Offline<'_>, args: &BenchArgs, started: Instant) -> Result<Measured> {
    let mut measured = Measured::default();
    let warmup = args.warmup.unwrap_or(WARMUP);
    for index in 0..warmup.saturating_add(args.chunks.get()) {
        let began = Instant::now();
        let Some(chunk) = run.next_chunk()? else { break };
        let took = began.elapsed();
        if let Some(frame) = chunk.frames.first() {
            measured.size = Some(frame.image.size());
            measured.first.get_or_insert_with(|| started.elapsed());
        }
        if index < warmup {
            continue;
        }
        measured.chunks.push(took);
        measured.frames += chunk.frames.len() as u64;
        for (name, time) in chunk.stages {
            match measured.stages.iter_mut().find(|(known, _)| *known == name) {
                Some((_, times)) => times.push(time),
                None => measured.stages.push((name, vec![time])),
            }
        }
    }
    Ok(measured)
}

/// The time of a chunk that brings another prompt.
fn change_prompt(run: &mut Offline<'_>) -> Result<Duration> {
    let prompts = json!([{"text": "a lighthouse in a storm, seen from the sea", "weight": 1.0}]);
    run.change(Map::from_iter([("prompts".to_owned(), prompts)]));
    let began = Instant::now();
    run.next_chunk()?;
    Ok(began.elapsed())
}

/// Some more chunks, with the GPU's own clock; `None` where it did nothing.
fn gpu_report(run: &mut Offline<'_>) -> Result<Option<GpuReport>> {
    const CHUNKS: u32 = 3;
    let memory = memory_use();
    let began = Instant::now();
    let (stages, work) = profile(|| -> Result<_> {
        let mut stages: Vec<(&'static str, Duration)> = Vec::new();
        for _ in 0..CHUNKS {
            let Some(chunk) = run.next_chunk()? else { break };
            for (name, time) in chunk.stages {
                match stages.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, sum)) => *sum += time,
                    None => stages.push((name, time)),
                }
            }
        }
        Ok(stages)
    });
    let took = began.elapsed();
    if work.is_empty() {
        return Ok(None);
    }
    let per_chunk = |time: Duration| ((time / CHUNKS).as_secs_f64() * 1e6).round() / 1e3;
    let mib = |bytes: u64| (bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0;
    let cost: Cost = work.values().map(|spent| spent.cost).sum();
    Ok(Some(GpuReport {
        current_mib: mib(memory.bytes),
        peak_mib: mib(memory.peak),
        chunk_ms: per_chunk(took),
        stages_ms: stages?.into_iter().map(|(name, time)| (name, per_chunk(time))).collect(),
        work_ms: kinds(&work)
            .into_iter()
            .map(|(work, spent)| (work.name(), per_chunk(spent.time), spent.pieces / CHUNKS as usize))
            .collect(),
        pieces_ms: pieces(work)
            .into_iter()
            .map(|(name, spent)| (name, per_chunk(spent.time), spent.pieces / CHUNKS as usize))
            .collect(),
        least: Least::of(cost.over(u64::from(CHUNKS))),
        ceilings: None,
        floor_ms: None,
    }))
}

fn kinds(profile: &Profile) -> BTreeMap<Work, Spent> {
    let mut sums = BTreeMap::<Work, Spent>::new();
    for ((work, _), spent) in profile {
        *sums.entry(*work).or_default() += *spent;
    }
    sums
}

fn pieces(profile: Profile) -> Vec<(String, Spent)> {
    let name = |(work, name): (Work, Cow<'_, str>)| format!("{}: {name}", work.name());
    let mut pieces: Vec<_> = profile.into_iter().map(|(key, sum)| (name(key), sum)).collect();
    pieces.sort_by_key(|(_, spent)| std::cmp::Reverse(spent.time));
    pieces
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{} {}×{}, {}: {} frames a second\n\n",
        report.pipeline, report.width, report.height, report.device, report.fps
    );
    text += &format!("{:<10} {:>10} {:>10}\n", "ms", "median", "p95");
    let chunk = [("chunk", &report.chunk_ms)];
    for (name, spread) in chunk.into_iter().chain(report.stages_ms.iter().map(|it| (it.name, &it.time_ms))) {
        text += &format!("{name:<10} {:>10.3} {:>10.3}\n", spread.median, spread.p95);
    }
    text += &format!(
        "\nover {} chunks, {} frames; loaded in {} s, first frames {} s later\n",
        report.chunks, report.frames, report.load_seconds, report.first_frame_seconds
    );
    for (stage, seconds) in &report.load_stages_seconds {
        text += &format!("  {stage} {seconds} s\n");
    }
    if let Some(seconds) = report.prompt_seconds {
        text += &format!("another prompt is in the frames {seconds} s later\n");
    }
    if let Some(gpu) = &report.gpu {
        text += &format!("\nwith the GPU waiting after each stage, {} ms a chunk\n", gpu.chunk_ms);
        for (name, ms) in gpu.stages_ms.iter().filter(|(_, ms)| *ms > 0.0) {
            text += &format!("{name:<12} {ms:>10.3}\n");
        }
        text += &format!("\n{:<12} {:>10} {:>8}\n", "on the GPU", "ms", "pieces");
        for (name, ms, count) in &gpu.work_ms {
            text += &format!("{name:<12} {ms:>10.3} {count:>8}\n");
        }
        text += &format!("\n{:<44} {:>10} {:>8}\n", "of which", "ms", "pieces");
        for (name, ms, count) in gpu.pieces_ms.iter().take(LISTED_PIECES) {
            text += &format!("{name:<44} {ms:>10.3} {count:>8}\n");
        }
        if let (Some(ceilings), Some(floor)) = (&gpu.ceilings, gpu.floor_ms) {
            let share = floor::share(floor, report.chunk_ms.median);
            text += &format!("\nfloor {floor:.1} ms, {share} of a chunk; {ceilings}\n");
        }
        text += &format!("GPU memory {:.0} MiB, at most {:.0} MiB\n", gpu.current_mib, gpu.peak_mib);
    }
    if let Some(memory) = &report.memory {
        text += &format!("memory {:.0} MiB, at most {:.0} MiB\n", memory.current_mib, memory.peak_mib);
    }
    text
}

/// What the kernel counts as this process's memory, now and at most.
fn memory() -> Option<Memory> {
    parse_memory(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some((kib / 1024.0 * 10.0).round() / 10.0)
    };
    Some(Memory { current_mib: mib("VmRSS")?, peak_mib: mib("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_of_times_that_were_measured() {
        let times = |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(times(&[7])), Some(Spread { median: 7.0, p95: 7.0 }));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(Spread::of(times(&hundred)), Some(Spread { median: 50.0, p95: 95.0 }));
    }

    #[test]
    fn the_kernels_numbers_are_read() {
        let memory = parse_memory("Name:\tscope\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n").unwrap();
        assert_eq!((memory.current_mib, memory.peak_mib), (100.0, 200.0));
        assert!(parse_memory("Name:\tscope\n").is_none());
    }
}
