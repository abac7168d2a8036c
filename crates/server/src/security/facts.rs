//! From a request to the facts that decide on it.

use super::decide::{Access, Credential, RequestFacts, is_loopback};
use axum::extract::{ConnectInfo, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use std::net::{IpAddr, SocketAddr};

/// Headers that proxies add. Where one stands in between, the peer's address says nothing about the caller.
const PROXY_HEADERS: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "cf-connecting-ip", "via"];

/// The route's pattern, as the router and the documentation write it; `None` for the user interface.
pub(crate) fn route_of(parts: &Parts) -> Option<&str> {
    parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}

/// What the route of a request asks for. Whatever the router knows is protected unless it is named here.
pub(crate) fn access_of(route: Option<&str>, path: &str) -> Access {
    match route {
        Some("/api/v1/auth") => Access::Auth,
        Some("/health") => Access::Health,
        Some("/metrics") => Access::Metrics,
        Some("/docs" | "/redoc" | "/docs/app.js" | "/docs/app.css") => Access::Static,
        Some(_) => Access::Protected,
        None if path == "/api" || path.starts_with("/api/") => Access::Protected,
        None => Access::Static,
    }
}

/// The peer's address; `None` is treated as far away.
pub(crate) fn peer_of(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

/// The facts of a request, without credentials.
pub(crate) fn facts_of(parts: &Parts, access: Access) -> RequestFacts<'_> {
    let headers = &parts.headers;
    let safe = matches!(parts.method, Method::GET | Method::HEAD);
    let fetch = |name: &'static str| single(headers, &HeaderName::from_static(name));
    let proxied = PROXY_HEADERS.iter().any(|name| headers.contains_key(*name));
    let host = single(headers, &header::HOST);
    // An absolute-form target names a host as well; the two must agree.
    let host = match (host, parts.uri.authority()) {
        (Some(host), Some(authority)) if !authority.as_str().eq_ignore_ascii_case(host) => Some(""),
        (None, Some(authority)) => Some(authority.as_str()),
        (host, _) => host,
    };
    RequestFacts {
        access,
        preflight: parts.method == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
        navigation: safe
            && fetch("sec-fetch-mode") == Some("navigate")
            && fetch("sec-fetch-dest") == Some("document"),
        host,
        origin: single(headers, &header::ORIGIN),
        fetch_site: fetch("sec-fetch-site"),
        local: !proxied && peer_of(parts).is_some_and(is_loopback),
        credential: Credential::None,
    }
}

/// The value of a header that may be sent once; `Some("")` when it is sent twice or is no text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { "" } else { first.to_str().unwrap_or("") })
}

/// The values of a cookie, however many a browser sends.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(move |(key, value)| (key == name).then_some(value))
}

/// The token in `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = single(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/api/v1/keys");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
        parts
    }

    #[test]
    fn a_header_sent_twice_is_as_bad_as_an_unreadable_one() {
        let parts = parts(&[("host", "localhost"), ("host", "evil"), ("origin", "a"), ("origin", "b")]);
        let facts = facts_of(&parts, Access::Protected);
        assert_eq!((facts.host, facts.origin), (Some(""), Some("")));
    }

    #[test]
    fn a_proxy_makes_loopback_far() {
        assert!(facts_of(&parts(&[("host", "localhost")]), Access::Protected).local);
        let proxied = parts(&[("host", "localhost"), ("x-forwarded-for", "127.0.0.1")]);
        assert!(!facts_of(&proxied, Access::Protected).local);
    }

    #[test]
    fn a_missing_peer_is_far() {
        let mut parts = parts(&[("host", "localhost")]);
        parts.extensions.clear();
        assert!(!facts_of(&parts, Access::Protected).local);
    }

    #[test]
    fn cookies_and_tokens_are_found() {
        let parts =
            parts(&[("cookie", "a=b; scope_session=1; scope_session=2"), ("authorization", "bearer  t")]);
        assert_eq!(cookies(&parts.headers, "scope_session").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(bearer(&parts.headers), Some("t"));
    }

    #[test]
    fn what_is_not_named_is_protected() {
        assert_eq!(access_of(Some("/whip"), "/whip"), Access::Protected);
        assert_eq!(access_of(None, "/api/v1/unknown"), Access::Protected);
        assert_eq!(access_of(None, "/assets/x.js"), Access::Static);
    }
}
