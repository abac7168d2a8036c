//! Files in and out of HTTP bodies, a piece at a time.

use super::kind::AssetKind;
use super::range::{self, Selection};
use super::store::{AssetEntry, AssetStore, StoreError, Upload};
use crate::blocking;
use crate::http::{ApiError, ApiResult, too_large, too_slow};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};

/// Bytes gathered before a write, and read at a time: large enough that the switch of threads does not count.
const PIECE: usize = 256 << 10;

/// Bytes at a file's beginning that tell what it is.
const SIGNATURE: usize = 12;

/// Stores a request body as `name`.
///
/// # Errors
/// 400 for a bad name, an empty body or a picture that is none, 408 when it stalls or trickles, 413 above `max_bytes`, 507 when the disk is full.
pub(crate) async fn receive(
    store: AssetStore,
    name: String,
    mut body: Body,
    max_bytes: u64,
    piece_timeout: Duration,
) -> ApiResult<AssetEntry> {
    // What is announced as too large need not be written first.
    if body.size_hint().lower() > max_bytes {
        return Err(too_large());
    }
    let kind = AssetKind::of(Path::new(&name)).map(|(kind, _)| kind);
    let mut upload = blocking(move || store.begin(&name)).await?.map_err(store_error)?;
    let mut piece = BytesMut::with_capacity(PIECE);
    let mut head = Vec::with_capacity(SIGNATURE);
    let mut received = 0;
    // For a whole piece, not for the next byte: there are few places for uploads.
    let mut deadline = Instant::now() + piece_timeout;
    while let Some(frame) = timeout_at(deadline, body.frame()).await.map_err(|_| too_slow())? {
        let frame = frame.map_err(|_| ApiError::bad_request("the upload broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        received += data.len() as u64;
        if received > max_bytes {
            return Err(too_large());
        }
        head.extend(data.iter().take(SIGNATURE - head.len()));
        piece.extend_from_slice(data);
        if piece.len() >= PIECE {
            upload = append(upload, piece.split().freeze()).await?;
            deadline = Instant::now() + piece_timeout;
        }
    }
    if received == 0 {
        return Err(ApiError::bad_request("the upload is empty: send the file as the request body"));
    }
    if kind.is_some_and(|kind| !kind.accepts(&head)) {
        return Err(ApiError::bad_request(
            "the upload is named like a picture but is no PNG, JPEG, WebP or BMP",
        ));
    }
    let upload = append(upload, piece.freeze()).await?;
    blocking(move || upload.finish()).await?.map_err(store_error)
}

async fn append(mut upload: Upload, piece: Bytes) -> ApiResult<Upload> {
    let written = move || upload.file().write_all(&piece).map(|()| upload);
    blocking(written).await?.map_err(|error| store_error(error.into()))
}

fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Name(detail) => ApiError::bad_request(detail),
        StoreError::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            let detail = "the disk of the assets directory is full";
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, detail).with_code("disk_full")
        }
        StoreError::Io(error) => ApiError::internal("the file could not be stored", &error),
    }
}

/// Answers with an open file, or the part of it that the request asks for.
///
/// # Errors
/// 416 when that part does not exist.
pub(crate) async fn send(file: File, path: &Path, request: &HeaderMap) -> ApiResult<Response> {
    let mime = AssetKind::of(path).map_or("application/octet-stream", |(_, mime)| mime);
    let text = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let metadata = file.metadata().map_err(|error| ApiError::internal("the file cannot be read", &error))?;
    let len = metadata.len();
    let modified =
        metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let etag = format!("\"{:x}-{len:x}\"", modified.as_nanos());
    if text(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&etag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    // A changed file must not be stitched to the part a client already has.
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|tag| tag == etag));
    let (status, first, count) = match range::select(range, len) {
        Selection::Whole => (StatusCode::OK, 0, len),
        Selection::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Selection::Unsatisfiable => {
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "the file has no such part");
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{len}"))], error).into_response());
        }
    };
    let mut response = (status, stream_of(file, first, count)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::CONTENT_LENGTH, count.into());
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{len}", first + count - 1);
        if let Ok(range) = HeaderValue::try_from(range) {
            headers.insert(header::CONTENT_RANGE, range);
        }
    }
    Ok(response)
}

/// `count` bytes of `file` from `first`, read as the client takes them.
pub(crate) fn stream_of(file: File, first: u64, count: u64) -> Body {
    Body::from_stream(stream::try_unfold((file, first, count), |(file, at, left)| async move {
        if left == 0 {
            return io::Result::Ok(None);
        }
        let read = move || read_piece(file, at, left);
        let (file, piece) = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        let got = piece.len() as u64;
        Ok(Some((Bytes::from(piece), (file, at + got, left - got))))
    }))
}

fn read_piece(mut file: File, at: u64, left: u64) -> io::Result<(File, Vec<u8>)> {
    file.seek(SeekFrom::Start(at))?;
    let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE)];
    let got = file.read(&mut piece)?;
    piece.truncate(got);
    // Cut short while it was read: break off rather than send less than promised.
    if got == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((file, piece)) }
}
