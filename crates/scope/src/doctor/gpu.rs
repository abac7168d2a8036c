//! What there is of a GPU and of what it needs.

use super::Check;
use scope_engine::cuda::libraries::{self, Finding, Libraries, Library};
use scope_engine::cuda::{Inspection, Properties, inspect};
use scope_server::hardware;
use scope_store::GpuLibraries;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// How long the driver may take: a sick card can hang it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// bf16 begins here.
const LEAST_CAPABILITY: [u32; 2] = [8, 0];

const SETUP: &str = "run `scope setup-gpu`; see docs/gpu.md";

/// Everything that was found.
pub(crate) struct Gpu {
    libraries: Libraries,
    /// What the driver says, if there is one, or why it says nothing.
    driver: Option<Result<Inspection, String>>,
    /// Cards that only the driver's own tool sees.
    seen_by_tool: Vec<hardware::Gpu>,
}

impl Gpu {
    /// Looks for libraries, with those of the data folder first, and asks the driver.
    pub(crate) fn look(data: &Path) -> Self {
        let libraries = libraries::find(&[GpuLibraries::folder_in(data)]);
        let driver = libraries.driver.found().is_some().then(|| ask(&libraries));
        let seen_by_tool = if driver.is_some() { Vec::new() } else { hardware::nvidia_gpus() };
        Self { libraries, driver, seen_by_tool }
    }

    fn cards(&self) -> &[Properties] {
        match &self.driver {
            Some(Ok(inspection)) => &inspection.cards,
            _ => &[],
        }
    }

    pub(crate) fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.driver()];
        let several = self.cards().len() > 1;
        for (ordinal, card) in self.cards().iter().enumerate() {
            checks.push(check_card(if several { format!("GPU {ordinal}") } else { "GPU".into() }, card));
        }
        let needed = Library::ALL.into_iter().filter(|library| *library != Library::Driver);
        checks.extend(needed.map(|library| self.library(library)));
        checks
    }

    fn driver(&self) -> Check {
        const NAME: &str = "GPU driver";
        let cpu = "models run on the CPU";
        match &self.driver {
            Some(Ok(inspection)) => {
                let [major, minor] = inspection.cuda;
                let version = self.libraries.driver.found().and_then(|found| found.version.as_deref());
                let found =
                    format!("NVIDIA {} · CUDA {major}.{minor}", version.unwrap_or("of an unknown version"));
                if inspection.cards.is_empty() {
                    let found = format!("{found} · shows no GPU: {cpu}");
                    return Check::limited(NAME, found, "in a container, pass the GPU in with --gpus all");
                }
                Check::ok(NAME, found)
            }
            Some(Err(problem)) => Check::limited(
                NAME,
                format!("{problem}: {cpu}"),
                "run nvidia-smi to see why; after an update of the driver, restart the machine",
            ),
            None => match self.seen_by_tool.first() {
                Some(gpu) => Check::limited(
                    NAME,
                    format!("{} is here, but the driver's library libcuda is not: {cpu}", gpu.name),
                    "in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility",
                ),
                None => Check::limited(
                    NAME,
                    format!("none: {cpu}"),
                    "nothing to do for the built-in model; for the large ones, an NVIDIA GPU with its driver: docs/gpu.md",
                ),
            },
        }
    }

    fn library(&self, library: Library) -> Check {
        let name = library.name();
        match self.libraries.get(library) {
            Finding::Found(found) => {
                let version =
                    found.version.as_ref().map_or_else(String::new, |version| format!("{version} · "));
                let place = format!("{version}{}", found.path.display());
                match (cuda_of(library, &found.path), &self.driver) {
                    (Some(major), Some(Ok(inspection))) if major > inspection.cuda[0] => Check::limited(
                        name,
                        format!(
                            "{place} is for CUDA {major}, the driver for CUDA {} at most",
                            inspection.cuda[0]
                        ),
                        "update the driver: CUDA 13 needs release 580 or newer",
                    ),
                    _ => Check::ok(name, place),
                }
            }
            Finding::Missing { .. } if self.cards().is_empty() => {
                Check::ok(name, "not here; only a GPU needs it")
            }
            Finding::Missing { reason, looked_in } => {
                let folders: Vec<_> = looked_in.iter().map(|folder| folder.display().to_string()).collect();
                Check::limited(name, format!("{reason}; looked in {}", folders.join(", ")), SETUP)
            }
        }
    }

    /// The same for programs.
    pub(crate) fn document(&self) -> Value {
        let library = |library: Library| match self.libraries.get(library) {
            Finding::Found(found) => {
                json!({"name": library.name(), "path": found.path, "version": found.version})
            }
            Finding::Missing { looked_in, reason } => {
                json!({"name": library.name(), "path": null, "looked_in": looked_in, "reason": reason})
            }
        };
        let version = |[major, minor]: [u32; 2]| format!("{major}.{minor}");
        let card = |card: &Properties| {
            json!({
                "name": card.name,
                "memory_bytes": card.memory,
                "compute_capability": version(card.capability),
                "multiprocessors": card.multiprocessors,
            })
        };
        let cuda = self.driver.as_ref().and_then(|driver| driver.as_ref().ok()).map(|it| version(it.cuda));
        let problem = self.driver.as_ref().and_then(|driver| driver.as_ref().err());
        json!({
            "cuda": cuda,
            "problem": problem,
            "cards": self.cards().iter().map(card).collect::<Vec<_>>(),
            "libraries": Library::ALL.map(library),
        })
    }
}

