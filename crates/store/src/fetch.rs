//! One file from one server: what the server says about it, and its bytes, resumed and checked.

use crate::digest::{Digests, Expected};
use crate::ledger::Remote;
use crate::manifest::is_sha256;
use crate::network::{Answer, Network, RequestError};
use crate::part::{Part, PartError};
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Bytes gathered before they are written and hashed: large enough that the switch of threads does not count.
const PIECE: usize = 1 << 20;

/// Why a file could not be had. The text is for users and names no key and no address with one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The request led nowhere.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server wants a key.
    #[error(
        "authentication needed: {host} gives the file only to users it knows; store an API key for it in the settings, or set its environment variable"
    )]
    NeedsKey {
        /// The server.
        host: String,
    },
    /// The server knows the user and refuses.
    #[error(
        "authentication failed: {host} refuses the file with this API key; open its page, accept its terms, and check that the key may read it"
    )]
    Denied {
        /// The server.
        host: String,
    },
    /// No such file.
    #[error("{host} has no such file")]
    NotFound {
        /// The server.
        host: String,
    },
    /// The server has too much to do.
    #[error("{host} is busy (status {status})")]
    Busy {
        /// The server.
        host: String,
        /// Its answer.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// An answer that makes no sense here.
    #[error("{host} answered with status {status}")]
    Status {
        /// The server.
        host: String,
        /// Its answer.
        status: u16,
    },
    /// The connection ended early.
    #[error("the connection to {host} broke off")]
    Interrupted {
        /// The server.
        host: String,
    },
    /// Too few bytes came in too long a time.
    #[error("{host} sends almost nothing")]
    Stalled {
        /// The server.
        host: String,
    },
    /// The server sends another number of bytes than it should.
    #[error("{host} sends {found} bytes instead of {expected}")]
    WrongLength {
        /// The server.
        host: String,
        /// What there should be.
        expected: u64,
        /// What was sent or announced.
        found: u64,
    },
    /// The file is larger than what is accepted.
    #[error("the file is larger than {max} bytes")]
    TooLarge {
        /// What is accepted.
        max: u64,
    },
    /// The bytes are not those that were promised.
    #[error("the file that {host} sent has the wrong checksum; it was thrown away")]
    WrongChecksum {
        /// The server.
        host: String,
    },
    /// Another download has the file.
    #[error("another program is downloading this file")]
    InUse,
    /// The file's place is outside the folder.
    #[error("its folder is a link that leads outside; remove the link")]
    Outside,
    /// No room.
    #[error("the disk is full")]
    DiskFull,
    /// The disk refused.
    #[error("the file could not be written: {0}")]
    Disk(io::Error),
    /// It was not wanted any more.
    #[error("the download was cancelled")]
    Cancelled,
}

/// Whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It would end the same way.
    Never,
    /// Once: an accident of the line, or a server that is wrong.
    Once,
    /// After a pause.
    Pause,
    /// After at least this long.
    After(Duration),
}

impl FetchError {
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Request(RequestError::Unreachable { .. })
            | Self::Interrupted { .. }
            | Self::Stalled { .. }
            | Self::InUse => Retry::Pause,
            Self::Busy { retry_after: Some(pause), .. } => Retry::After(*pause),
            Self::Busy { retry_after: None, .. } => Retry::Pause,
            Self::WrongChecksum { .. } | Self::WrongLength { .. } => Retry::Once,
            _ => Retry::Never,
        }
    }

    /// A word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NeedsKey { .. } | Self::Denied { .. } => "authentication",
            Self::NotFound { .. } => "not_found",
            Self::Request(RequestError::Unreachable { .. })
            | Self::Busy { .. }
            | Self::Interrupted { .. }
            | Self::Stalled { .. } => "network",
            Self::Request(_) => "host_forbidden",
            Self::WrongChecksum { .. } | Self::WrongLength { .. } => "checksum",
            Self::DiskFull => "disk_full",
            Self::Cancelled => "cancelled",
            _ => "download_failed",
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Disk(error),
        }
    }
}

