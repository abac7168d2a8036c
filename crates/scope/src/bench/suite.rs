//! `scope bench --suite`: the large models, one after the other, as a table.
//!
//! Each row is a program of its own, so that memory is counted from nothing and a model that does not fit ends its row only.

use super::floor::{self, Ceilings, Least};
use crate::cli::{BenchArgs, Options};
use crate::model::Size;
use crate::settings;
use anyhow::{Context, Result};
use scope_frame::{Image, PixelFormat};
use scope_media::still;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Chunks before those that are measured: the past that a model looks back on is full then.
const WARMUP: u64 = 10;

struct Row {
    pipeline: &'static str,
    size: Size,
    /// Load parameters.
    load: &'static [&'static str],
    steps: Option<&'static str>,
    /// Works on pictures.
    input: bool,
}

const fn row(pipeline: &'static str, [width, height]: [u32; 2], load: &'static [&'static str]) -> Row {
    Row { pipeline, size: Size { width, height }, load, steps: None, input: false }
}

const TAE: &str = "vae_type=tae";
const FP8: &str = "quantization=fp8_e4m3fn";

const ROWS: &[Row] = &[
    row("longlive", [832, 480], &[]),
    row("longlive", [832, 480], &[FP8]),
    row("longlive", [576, 320], &[]),
    row("longlive", [832, 480], &[TAE]),
    row("longlive", [832, 480], &[TAE, FP8]),
    row("reward-forcing", [576, 320], &[]),
    Row { steps: Some("2"), input: true, ..row("streamdiffusionv2", [512, 512], &[]) },
    Row { steps: Some("2"), input: true, ..row("streamdiffusionv2", [512, 512], &[FP8]) },
    row("krea-realtime-video", [832, 480], &[]),
    row("krea-realtime-video", [832, 480], &[FP8]),
];

impl Row {
    fn name(&self, size: Size) -> String {
        let settings: String =
            self.load.iter().filter_map(|it| it.split('=').nth(1)).map(|it| format!(", {it}")).collect();
        let input = if self.input { ", over a picture" } else { "" };
        format!("{} {}×{}{settings}{input}", self.pipeline, size.width, size.height)
    }

    fn arguments(&self, options: &Options, args: &BenchArgs, picture: &Path) -> (Size, Vec<OsString>) {
        let size = args.model.size.unwrap_or(self.size);
        let mut line: Vec<OsString> =
            ["bench", "--json", "--pipeline", self.pipeline].map(OsString::from).into();
        let mut add = |option: &str, value: OsString| line.extend([option.into(), value]);
        add("--size", format!("{}x{}", size.width, size.height).into());
        add("--chunks", args.chunks.to_string().into());
        add("--warmup", args.warmup.unwrap_or(WARMUP).to_string().into());
        let own = args.model.load.iter().map(|it| format!("{}={}", it.key, it.value));
        let noise = own.clone().any(|it| it.starts_with("random_weights="));
        for parameter in self.load.iter().map(|it| (*it).to_owned()).chain(own) {
            add("--load", parameter.into());
        }
        if let Some(steps) = self.steps {
            add("--steps", steps.into());
        }
        if self.input {
            add("--input", picture.into());
        }
        if let Some(device) = &options.device {
            add("--device", device.to_string().into());
        }
        if let Some(folder) = &options.data_dir {
            add("--data-dir", folder.into());
        }
        if !noise {
            line.push("--random-weights".into());
        }
        line.push("--no-ceilings".into());
        (size, line)
    }
}

/// Runs every row, and prints each as soon as it is there. Rows that fail say why, and the others go on.
pub(super) fn run(options: &Options, args: &BenchArgs) -> Result<ExitCode> {
    let program = std::env::current_exe().context("asking where this program is")?;
    let picture = std::env::temp_dir().join(format!("scope-bench-{}.png", std::process::id()));
    std::fs::write(&picture, still::encode_png(&gradient()?)?).context("writing a picture to work on")?;
    let outcome = rows(options, args, &program, &picture);
    std::fs::remove_file(&picture).ok();
    outcome
}

fn rows(options: &Options, args: &BenchArgs, program: &Path, picture: &Path) -> Result<ExitCode> {
    let compute = settings::from_process(options)?.compute;
    // Once for all rows, so that they are measured by the same; a card that fails here fails in its rows, which say why.
    let ceilings = compute.ceilings().ok().flatten().map(Ceilings::from);
    let mut out = std::io::stdout().lock();
    let mut documents = Vec::new();
    if !args.json {
        write!(out, "{HEAD}")?;
    }
    let mut failed = false;
    for row in ROWS {
        let (size, line) = row.arguments(options, args, picture);
        let name = row.name(size);
        let made = Command::new(program).args(&line).stdin(Stdio::null()).output();
        let made = made.with_context(|| format!("starting {}", program.display()))?;
        let report = serde_json::from_slice::<Value>(&made.stdout).ok().filter(|_| made.status.success());
        if let Some(report) = report {
            let floor_ms = ceilings.and_then(|ceilings| floor_of(&report, &ceilings));
            if !args.json {
                writeln!(out, "{}", line_of(&name, &report, floor_ms))?;
            }
            documents.push(json!({"name": name, "report": report, "floor_ms": floor_ms}));
        } else {
            failed = true;
            let error = String::from_utf8_lossy(&made.stderr);
            let why = error.lines().last().unwrap_or("it ended without a word");
            if !args.json {
                writeln!(out, "| {name} | {why} |")?;
            }
            documents.push(json!({"name": name, "error": why}));
        }
        out.flush()?;
    }
    if args.json {
        writeln!(out, "{:#}", json!({"ceilings": ceilings, "rows": documents}))?;
    } else if let Some(ceilings) = ceilings {
        writeln!(out, "\nThe floor: {ceilings}.")?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A picture that is neither flat nor noise.
fn gradient() -> Result<Image> {
    const SIDE: u32 = 512;
    let pixels = (0..SIDE * SIDE).flat_map(|at| {
        let (x, y) = (at % SIDE, at / SIDE);
        [(x / 2) as u8, (y / 2) as u8, ((x * y) >> 10) as u8]
    });
    Ok(Image::new(PixelFormat::Rgb8, SIDE, SIDE, pixels.collect::<Vec<u8>>())?)
}

const HEAD: &str = "\
| pipeline, size | FPS | of the floor | chunk ms (p95) | encode / steps / clean pass / decode ms | GEMM / attention / convolution / other / gaps ms | GPU MiB | new prompt s | load s |
|---|---|---|---|---|---|---|---|---|
";

/// The floor under a row's chunks.
fn floor_of(report: &Value, ceilings: &Ceilings) -> Option<f64> {
    let least: Least = serde_json::from_value(report["gpu"]["least"].clone()).ok()?;
    Some(ceilings.floor_ms(&least))
}

/// Pictures a second where every chunk takes as long as the median one.
fn steady_fps(report: &Value) -> Option<f64> {
    let [frames, chunks, median] =
        [&report["frames"], &report["chunks"], &report["chunk_ms"]["median"]].map(Value::as_f64);
    Some(frames? / chunks? / median? * 1e3).filter(|fps| fps.is_finite())
}

/// A report as a row. Stages and kinds of work are those of chunks in which the GPU waits after each stage.
fn line_of(name: &str, report: &Value, floor_ms: Option<f64>) -> String {
    let number = |value: &Value| value.as_f64().map_or_else(|| "–".to_owned(), |it| format!("{it:.1}"));
    let pairs = |value: &Value| -> Vec<(String, f64)> {
        let entries = value.as_array().into_iter().flatten();
        entries.filter_map(|it| Some((it[0].as_str()?.to_owned(), it[1].as_f64()?))).collect()
    };
    let gpu = &report["gpu"];
    let stages = if gpu.is_null() {
        let stages = report["stages_ms"].as_array().into_iter().flatten();
        stages.filter_map(|it| Some((it["name"].as_str()?.to_owned(), it["median"].as_f64()?))).collect()
    } else {
        pairs(&gpu["stages_ms"])
    };
    let stage = |wanted: &str| {
        let found = stages.iter().find(|(stage, _)| stage == wanted);
        found.map_or_else(|| "–".to_owned(), |(_, ms)| format!("{ms:.1}"))
    };
    let work = pairs(&gpu["work_ms"]);
    let kind = |wanted: &str| work.iter().find(|(name, _)| name == wanted).map_or(0.0, |(_, ms)| *ms);
    let all: f64 = work.iter().map(|(_, ms)| ms).sum();
    let [gemm, attention, convolution] = ["gemm", "attention", "convolution"].map(kind);
    let chunk = gpu["chunk_ms"].as_f64().unwrap_or(0.0);
    let kinds = if work.is_empty() {
        "–".to_owned()
    } else {
        let (other, gaps) = (all - gemm - attention - convolution, (chunk - all).max(0.0));
        format!("{gemm:.1} / {attention:.1} / {convolution:.1} / {other:.1} / {gaps:.1}")
    };
    let chunk_ms = report["chunk_ms"]["median"].as_f64();
    let share = floor_ms.zip(chunk_ms).map(|(floor, chunk)| floor::share(floor, chunk));
    format!(
        "| {name} | {} | {} | {} ({}) | {} / {} / {} / {} | {kinds} | {} | {} | {} |",
        steady_fps(report).map_or_else(|| "–".to_owned(), |fps| format!("{fps:.1}")),
        share.unwrap_or_else(|| "–".to_owned()),
        number(&report["chunk_ms"]["median"]),
        number(&report["chunk_ms"]["p95"]),
        stage("encode"),
        stage("denoise"),
        stage("clean"),
        stage("decode"),
        gpu["peak_mib"].as_f64().map_or_else(|| "–".to_owned(), |it| format!("{it:.0}")),
        report["prompt_seconds"].as_f64().map_or_else(|| "–".to_owned(), |it| format!("{it:.3}")),
        number(&report["load_seconds"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_a_gpu_becomes_a_row() {
        let report = json!({
            "fps": 35.9, "frames": 96, "chunks": 8, "chunk_ms": {"median": 333.0, "p95": 340.04}, "load_seconds": 2.5, "prompt_seconds": 0.41,
            "gpu": {
                "peak_mib": 11000.4, "chunk_ms": 350.0,
                "stages_ms": [["text", 0.0], ["encode", 1.0], ["denoise", 200.0], ["decode", 90.0], ["clean", 50.0]],
                "work_ms": [["gemm", 90.0, 10], ["attention", 120.0, 10], ["convolution", 70.0, 10], ["norm", 30.0, 5]],
                "least": {
                    "f32_operations": 0, "bf16_operations": 160_000_000_000_000u64, "e4m3_operations": 0,
                    "bytes": 30_000_000_000u64,
                },
            },
        });
        let floor_ms = floor_of(&report, &super::super::floor::tests::card());
        assert_eq!(floor_ms, Some(210.0));
        let rest = "333.0 (340.0) | 1.0 / 200.0 / 50.0 / 90.0 | 90.0 / 120.0 / 70.0 / 30.0 / 40.0 | 11000 | 0.410 | 2.5 |";
        assert_eq!(line_of("a", &report, floor_ms), format!("| a | 36.0 | 63 % | {rest}"));
        assert_eq!(line_of("a", &report, None), format!("| a | 36.0 | – | {rest}"));
        let columns = |line: &str| line.matches('|').count();
        assert!(HEAD.lines().all(|line| columns(line) == columns(&line_of("a", &report, None))));
    }

    #[test]
    fn a_row_of_the_cpu_has_no_floor() {
        let report = json!({"fps": 1.0, "chunk_ms": {"median": 1.0, "p95": 1.0}, "gpu": null});
        assert_eq!(floor_of(&report, &super::super::floor::tests::card()), None);
    }
}