/// Asks the driver, and waits for it no longer than [`TIMEOUT`].
fn ask(libraries: &Libraries) -> Result<Inspection, String> {
    let (send, answer) = mpsc::sync_channel(1);
    let libraries = libraries.clone();
    // It ends with the process if it does not end by itself.
    std::thread::spawn(move || send.send(inspect(&libraries).map_err(|error| error.to_string())).ok());
    let silent = |_| format!("the driver has not answered for {} seconds", TIMEOUT.as_secs());
    answer.recv_timeout(TIMEOUT).unwrap_or_else(|error| Err(silent(error)))
}

fn check_card(name: String, card: &Properties) -> Check {
    let [major, minor] = card.capability;
    let gib = card.memory as f64 / f64::from(1 << 30);
    let found = format!("{} · {gib:.0} GiB · compute capability {major}.{minor}", card.name);
    if card.capability < LEAST_CAPABILITY {
        return Check::limited(
            name,
            found,
            "models need compute capability 8.0 or more, and run on the CPU instead",
        );
    }
    Check::ok(name, found)
}

/// The CUDA that a library belongs to, as its file name has it.
fn cuda_of(library: Library, path: &Path) -> Option<u32> {
    if !matches!(library, Library::Nvrtc | Library::CublasLt) {
        return None;
    }
    path.file_name()?.to_str()?.split_once(".so.")?.1.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;
    use scope_engine::cuda::libraries::Found;

    fn found(path: &str, version: &str) -> Finding {
        Finding::Found(Found { path: path.into(), version: Some(version.into()) })
    }

    fn missing() -> Finding {
        Finding::Missing {
            looked_in: vec!["/data/gpu/libraries".into()],
            reason: "no libx.so.13 is there".into(),
        }
    }

    fn card(name: &str, capability: [u32; 2]) -> Properties {
        Properties { name: name.into(), capability, multiprocessors: 1, memory: 80 << 30 }
    }

    fn gpu(nvrtc: Finding, driver: Option<Result<Inspection, String>>) -> Gpu {
        let of_driver = driver.as_ref().map_or_else(missing, |_| found("/lib/libcuda.so.1", "580.65.06"));
        let libraries = Libraries { driver: of_driver, nvrtc, cublas_lt: missing() };
        Gpu { libraries, driver, seen_by_tool: Vec::new() }
    }

    fn check(gpu: &Gpu, name: &str) -> (Outcome, String, String) {
        let check = gpu.checks().into_iter().find(|check| check.name == name).unwrap();
        (check.outcome, check.found, check.advice.unwrap_or_default())
    }

    #[test]
    fn without_a_gpu_the_cpu_is_used_and_no_library_is_missed() {
        let gpu = gpu(missing(), None);
        let (outcome, found, advice) = check(&gpu, "GPU driver");
        assert_eq!((outcome, found.as_str()), (Outcome::Limited, "none: models run on the CPU"));
        assert!(advice.contains("nothing to do for the built-in model"), "{advice}");
        let (outcome, found, _) = check(&gpu, "NVRTC");
        assert_eq!((outcome, found.as_str()), (Outcome::Ok, "not here; only a GPU needs it"));
        assert_eq!(gpu.document()["libraries"][1]["looked_in"][0], "/data/gpu/libraries");
    }

    #[test]
    fn with_a_gpu_missing_libraries_are_told_with_where_was_looked_and_what_to_do() {
        let cards = vec![card("H100", [9, 0]), card("GTX 1080", [6, 1])];
        let gpu = gpu(missing(), Some(Ok(Inspection { cuda: [13, 0], cards })));
        let (outcome, found, advice) = check(&gpu, "NVRTC");
        assert_eq!(outcome, Outcome::Limited);
        assert!(found.contains("libx.so.13") && found.contains("/data/gpu/libraries"), "{found}");
        assert!(advice.contains("scope setup-gpu"), "{advice}");
        assert_eq!(check(&gpu, "GPU driver").1, "NVIDIA 580.65.06 · CUDA 13.0");
        assert_eq!(check(&gpu, "GPU 0").1, "H100 · 80 GiB · compute capability 9.0");
        assert_eq!(check(&gpu, "GPU 1").0, Outcome::Limited);
        assert_eq!(gpu.document()["cards"][1]["compute_capability"], "6.1");
    }

    #[test]
    fn libraries_that_are_newer_than_the_driver_are_told() {
        let inspection = |cuda| Some(Ok(Inspection { cuda, cards: vec![card("A100", [8, 0])] }));
        let library = || found("/x/libnvrtc.so.13", "13.0.88");
        let old = gpu(library(), inspection([12, 4]));
        let (outcome, found, advice) = check(&old, "NVRTC");
        assert_eq!(outcome, Outcome::Limited);
        assert!(found.contains("CUDA 13") && found.contains("CUDA 12") && advice.contains("580"), "{found}");
        assert_eq!(check(&gpu(library(), inspection([13, 0])), "NVRTC").0, Outcome::Ok);
    }

    #[test]
    fn a_driver_that_refuses_or_shows_nothing_says_what_to_do() {
        let refuses = gpu(missing(), Some(Err("system has unsupported display driver".into())));
        let (outcome, found, advice) = check(&refuses, "GPU driver");
        assert_eq!(outcome, Outcome::Limited);
        assert!(found.contains("unsupported display driver: models run on the CPU"), "{found}");
        assert!(advice.contains("nvidia-smi"));
        let empty = gpu(missing(), Some(Ok(Inspection { cuda: [13, 0], cards: Vec::new() })));
        assert!(check(&empty, "GPU driver").2.contains("--gpus all"));
    }
}
