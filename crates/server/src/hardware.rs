//! What GPU this machine has, asked without linking or loading any of its libraries.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the driver's tool may take: a sick driver can hang it.
const TIMEOUT: Duration = Duration::from_secs(3);

/// One GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    /// Marketing name.
    pub name: String,
    /// Memory in MiB.
    pub memory_mib: f64,
    /// Version of the driver.
    pub driver: String,
}

/// The NVIDIA GPUs that the driver reports, first one first; empty without a driver or GPU.
///
/// Starts a process: not for async threads.
pub fn nvidia_gpus() -> Vec<Gpu> {
    if cfg!(target_os = "linux") && !Path::new("/proc/driver/nvidia/version").exists() {
        return Vec::new();
    }
    let query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"];
    output_of("nvidia-smi", &query).map(|text| parse(&text)).unwrap_or_default()
}

/// Memory that a program could still get, in bytes: of the machine, and within the limit that a container sets. `None` where
/// the system does not say.
pub fn free_memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let free = available(&read("/proc/meminfo")?)?;
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Some(limit.map_or(free, |(limit, used)| free.min(limit.saturating_sub(used))))
}

/// `MemAvailable` of `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What a program prints, when it exists, succeeds and does so in time.
pub fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + TIMEOUT;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                child.kill().ok();
                child.wait().ok();
                return None;
            }
        }
    };
    let mut text = String::new();
    child.stdout.take()?.take(64 << 10).read_to_string(&mut text).ok()?;
    status.success().then_some(text)
}

fn parse(text: &str) -> Vec<Gpu> {
    text.lines()
        .filter_map(|line| {
            let mut columns = line.split(',').map(str::trim);
            Some(Gpu {
                name: columns.next()?.to_owned(),
                memory_mib: columns.next()?.parse().ok()?,
                driver: columns.next()?.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       24613888 kB\nMemFree:  1 kB\nMemAvailable:   1000 kB\n";
        assert_eq!(available(text), Some(1_024_000));
        assert_eq!(available("MemAvailable: many"), None);
    }

    #[test]
    fn the_drivers_table_is_read() {
        let gpus = parse("NVIDIA H100 80GB HBM3, 81559, 570.86.10\nbroken\nB, [N/A], 1\n");
        assert_eq!(gpus.len(), 1);
        assert_eq!((gpus[0].name.as_str(), gpus[0].memory_mib), ("NVIDIA H100 80GB HBM3", 81559.0));
    }

    #[test]
    fn a_missing_program_is_no_error() {
        assert_eq!(output_of("scope-has-no-such-program", &[]), None);
    }
}