impl From<PartError> for FetchError {
    fn from(error: PartError) -> Self {
        match error {
            PartError::Busy => Self::InUse,
            PartError::Outside => Self::Outside,
            PartError::Cancelled => Self::Cancelled,
            PartError::Io(error) => error.into(),
        }
    }
}

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long `min_bytes` may take.
    pub stall: Duration,
    /// Fewer bytes than these in that time are too few.
    pub min_bytes: u64,
    /// The longest pause that a server may ask for.
    pub max_retry_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(60),
            min_bytes: 64 << 10,
            max_retry_after: Duration::from_secs(300),
        }
    }
}

/// What is to be fetched, and to where.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) url: Url,
    /// The folder that nothing may leave.
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) expected: Expected,
    /// Whether what is there already belongs to another file.
    pub(crate) afresh: bool,
    /// The most bytes it may have.
    pub(crate) max_bytes: u64,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// What one host says about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) remote: Remote,
    /// The name that the server gives it.
    pub(crate) file_name: Option<String>,
}

/// Asks a server about a file.
pub(crate) async fn probe(network: &Network, patience: &Patience, url: &Url) -> Result<Probed, FetchError> {
    let answer = network.ask(url).await?;
    let redirects = answer.response.status().is_redirection();
    let probed = learn(&answer);
    if redirects && probed.remote.size.is_some() {
        return Ok(probed);
    }
    if !redirects {
        check_status(&answer, patience)?;
        return Ok(probed);
    }
    // Addresses that are signed for reading refuse to be asked: begin to read, and look no further than the head.
    let answer = network.send(Method::GET, url, 0).await?;
    check_status(&answer, patience)?;
    Ok(learn(&answer))
}

/// What the headers on the way to an answer say. Where the file's own server names the file's size and tag, that counts: the
/// machine that finally sends the bytes may have its own idea of a tag.
fn learn(answer: &Answer) -> Probed {
    let all = || answer.hops.iter().chain([answer.response.headers()]);
    let linked_etag = all().find_map(|headers| tag(headers, "x-linked-etag"));
    let own_etag = all().find_map(|headers| tag(headers, ETAG.as_str()));
    let size = all().find_map(|headers| number(headers, "x-linked-size"));
    // The length of a redirect is that of its text.
    let is_file = answer.response.status().is_success();
    let length = number(answer.response.headers(), CONTENT_LENGTH.as_str()).filter(|_| is_file);
    let etag = linked_etag.or(own_etag);
    let is_git = |tag: &&String| tag.len() == 40 && tag.bytes().all(|b| b.is_ascii_hexdigit());
    let remote = Remote {
        size: size.or(length),
        sha256: etag.clone().filter(|tag| is_sha256(tag)),
        git_blob: etag.as_ref().filter(is_git).map(|tag| tag.to_ascii_lowercase()),
        etag,
    };
    let file_name = answer.response.headers().get("content-disposition");
    let file_name = file_name.and_then(|value| crate::disposition::file_name(value.as_bytes()));
    Probed { remote, file_name }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

fn tag(headers: &HeaderMap, name: &str) -> Option<String> {
    let tag = text(headers, name)?.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    (!tag.is_empty() && tag.len() <= 200).then(|| tag.to_owned())
}

/// Turns an answer that is none into its error.
pub(crate) fn check_status(answer: &Answer, patience: &Patience) -> Result<(), FetchError> {
    let response = &answer.response;
    let (status, host) = (response.status(), host_of(response));
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if answer.had_key => {
            Err(FetchError::Denied { host })
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::NeedsKey { host }),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::NotFound { host }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(busy(response, host, patience))
        }
        status if status.is_server_error() => Err(busy(response, host, patience)),
        status => Err(FetchError::Status { host, status: status.as_u16() }),
    }
}

fn busy(response: &Response, host: String, patience: &Patience) -> FetchError {
    let seconds = number(response.headers(), RETRY_AFTER.as_str());
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(patience.max_retry_after));
    FetchError::Busy { host, status: response.status().as_u16(), retry_after }
}

fn host_of(response: &Response) -> String {
    response.url().host_str().unwrap_or("the server").chars().take(120).collect()
}

/// Runs `work` on a thread that may wait for the disk.
async fn blocking<T: Send + 'static, E: Into<FetchError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, FetchError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) => Err(FetchError::Disk(io::Error::other(error))),
    }
}

