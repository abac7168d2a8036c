//! The program as a user runs it: what it prints, answers, and leaves behind.

#![cfg(unix)]
// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn scope(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scope"));
    // Nothing of the machine's own set-up may matter.
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

struct Running {
    child: Child,
    /// `localhost:PORT`.
    host: String,
    token: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.arg("-N").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| Some(line.unwrap().split_once("http://")?.1.to_owned())).unwrap();
        let (host, token) = url.split_once("/?token=").unwrap();
        Self { host: host.into(), token: token.into(), child }
    }

    /// Sends a request by hand; `None` while nobody listens.
    fn try_ask(&self, head: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.host.replace("localhost", "127.0.0.1")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (line, more) = head.split_once('\n').unwrap_or((head, ""));
        write!(stream, "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n", self.host).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn ask(&self, head: &str) -> String {
        self.try_ask(head).unwrap()
    }

    fn terminate(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        (self.wait(), started.elapsed())
    }

    fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn start_time(health: &str) -> Option<&str> {
    health.split_once("\"server_start_time\":")?.1.split(',').next()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn it_serves_until_it_is_told_to_stop_and_never_logs_the_token() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Running::start(scope(home.path()).args(["--port", "0"]));
    assert!(server.ask("GET /health").contains("\"status\":\"healthy\""));
    let signed_in = server.ask(&format!("GET /?token={}", server.token));
    assert!(signed_in.starts_with("HTTP/1.1 303") && signed_in.contains("set-cookie: scope_session="));
    assert!(server.ask("GET /?token=wrong-guess").starts_with("HTTP/1.1 303"));
    let (code, took) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    let logs = home.path().join(".daydream-scope/logs");
    for entry in std::fs::read_dir(logs).unwrap() {
        let log = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(
            log.contains(" - INFO - ") && !log.contains(&server.token) && !log.contains("wrong-guess"),
            "{log}"
        );
    }
}

#[test]
fn a_cookie_outlives_the_server_and_its_token_does_not() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Running::start(scope(home.path()).args(["--port", "0"]));
    let signed_in = first.ask(&format!("GET /?token={}", first.token));
    let cookie = signed_in.split_once("set-cookie: ").unwrap().1.split(';').next().unwrap().to_owned();
    first.terminate();
    let second = Running::start(scope(home.path()).args(["--port", "0"]));
    assert_ne!(first.token, second.token);
    let page = format!("Sec-Fetch-Site: same-origin\r\nCookie: {cookie}\r\n");
    assert!(second.ask(&format!("GET /api/v1/keys\n{page}")).starts_with("HTTP/1.1 200"));
    let stranger = "Sec-Fetch-Site: same-origin\r\n";
    assert!(second.ask(&format!("GET /api/v1/keys\n{stranger}")).starts_with("HTTP/1.1 401"));
}

/// Arenas besides the first one: each lies at the beginning of a reservation of 64 MiB, or of several.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
fn arenas(process: u32) -> usize {
    const RESERVED: u64 = 64 << 20;
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let regions: Vec<(u64, u64, &str)> = maps
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (start, end) = words.next().unwrap().split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            (number(start), number(end), words.next().unwrap())
        })
        .collect();
    let begins_arena = |(used, rest): (&(u64, u64, &str), &(u64, u64, &str))| {
        (used.0 % RESERVED == 0 && used.2 == "rw-p")
            && (rest.0 == used.1 && rest.2 == "---p" && rest.1 % RESERVED == 0)
    };
    regions.iter().zip(&regions[1..]).filter(|pair| begins_arena(*pair)).count()
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
fn threads_share_two_arenas_unless_the_user_decides_otherwise() {
    let home = tempfile::tempdir().unwrap();
    for (set, expected) in [(None, 0..=1), (Some("8"), 2..=7)] {
        let mut command = scope(home.path());
        command.args(["--port", "0"]).envs(set.map(|value| ("MALLOC_ARENA_MAX", value)));
        let server = Running::start(&mut command);
        let body = r#"{"pipeline_id":"testcard"}"#;
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert!(server.ask(&format!("POST /api/v1/session/start\n{head}")).starts_with("HTTP/1.1 200"));
        let found = arenas(server.child.id());
        assert!(expected.contains(&found), "{found} with {set:?}");
    }
}

#[test]
fn a_stop_ends_sessions_and_watchers() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Running::start(scope(home.path()).args(["--port", "0"]));
    let body = r#"{"pipeline_id":"testcard","parameters":{"recording":true}}"#;
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert!(server.ask(&format!("POST /api/v1/session/start\n{head}")).starts_with("HTTP/1.1 200"));
    let mut watcher = TcpStream::connect(server.host.replace("localhost", "127.0.0.1")).unwrap();
    write!(watcher, "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", server.host).unwrap();
    let mut first = [0; 64];
    watcher.read_exact(&mut first).unwrap();
    let (code, took) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_restart_is_left_to_a_supervisor_where_there_is_one() {
    let home = tempfile::tempdir().unwrap();
    let mut server =
        Running::start(scope(home.path()).args(["--port", "0"]).env("DAYDREAM_SCOPE_MANAGED", "1"));
    assert!(server.ask("POST /api/v1/restart").starts_with("HTTP/1.1 200"));
    assert_eq!(server.wait(), Some(42));
}

#[test]
fn without_a_supervisor_it_restarts_itself_and_keeps_its_token() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let server = Running::start(scope(home.path()).args(["--port", &port]));
    let before = server.ask("GET /health");
    assert!(server.ask("POST /api/v1/restart").starts_with("HTTP/1.1 200"));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = server.try_ask("GET /health").unwrap_or_default();
        if start_time(&now).is_some_and(|time| Some(time) != start_time(&before)) {
            break;
        }
        assert!(Instant::now() < deadline, "it does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
    let signed_in = server.ask(&format!("GET /?token={}", server.token));
    assert!(signed_in.contains("set-cookie: scope_session="), "{signed_in}");
}

#[test]
fn a_taken_port_is_explained() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = scope(home.path()).args(["-N", "--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("--port"), "{}", text(&output));
}

#[test]
fn the_doctor_answers_programs_and_says_when_something_is_broken() {
    let home = tempfile::tempdir().unwrap();
    let output = scope(home.path()).args(["doctor", "--json", "--port", "0"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], true);
    for check in document["checks"].as_array().unwrap() {
        assert!(check["outcome"] == "ok" || check["advice"].is_string(), "{check}");
    }
    let output = scope(home.path()).args(["doctor", "--data-dir", "/proc/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("FAILED"), "{}", text(&output));
}

#[test]
fn pipelines_and_the_version_are_listed() {
    let home = tempfile::tempdir().unwrap();
    let output = scope(home.path()).arg("pipelines").output().unwrap();
    assert!(text(&output).contains("passthrough"));
    let output = scope(home.path()).arg("--version").output().unwrap();
    assert!(text(&output).contains(env!("CARGO_PKG_VERSION")) && text(&output).contains("commit"));
}
