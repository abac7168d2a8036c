//! A server on this machine that speaks as much of Hugging Face's and CivitAI's ways of handing out files as downloads use, and
//! misbehaves when it is told to. Its machines are `hub.test`, which knows files and keys, `cdn.test`, which has the bytes of
//! large files, and `civitai.test`; [`Here`] brings all names to it.

// Every test program uses some of it.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used, clippy::needless_pass_by_value)]

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use scope_store::Lookup;
use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How long a test waits for something that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A status, with one more header.
    Status(u16, &'static str, &'static str),
    /// The body ends after so many bytes of it, though more were announced.
    Cut(usize),
    /// After so many bytes nothing more comes, until the client goes.
    Stall(usize),
    /// After so many bytes nothing more comes until [`Hub::release`].
    Hold(usize),
    /// One bit is wrong.
    Flip,
    /// So many bytes more are announced and sent.
    Longer(usize),
    /// So many bytes less are announced and sent.
    Shorter(usize),
    /// A range is asked for and the whole is sent.
    IgnoreRange,
    /// 302 to this address.
    Redirect(String),
}

#[derive(Clone)]
struct Served {
    content: Vec<u8>,
    large: bool,
    key: Option<String>,
    headers: Vec<(&'static str, String)>,
}

/// A request, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) key: Option<String>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Served>,
    faults: HashMap<String, VecDeque<Fault>>,
    always: HashMap<String, Fault>,
    seen: Vec<Seen>,
    released: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The server. It ends with the test program.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    pub(crate) port: u16,
}

/// Brings all names to this machine.
pub(crate) struct Here;

impl Lookup for Here {
    fn lookup(&self, _: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(digest(&SHA256, content).as_ref())
}

fn git_blob(content: &[u8]) -> String {
    let mut whole = format!("blob {}\0", content.len()).into_bytes();
    whole.extend(content);
    hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &whole).as_ref())
}

/// Bytes that differ everywhere.
pub(crate) fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut x = u64::from(seed) * 2 + 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl Hub {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&for_thread);
                // A client that goes away is none of its business.
                thread::spawn(move || serve(&shared, stream, port).ok());
            }
        });
        Self { shared, port }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    pub(crate) fn base(&self) -> String {
        format!("http://hub.test:{}/", self.port)
    }

    pub(crate) fn civitai(&self) -> String {
        format!("http://civitai.test:{}/", self.port)
    }

    /// Hands out `content` as a small file: from the hub itself.
    pub(crate) fn put(&self, repository: &str, path: &str, content: &[u8]) {
        self.serve_at(&format!("/{repository}/resolve/main/{path}"), content, false, None);
    }

    /// Hands out `content` as a large file: the hub knows its size and checksum, and the CDN has it.
    pub(crate) fn put_large(&self, repository: &str, path: &str, content: &[u8]) {
        self.serve_at(&format!("/{repository}/resolve/main/{path}"), content, true, None);
    }

    /// A large file for those with this key.
    pub(crate) fn put_gated(&self, repository: &str, path: &str, content: &[u8], key: &str) {
        self.serve_at(&format!("/{repository}/resolve/main/{path}"), content, true, Some(key.into()));
    }

    /// A file of any machine, with headers.
    pub(crate) fn put_at(&self, path: &str, content: &[u8], headers: &[(&'static str, String)]) {
        let served = Served { content: content.to_vec(), large: false, key: None, headers: headers.to_vec() };
        self.state().files.insert(path.into(), served);
    }

    fn serve_at(&self, path: &str, content: &[u8], large: bool, key: Option<String>) {
        let mut state = self.state();
        if large {
            let blob = Served { content: content.to_vec(), large: false, key: None, headers: Vec::new() };
            state.files.insert(format!("/blob/{}", sha256(content)), blob);
        }
        state
            .files
            .insert(path.into(), Served { content: content.to_vec(), large, key, headers: Vec::new() });
    }

    /// Lets the next answer for bytes at `path` go wrong. Of large files that is the CDN's.
    pub(crate) fn fault(&self, path: &str, fault: Fault) {
        let path = self.place_of_bytes(path);
        self.state().faults.entry(path).or_default().push_back(fault);
    }

    /// Lets every answer at exactly this path go wrong.
    pub(crate) fn always(&self, path: &str, fault: Fault) {
        self.state().always.insert(path.into(), fault);
    }

    /// The path at which the bytes of the file at `path` are.
    pub(crate) fn place_of_bytes(&self, path: &str) -> String {
        match self.state().files.get(path) {
            Some(served) if served.large => format!("/blob/{}", sha256(&served.content)),
            _ => path.to_owned(),
        }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The ranges of all requests so far for the bytes of the file at `path`.
    pub(crate) fn ranges(&self, path: &str) -> Vec<Option<String>> {
        let path = self.place_of_bytes(path);
        let seen = self.seen().into_iter();
        seen.filter(|it| it.method == "GET" && it.path == path).map(|it| it.range).collect()
    }

    /// Waits until the bytes of the file at `path` were asked for `count` times.
    pub(crate) fn wait_for(&self, path: &str, count: usize) {
        let path = self.place_of_bytes(path);
        let asked =
            |state: &State| state.seen.iter().filter(|it| it.method == "GET" && it.path == path).count();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.state(), PATIENCE, |state| asked(state) < count)
            .unwrap();
        assert!(!waited.1.timed_out(), "{path} is not asked for");
    }

    /// Ends all [`Fault::Hold`]s.
    pub(crate) fn release(&self) {
        self.state().released = true;
        self.shared.changed.notify_all();
    }
}

/// Answers one request; every answer ends its connection.
fn serve(shared: &Shared, stream: TcpStream, port: u16) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some((request, body)) = read_head(&mut reader)? else { return Ok(()) };
    assert!(body.is_empty());
    let (served, fault) = {
        let mut state = shared.state.lock().unwrap();
        state.seen.push(request.clone());
        shared.changed.notify_all();
        let path = request.path.split('?').next().unwrap_or("");
        let served = state.files.get(&request.path).or_else(|| state.files.get(path)).cloned();
        let fault = state.always.get(&request.path).cloned();
        let is_bytes = served.as_ref().is_none_or(|served| !served.large) && request.method == "GET";
        let next = || state.faults.get_mut(&request.path).filter(|_| is_bytes)?.pop_front();
        (served, fault.or_else(next))
    };
    answer(shared, stream, &request, served, fault, port)
}

fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(Seen, String)>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines[0].split(' ');
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let header = |name: &str| {
        let named = |line: &String| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        lines[1..].iter().find_map(named)
    };
    let host = header("host").unwrap_or_default();
    let host = host.split(':').next().unwrap_or("").to_owned();
    let key = header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned());
    Ok(Some((Seen { method, host, path, range: header("range"), key }, String::new())))
}

fn answer(
    shared: &Shared,
    mut stream: TcpStream,
    request: &Seen,
    served: Option<Served>,
    fault: Option<Fault>,
    port: u16,
) -> io::Result<()> {
    let head =
        |status: u16, headers: &str| format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}\r\n");
    match &fault {
        Some(Fault::Status(status, name, value)) => {
            let headers = format!("Content-Length: 0\r\n{name}: {value}\r\n");
            return stream.write_all(head(*status, &headers).as_bytes());
        }
        Some(Fault::Redirect(target)) => {
            let headers = format!("Content-Length: 0\r\nLocation: {target}\r\n");
            return stream.write_all(head(302, &headers).as_bytes());
        }
        _ => {}
    }
    let Some(served) = served else {
        return stream.write_all(head(404, "Content-Length: 0\r\n").as_bytes());
    };
    if let Some(key) = &served.key
        && request.key.as_ref() != Some(key)
    {
        let status = if request.key.is_some() { 403 } else { 401 };
        return stream.write_all(head(status, "Content-Length: 0\r\n").as_bytes());
    }
    if served.large {
        let (hash, size) = (sha256(&served.content), served.content.len());
        let headers = format!(
            "Location: http://cdn.test:{port}/blob/{hash}\r\nX-Linked-Size: {size}\r\nX-Linked-Etag: \"{hash}\"\r\n\
             X-Repo-Commit: 0123\r\nETag: \"other\"\r\nContent-Length: 9\r\n"
        );
        let text = if request.method == "HEAD" { "" } else { "Found. Go" };
        return stream.write_all(format!("{}{text}", head(302, &headers)).as_bytes());
    }
    // Addresses of the CDN are signed for reading only.
    if request.host == "cdn.test" && request.method == "HEAD" {
        return stream.write_all(head(403, "Content-Length: 0\r\n").as_bytes());
    }
    send_bytes(shared, stream, request, &served, fault.as_ref())
}

fn send_bytes(
    shared: &Shared,
    mut stream: TcpStream,
    request: &Seen,
    served: &Served,
    fault: Option<&Fault>,
) -> io::Result<()> {
    let total = served.content.len();
    let from = request.range.as_ref().filter(|_| !matches!(fault, Some(Fault::IgnoreRange)));
    let from = from.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let mut body = served.content.get(from.unwrap_or(0)..).unwrap_or_default().to_vec();
    let mut headers = String::new();
    for (name, value) in &served.headers {
        headers += &format!("{name}: {value}\r\n");
    }
    if request.host != "cdn.test" {
        headers += &format!("ETag: \"{}\"\r\n", git_blob(&served.content));
    }
    let status = match from {
        Some(from) if from >= total => 416,
        Some(from) => {
            headers += &format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1);
            206
        }
        None => 200,
    };
    match fault {
        Some(Fault::Longer(more)) => body.extend(vec![7; *more]),
        Some(Fault::Shorter(less)) => body.truncate(body.len() - *less),
        Some(Fault::Flip) => body[0] ^= 1,
        _ => {}
    }
    headers += &format!("Content-Length: {}\r\n", body.len());
    stream.write_all(format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}\r\n").as_bytes())?;
    if request.method == "HEAD" || status == 416 {
        return Ok(());
    }
    match fault {
        Some(Fault::Cut(after)) => stream.write_all(&body[..*after]),
        Some(Fault::Stall(after)) => {
            stream.write_all(&body[..*after])?;
            // Until the client goes.
            stream.read(&mut [0]).map(|_| ())
        }
        Some(Fault::Hold(after)) => {
            stream.write_all(&body[..*after])?;
            let state = shared.state.lock().unwrap();
            drop(shared.changed.wait_timeout_while(state, PATIENCE, |state| !state.released).unwrap());
            stream.write_all(&body[*after..])
        }
        _ => stream.write_all(&body),
    }
}
