//! Compiles all kernels for all architectures, without a GPU: `cargo xtask kernels`.
//!
//! `kernels LIBRARIES DONE`: NVRTC is looked for below the folder LIBRARIES first. What compiled without a word gets an empty file in
//! the folder DONE, and is not compiled again until its text, its options or the compiler change.

// An example prints and may end early.
#![allow(clippy::print_stdout)]

use scope_engine::cuda::kernels::{self, KernelSource, SOURCES};
use scope_engine::cuda::libraries::{self, Library};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Ampere, its consumer cards, Ada, Hopper, Blackwell, its consumer cards.
const ARCHITECTURES: [&str; 6] = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"];
const THREADS: usize = 2;

/// One variant of one source for one architecture.
struct Job {
    source: &'static KernelSource,
    variant: usize,
    architecture: &'static str,
    /// Its file when it is done.
    done: PathBuf,
}

impl Job {
    fn name(&self) -> String {
        let definitions = self.source.variants[self.variant].join(" ");
        format!("{}.cu {definitions} for {}", self.source.name, self.architecture).replace("  ", " ")
    }

    /// Everything that is wrong, in the compiler's words; warnings count.
    fn compile(&self) -> Result<(), String> {
        let (binary, log) = kernels::compile(self.source, self.variant, self.architecture)
            .map_err(|error| error.to_string())?;
        if !log.is_empty() {
            return Err(log);
        }
        if !binary.starts_with(b"\x7fELF") {
            return Err("the compiler made no binary".to_owned());
        }
        std::fs::write(&self.done, b"").map_err(|error| format!("{}: {error}", self.done.display()))
    }
}

fn main() -> ExitCode {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    let [folder, done] = folders.as_slice() else {
        println!("usage: kernels LIBRARIES DONE");
        return ExitCode::from(2);
    };
    match run(folder, done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, done: &Path) -> Result<(), String> {
    let found = libraries::find(&[folder.to_owned()]);
    found.load_only(&[Library::Nvrtc]).map_err(|error| error.to_string())?;
    let nvrtc = found.nvrtc.found().ok_or("NVRTC is not there")?;
    let version = nvrtc.version.as_deref().unwrap_or("of an unknown version");
    println!("NVRTC {version}, {}", nvrtc.path.display());
    mistakes_are_found()?;
    std::fs::create_dir_all(done).map_err(|error| format!("{}: {error}", done.display()))?;
    let all = jobs(done, version);
    let (total, start) = (all.len(), Instant::now());
    let todo: Vec<Job> = all.into_iter().filter(|job| !job.done.exists()).collect();
    let problems = compile_all(&todo);
    for (name, problem) in &problems {
        println!("\n{name}:\n{problem}");
    }
    println!(
        "{} compiled in {:.1} s, {} known to compile",
        todo.len() - problems.len(),
        start.elapsed().as_secs_f64(),
        total - todo.len()
    );
    match problems.len() {
        0 => Ok(()),
        count => {
            Err(format!("{count} of {total} do not compile without a word, the first: {}", problems[0].0))
        }
    }
}

fn jobs(done: &Path, version: &str) -> Vec<Job> {
    let mut jobs = Vec::new();
    for source in SOURCES {
        let only = source.only.map(|only| [only]);
        for &architecture in only.as_ref().map_or(&ARCHITECTURES[..], |only| &only[..]) {
            for variant in 0..source.variants.len() {
                let fingerprint = kernels::fingerprint(source, variant, architecture);
                let name = format!("{}-{architecture}-{version}-{fingerprint:016x}", source.name);
                jobs.push(Job { source, variant, architecture, done: done.join(name) });
            }
        }
    }
    jobs
}

fn compile_all(jobs: &[Job]) -> Vec<(String, String)> {
    let (next, problems) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let (Err(problem), Ok(mut problems)) = (job.compile(), problems.lock()) {
                        problems.push((job.name(), problem));
                    }
                }
            });
        }
    });
    let mut problems = problems.into_inner().unwrap_or_default();
    problems.sort();
    problems
}

/// A check that finds nothing is worth something only if it finds what is there.
fn mistakes_are_found() -> Result<(), String> {
    static MISTAKE: KernelSource = KernelSource {
        name: "mistake",
        text: "extern \"C\" __global__ void mistake(float* x) {\n    x[0] = y;\n}\n",
        variants: &[&[]],
        work: scope_engine::cuda::Work::Elementwise,
        only: None,
    };
    static WARNING: KernelSource = KernelSource {
        name: "warning",
        text: "extern \"C\" __global__ void warning(float* x) {\n    int unused = 1;\n    x[0] = 1.0f;\n}\n",
        variants: &[&[]],
        work: scope_engine::cuda::Work::Elementwise,
        only: None,
    };
    match kernels::compile(&MISTAKE, 0, "sm_80") {
        Err(error) if error.to_string().contains("mistake.cu(2)") => {}
        other => return Err(format!("a mistake in line 2 is not found: {other:?}")),
    }
    match kernels::compile(&WARNING, 0, "sm_80") {
        Ok((_, log)) if log.contains("warning.cu(2)") => Ok(()),
        other => Err(format!("a warning in line 2 is not heard: {other:?}")),
    }
}