/// Fetches a file that is not written to its place yet; see [`fetch`].
pub(crate) async fn fetch_part(
    network: &Network,
    patience: &Patience,
    request: &Request,
    progress: &(dyn Fn(u64) + Sync),
    mut cancelled: watch::Receiver<bool>,
) -> Result<Part, FetchError> {
    let part = {
        let (request, cancelled) = (request.clone(), cancelled.clone());
        blocking(move || {
            let Request { root, target, expected, afresh, .. } = &request;
            Part::open(root, target, expected, *afresh, |_| !*cancelled.borrow())
        })
        .await?
    };
    progress(part.len());
    let is_whole = |part: &Part| request.expected.size == Some(part.len());
    let part = if is_whole(&part) {
        part
    } else {
        receive(network, patience, request, part, progress, &mut cancelled).await?
    };
    let host = request.url.host_str().unwrap_or("the server").to_owned();
    if let Some(expected) = request.expected.size.filter(|expected| *expected != part.len()) {
        return Err(FetchError::WrongLength { host, expected, found: part.len() });
    }
    if !part.digests().agrees_with(&request.expected) {
        blocking(move || part.discard()).await?;
        return Err(FetchError::WrongChecksum { host });
    }
    Ok(part)
}

/// Fetches a file: resumes what is there, checks size and checksum, and only then gives it its name. When the right file is in
/// its place by then, whoever put it there, that one stays.
pub(crate) async fn fetch(
    network: &Network,
    patience: &Patience,
    request: &Request,
    progress: &(dyn Fn(u64) + Sync),
    cancelled: watch::Receiver<bool>,
) -> Result<Fetched, FetchError> {
    if let Some(found) = already_there(request, cancelled.clone()).await? {
        progress(found.size);
        return Ok(found);
    }
    let part = fetch_part(network, patience, request, progress, cancelled.clone()).await?;
    if let Some(found) = already_there(request, cancelled).await? {
        blocking(move || part.discard()).await?;
        return Ok(found);
    }
    let digests = part.digests();
    blocking(move || part.finish()).await?;
    Ok(Fetched { size: digests.len, sha256: digests.sha256 })
}

/// The file in its place, if it is the right one beyond doubt.
async fn already_there(
    request: &Request,
    cancelled: watch::Receiver<bool>,
) -> Result<Option<Fetched>, FetchError> {
    if !request.expected.has_digest() {
        return Ok(None);
    }
    let (target, expected) = (request.target.clone(), request.expected.clone());
    blocking(move || {
        let metadata = fs::metadata(&target).ok().filter(fs::Metadata::is_file);
        if metadata.is_none_or(|metadata| expected.size.is_some_and(|size| size != metadata.len())) {
            return Ok(None);
        }
        let found = read_digests(&target, &expected, |_| !*cancelled.borrow())?;
        let found = found.ok_or(FetchError::Cancelled)?;
        Ok::<_, FetchError>(
            found.agrees_with(&expected).then_some(Fetched { size: found.len, sha256: found.sha256 }),
        )
    })
    .await
}

/// The checksums of the file at `path`; `None` when `go_on` ended it.
pub(crate) fn read_digests(
    path: &Path,
    expected: &Expected,
    go_on: impl Fn(u64) -> bool,
) -> io::Result<Option<crate::digest::Finished>> {
    let mut digests = Digests::new(expected);
    let whole = digests.update_from(File::open(path)?, go_on)?;
    Ok(whole.then(|| digests.finish()))
}

/// The end of this wait is that of the download. Its sender lives as long as that; the sender's end is an end as well.
async fn is_cancelled(cancelled: &mut watch::Receiver<bool>) -> FetchError {
    cancelled.wait_for(|cancelled| *cancelled).await.ok();
    FetchError::Cancelled
}

