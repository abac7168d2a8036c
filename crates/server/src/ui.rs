//! Hosting of the web interface, whose files the binary embeds.

use crate::http::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use std::borrow::Cow;
use std::io::Read;

/// One file of the interface.
#[derive(Clone, Copy, Debug)]
pub struct UiFile {
    /// Path below the site's root, without a leading slash.
    pub path: &'static str,
    /// Media type.
    pub mime: &'static str,
    /// Strong validator, with quotes.
    pub etag: &'static str,
    /// The content, compressed when `gzip` says so.
    pub body: &'static [u8],
    /// Whether `body` is gzip data.
    pub gzip: bool,
}

/// The files of the interface, sorted by path; empty when the binary was built without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ui(pub &'static [UiFile]);

impl Ui {
    fn file(&self, path: &str) -> Option<&UiFile> {
        self.0.binary_search_by(|file| file.path.cmp(path)).ok().map(|index| &self.0[index])
    }

    /// Answers a request that no route wanted. Unknown pages are the application's own to route; unknown API paths and
    /// unknown bundles are not.
    pub fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        let name = path.trim_start_matches('/');
        if name == "api" || name.starts_with("api/") {
            return ApiError::not_found("there is no such route; /docs lists all of them").into_response();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path can only be read")
                .into_response();
        }
        let bundle = name.starts_with("assets/");
        match self.file(name).or_else(|| if bundle { None } else { self.file("index.html") }) {
            Some(file) => serve(file, bundle, headers),
            None if self.0.is_empty() && name.is_empty() => Json(
                json!({"message": "Scope is running without its web interface; /docs describes the API"}),
            )
            .into_response(),
            None if self.0.is_empty() => ApiError::not_found("Frontend not built").into_response(),
            None => ApiError::not_found("there is no such file").into_response(),
        }
    }
}

/// `immutable`: the name carries a hash of the content.
fn serve(file: &UiFile, immutable: bool, request: &HeaderMap) -> Response {
    let matches = |value: &HeaderValue| value.to_str().is_ok_and(|tags| tags.contains(file.etag));
    let unchanged = request.get_all(header::IF_NONE_MATCH).iter().any(matches);
    let as_gzip = file.gzip && accepts_gzip(request);
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match content(file, as_gzip) {
            Cow::Borrowed(bytes) => Body::from(bytes).into_response(),
            Cow::Owned(bytes) => Body::from(bytes).into_response(),
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
    headers.insert(header::ETAG, HeaderValue::from_static(file.etag));
    if file.gzip {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if as_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if immutable {
        let value = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, value);
    } else if file.path == "index.html" {
        let value = HeaderValue::from_static("no-cache, no-store, must-revalidate");
        headers.insert(header::CACHE_CONTROL, value);
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    } else {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

/// Files are stored compressed only; a client that cannot read that is rare enough to be served on the fly.
fn content(file: &UiFile, as_gzip: bool) -> Cow<'static, [u8]> {
    if !file.gzip || as_gzip {
        return Cow::Borrowed(file.body);
    }
    let mut bytes = Vec::new();
    match flate2::read::GzDecoder::new(file.body).read_to_end(&mut bytes) {
        Ok(_) => Cow::Owned(bytes),
        Err(_) => Cow::Borrowed(&[]),
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = matches!(parts.next(), Some("gzip" | "*"));
            named && !parts.any(|part| part.replace(' ', "").trim_end_matches(['0', '.']) == "q=")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    const FILES: [UiFile; 3] = [
        UiFile {
            path: "assets/app-1234.js",
            mime: "text/javascript",
            etag: "\"a\"",
            body: b"js",
            gzip: false,
        },
        UiFile { path: "favicon.svg", mime: "image/svg+xml", etag: "\"f\"", body: b"svg", gzip: false },
        UiFile {
            path: "index.html",
            mime: "text/html; charset=utf-8",
            etag: "\"i\"",
            body: GZIPPED,
            gzip: true,
        },
    ];
    /// "page" as gzip data.
    const GZIPPED: &[u8] =
        &[31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 43, 72, 76, 79, 5, 0, 32, 182, 10, 20, 4, 0, 0, 0];

    fn get(path: &str, headers: &[(&'static str, &'static str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).try_into().unwrap(), HeaderValue::from_static(value)))
            .collect();
        Ui(&FILES).respond(&Method::GET, path, &headers)
    }

    #[test]
    fn pages_are_the_applications_to_route_but_bundles_and_api_paths_are_not() {
        for path in ["/", "/index.html", "/some/deep/page", "/robots.txt"] {
            let response = get(path, &[]);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let cache = &response.headers()[header::CACHE_CONTROL];
            assert_eq!(cache, "no-cache, no-store, must-revalidate", "{path}");
        }
        for path in ["/assets/gone.js", "/api/v2/x", "/api", "//api/v1/keys"] {
            assert_eq!(get(path, &[]).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn hashed_bundles_are_kept_forever_and_revalidation_costs_nothing() {
        let response = get("/assets/app-1234.js", &[]);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(get("/favicon.svg", &[("if-none-match", "\"f\"")]).status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn compressed_files_reach_every_client() {
        let packed = get("/", &[("accept-encoding", "br, gzip")]);
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        for refusal in [&[][..], &[("accept-encoding", "identity")], &[("accept-encoding", "gzip;q=0.0")]] {
            let plain = get("/", refusal);
            assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
            let body = to_bytes(plain.into_body(), 100).await.unwrap();
            assert_eq!(&body[..], b"page");
        }
    }

    #[test]
    fn only_reading_is_possible_and_a_missing_interface_says_so() {
        let headers = HeaderMap::new();
        assert_eq!(Ui(&FILES).respond(&Method::POST, "/", &headers).status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(Ui::default().respond(&Method::GET, "/", &headers).status(), StatusCode::OK);
        assert_eq!(Ui::default().respond(&Method::GET, "/x", &headers).status(), StatusCode::NOT_FOUND);
    }
}
