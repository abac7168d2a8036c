//! The checks, each on its own.

use super::Check;
use super::gpu::Gpu;
use crate::{browser, ui};
use scope_server::Config;
use scope_server::hardware;
use scope_store::{Disk, RealDisk};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// Less than this and long recordings or downloads end early.
const LOW_DISK_GIB: f64 = 5.0;
/// Less than this and larger pipelines do not fit.
const LOW_MEMORY_GIB: f64 = 4.0;

pub(crate) fn all(config: &Config, gpu: &Gpu) -> Vec<Check> {
    let mut checks = vec![system(), cpu(), memory()];
    checks.extend(gpu.checks());
    checks.extend([ffmpeg(), interface()]);
    let dirs = &config.dirs;
    for (name, dir) in [
        ("data directory", &dirs.data),
        ("models directory", &dirs.models),
        ("assets directory", &dirs.assets),
        ("logs directory", &dirs.logs),
    ] {
        checks.push(directory(name, dir));
    }
    checks.push(disk("disk space", &dirs.data));
    if !dirs.models.starts_with(&dirs.data) {
        checks.push(disk("models disk", &dirs.models));
    }
    checks.extend([port(config), udp(), screen()]);
    checks
}

fn system() -> Check {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = Some(kernel.trim()).filter(|it| !it.is_empty()).map(|it| format!(" · kernel {it}"));
    let found = format!("{name} · {}{}", std::env::consts::ARCH, kernel.unwrap_or_default());
    if cfg!(target_os = "linux") {
        return Check::ok("system", found);
    }
    Check::limited("system", found, "Scope is tested on Linux; say what does not work here")
}

fn cpu() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("", |(_, it)| it.trim());
    let (simd, fast) = simd();
    let found = format!("{model} · {cores} cores · {simd}").trim_start_matches(" · ").to_owned();
    match (fast, cores) {
        (true, 4..) => Check::ok("processor", found),
        (true, _) => Check::limited(
            "processor",
            found,
            "with four cores or more, encoding and generating do not share one",
        ),
        (false, _) => {
            Check::limited("processor", found, "a processor with AVX2 or NEON is several times faster")
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn simd() -> (String, bool) {
    let fast = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    let known = [("AVX2", fast), ("AVX-512", std::is_x86_feature_detected!("avx512f"))];
    let names: Vec<_> = known.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    (if names.is_empty() { "SSE2 only".into() } else { names.join(", ") }, fast)
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> (String, bool) {
    let neon = cfg!(target_arch = "aarch64");
    (if neon { "NEON".into() } else { "no SIMD".into() }, neon)
}

fn memory() -> Check {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> Option<f64> {
        let kib = info.lines().find_map(|line| line.strip_prefix(name))?.trim().split(' ').next()?;
        Some(kib.parse::<f64>().ok()? / f64::from(1 << 20))
    };
    let (Some(total), Some(free)) = (field("MemTotal:"), field("MemAvailable:")) else {
        return Check::limited("memory", "unknown on this system", "make sure that 4 GiB are free");
    };
    let found = format!("{free:.1} of {total:.1} GiB available");
    if free < LOW_MEMORY_GIB {
        return Check::limited("memory", found, "close other programs before loading large pipelines");
    }
    Check::ok("memory", found)
}

fn ffmpeg() -> Check {
    match hardware::output_of("ffmpeg", &["-version"]) {
        Some(text) => Check::ok(
            "ffmpeg",
            text.lines().next().unwrap_or("found").split(" Copyright").next().unwrap_or(""),
        ),
        None => Check::limited(
            "ffmpeg",
            "not found",
            "needed to play video files of all kinds; install it with your package manager (apt install ffmpeg, brew install ffmpeg)",
        ),
    }
}

fn interface() -> Check {
    let bytes: usize = ui::UI.0.iter().map(|file| file.body.len()).sum();
    Check::ok("web interface", format!("{} files, {} KiB, built in", ui::UI.0.len(), bytes >> 10))
}

/// Whether files can be created in `dir`, or `dir` in its parents.
fn directory(name: &'static str, dir: &Path) -> Check {
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let created: Vec<_> = dir.ancestors().take_while(|it| !it.exists()).map(Path::to_owned).collect();
    let tried = fs::create_dir_all(dir).and_then(|()| fs::write(&probe, b"x"));
    fs::remove_file(&probe).ok();
    // Leave no trace: asking must not set anything up.
    for dir in created {
        fs::remove_dir(dir).ok();
    }
    match tried {
        Ok(()) => Check::ok(name, dir.display().to_string()),
        Err(error) => Check::failed(
            name,
            format!("{} cannot be written: {error}", dir.display()),
            "change its permissions, or choose another with --data-dir, --models-dir, --assets-dir or --logs-dir",
        ),
    }
}

fn disk(name: &'static str, dir: &Path) -> Check {
    match RealDisk.free_bytes(dir).map(|bytes| bytes as f64 / f64::from(1 << 30)) {
        Err(_) => Check::limited(name, "unknown on this system", "make sure that some GiB are free"),
        Ok(gib) if gib < LOW_DISK_GIB => Check::limited(
            name,
            format!("{gib:.1} GiB free"),
            "free some space, or choose another disk with --data-dir or --models-dir",
        ),
        Ok(gib) => Check::ok(name, format!("{gib:.0} GiB free")),
    }
}

fn port(config: &Config) -> Check {
    let (host, port) = (config.host.trim_matches(['[', ']']), config.port);
    match TcpListener::bind((host, port)) {
        Ok(_) => Check::ok("port", format!("{host}:{port} is free")),
        Err(error) => Check::failed(
            "port",
            format!("{host}:{port} cannot be used: {error}"),
            "stop the other program (perhaps Scope is running already), or choose another with --port",
        ),
    }
}

/// Media goes over UDP.
fn udp() -> Check {
    let echo = || -> std::io::Result<bool> {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        b.set_read_timeout(Some(Duration::from_secs(1)))?;
        a.send_to(b"scope", b.local_addr()?)?;
        let mut buffer = [0; 16];
        let (len, from) = b.recv_from(&mut buffer)?;
        Ok(&buffer[..len] == b"scope" && from == a.local_addr()?)
    };
    match echo() {
        Ok(true) => Check::ok("UDP", "packets arrive on the loopback interface"),
        Ok(false) => Check::failed(
            "UDP",
            "packets are changed on their way",
            "look for a program that redirects traffic",
        ),
        Err(error) => Check::failed(
            "UDP",
            error.to_string(),
            "video needs UDP: look at firewall rules and container settings",
        ),
    }
}

fn screen() -> Check {
    if browser::has_screen() {
        return Check::ok("screen", "a browser can be opened");
    }
    Check::limited(
        "screen",
        "none",
        "open the printed address on another machine; over SSH: ssh -L 8000:localhost:8000 HOST",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn looking_at_a_directory_leaves_no_trace() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        assert_eq!(directory("data directory", &dir).outcome, Outcome::Ok);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_unusable_directory_and_a_taken_port_are_failures() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), b"x").unwrap();
        assert_eq!(directory("data directory", &home.path().join("file/below")).outcome, Outcome::Failed);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::new(home.path());
        config.port = taken.local_addr().unwrap().port();
        assert_eq!(port(&config).outcome, Outcome::Failed);
    }

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parents() {
        let home = tempfile::tempdir().unwrap();
        for dir in [home.path(), &home.path().join("a/b")] {
            let found = disk("disk space", dir).found;
            assert!(found.ends_with("GiB free"), "{found}");
        }
    }

    #[test]
    fn udp_works_here() {
        assert_eq!(udp().outcome, Outcome::Ok);
    }
}