/// Gets the bytes that are missing in `part`. Whatever ends it, what came until then is kept.
async fn receive(
    network: &Network,
    patience: &Patience,
    request: &Request,
    mut part: Part,
    progress: &(dyn Fn(u64) + Sync),
    cancelled: &mut watch::Receiver<bool>,
) -> Result<Part, FetchError> {
    let answer = tokio::select! {
        biased;
        cancelled = is_cancelled(cancelled) => return Err(cancelled),
        answer = network.send(Method::GET, &request.url, part.len()) => answer?,
    };
    check_status(&answer, patience)?;
    let mut response = answer.response;
    let host = host_of(&response);
    let wrong = |expected, found| FetchError::WrongLength { host: host.clone(), expected, found };
    match response.status() {
        StatusCode::PARTIAL_CONTENT if begins_at(response.headers(), part.len()) => {}
        StatusCode::OK if part.len() == 0 => {}
        // The whole file, though a part was asked for.
        StatusCode::OK => part = restarted(part).await?,
        // What is there is not the beginning of this file.
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            restarted(part).await?;
            return Err(FetchError::Interrupted { host });
        }
        status => return Err(FetchError::Status { host, status: status.as_u16() }),
    }
    let announced =
        number(response.headers(), CONTENT_LENGTH.as_str()).map(|left| part.len().saturating_add(left));
    match (request.expected.size, announced) {
        (Some(expected), Some(found)) if expected != found => return Err(wrong(expected, found)),
        _ => {}
    }
    let end = request.expected.size.or(announced);
    if end.is_some_and(|end| end > request.max_bytes) {
        return Err(FetchError::TooLarge { max: request.max_bytes });
    }
    let mut piece = BytesMut::with_capacity(PIECE);
    let mut window = Window::new(patience);
    loop {
        let stalled = || FetchError::Stalled { host: host.clone() };
        let broken = || FetchError::Interrupted { host: host.clone() };
        let next = tokio::select! {
            biased;
            cancelled = is_cancelled(cancelled) => Err(cancelled),
            next = timeout_at(window.deadline, response.chunk()) => match next {
                Ok(next) => next.map_err(|_| broken()),
                Err(_) => Err(stalled()),
            },
        };
        let failure = match next {
            Ok(Some(bytes)) => {
                if !window.take(bytes.len() as u64, patience) {
                    Some(stalled())
                } else {
                    piece.extend_from_slice(&bytes);
                    let received = part.len() + piece.len() as u64;
                    match end.filter(|end| received > *end) {
                        Some(end) => return Err(wrong(end, received)),
                        None if received > request.max_bytes => {
                            return Err(FetchError::TooLarge { max: request.max_bytes });
                        }
                        None => {
                            progress(received);
                            None
                        }
                    }
                }
            }
            Ok(None) => {
                part = append(part, piece.split().freeze(), progress).await?;
                return match end.filter(|end| part.len() < *end) {
                    Some(_) => Err(broken()),
                    None => Ok(part),
                };
            }
            Err(failure) => Some(failure),
        };
        if piece.len() >= PIECE || failure.is_some() {
            part = append(part, piece.split().freeze(), progress).await?;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
}

async fn restarted(mut part: Part) -> Result<Part, FetchError> {
    blocking(move || part.restart().map(|()| part)).await
}

async fn append(mut part: Part, bytes: Bytes, progress: &(dyn Fn(u64) + Sync)) -> Result<Part, FetchError> {
    let part = blocking(move || part.append(&bytes).map(|()| part)).await?;
    progress(part.len());
    Ok(part)
}

/// Whether `Content-Range` begins at `from`.
fn begins_at(headers: &HeaderMap, from: u64) -> bool {
    let range = text(headers, CONTENT_RANGE.as_str()).and_then(|range| range.trim().strip_prefix("bytes "));
    let first = range.and_then(|range| range.split('-').next()?.trim().parse::<u64>().ok());
    first == Some(from)
}

/// The time in which a number of bytes has to come.
struct Window {
    deadline: Instant,
    bytes: u64,
}

impl Window {
    fn new(patience: &Patience) -> Self {
        Self { deadline: Instant::now() + patience.stall, bytes: 0 }
    }

    /// Counts bytes, and begins anew when there are enough; `false` when the time is over.
    fn take(&mut self, bytes: u64, patience: &Patience) -> bool {
        self.bytes += bytes;
        if self.bytes >= patience.min_bytes {
            *self = Self::new(patience);
        }
        Instant::now() < self.deadline
    }
}
