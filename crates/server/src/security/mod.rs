//! Access control: who may call what, at which rate, and which headers every answer carries.
//!
//! The threats are web pages in the user's browser and other machines, not the user's own processes. The rules are in
//! `docs/protocol.md` under "Access"; [`decide`] is their one implementation.

mod credentials;
mod decide;
mod facts;
mod headers;
mod limits;

pub(crate) use credentials::write_private;
pub use credentials::{COOKIE, COOKIE_LIFETIME, Credentials, load_or_create_key, new_token};
pub(crate) use decide::is_loopback_host;
pub use decide::{Access, Credential, Policy, Refusal, RequestFacts, Verdict, decide};
pub use limits::{Class, FailureLimiter, Limits};

use crate::Service;
use crate::http::{ApiError, ApiResult};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::net::{IpAddr, Ipv6Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Everything that stands between the network and the handlers.
pub struct Gate {
    /// Which hosts, origins and callers are accepted.
    pub policy: Policy,
    /// Token and cookies.
    pub credentials: Credentials,
    /// Wrong tokens.
    pub failures: FailureLimiter,
    /// Concurrent requests.
    pub limits: Limits,
}

impl Gate {
    /// A gate that has seen nothing yet.
    pub fn new(policy: Policy, credentials: Credentials) -> Self {
        Self { policy, credentials, failures: FailureLimiter::default(), limits: Limits::default() }
    }

    /// Whether a request with these headers may use what `access` stands for.
    pub fn check<'a>(&self, parts: &'a Parts, access: Access) -> Verdict<'a> {
        let facts = facts::facts_of(parts, access);
        match decide(&self.policy, &facts) {
            // Credentials are looked at only where they matter: a free caller's wrong token is no attack.
            Verdict::Deny(Refusal::TokenRequired) => {
                let credential = self.credential(&parts.headers, address_of(parts));
                decide(&self.policy, &RequestFacts { credential, ..facts })
            }
            verdict => verdict,
        }
    }

    fn credential(&self, headers: &HeaderMap, address: IpAddr) -> Credential {
        let now = SystemTime::now();
        let mut shown = false;
        for cookie in facts::cookies(headers, COOKIE) {
            shown = true;
            if self.credentials.is_cookie(cookie, now) {
                return Credential::Valid;
            }
        }
        match facts::bearer(headers) {
            Some(token) if self.try_token(token, address).is_ok() => Credential::Valid,
            Some(_) => Credential::Invalid,
            None if shown => Credential::Invalid,
            None => Credential::None,
        }
    }

    /// Checks a token shown by `address` and counts it when it is wrong.
    ///
    /// # Errors
    /// 401, or 429 after too many wrong ones.
    pub fn try_token(&self, token: &str, address: IpAddr) -> ApiResult<()> {
        let now = Instant::now();
        if let Some(seconds) = self.failures.blocked(address, now) {
            return Err(too_many_failures(seconds));
        }
        if self.credentials.is_token(token) {
            return Ok(());
        }
        self.failures.note(address, now);
        Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "this is not the token that the server printed at its start",
        )
        .with_code("token_required"))
    }

    fn refusal(&self, refusal: Refusal, parts: &Parts) -> ApiError {
        match refusal {
            Refusal::HostForbidden => ApiError::forbidden(
                "the server does not answer to this host name; start it with --allow-host NAME if it should",
            )
            .with_code("host_forbidden"),
            Refusal::OriginForbidden => ApiError::forbidden(
                "pages of this origin may not use the server; start it with --allow-origin ORIGIN if they should",
            )
            .with_code("origin_forbidden"),
            Refusal::TokenRequired => match self.failures.blocked(address_of(parts), Instant::now()) {
                Some(seconds) if facts::bearer(&parts.headers).is_some() => too_many_failures(seconds),
                _ => ApiError::new(
                    StatusCode::UNAUTHORIZED,
                    "open the address that the server printed at its start, or send its token as Authorization: Bearer TOKEN",
                )
                .with_code("token_required"),
            },
        }
    }
}

fn too_many_failures(seconds: u64) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, format!("too many wrong tokens; wait {seconds} s"))
        .with_code("too_many_attempts")
        .retry_after(seconds)
}

/// The peer's address for counting; unknown peers share one.
pub(crate) fn address_of(parts: &Parts) -> IpAddr {
    facts::peer_of(parts).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// The middleware around every route: decides, limits, survives panics, counts, and completes the headers.
pub(crate) async fn guard(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let route = facts::route_of(&parts).map(str::to_owned);
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let verdict = service.gate.check(&parts, facts::access_of(route.as_deref(), &path));
    let (mut response, cors) = match verdict {
        Verdict::Deny(refusal) => (service.gate.refusal(refusal, &parts).into_response(), None),
        Verdict::Preflight { cors } => (headers::preflight(&parts.headers), cors.map(str::to_owned)),
        Verdict::Allow { cors } => {
            let cors = cors.map(str::to_owned);
            let class = Class::of(&method, route.as_deref().unwrap_or(""));
            (limited(&service, class, Request::from_parts(parts, body), next).await, cors)
        }
    };
    headers::complete(response.headers_mut(), cors.as_deref(), &service.gate.policy);
    let status = response.status();
    service.metrics.count_request(&method, route.as_deref(), status);
    let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    // The path only: a query can hold the token.
    tracing::debug!(target: "scope_server::access", "{method} {path} {} {elapsed_ms:.1} ms", status.as_u16());
    response
}

async fn limited(service: &Service, class: Class, request: Request, next: Next) -> Response {
    let Some(_permit) = service.gate.limits.enter(class) else {
        return ApiError::busy(class.name()).into_response();
    };
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            ApiError::internal("the server made a mistake; its log has the details", &"a handler panicked")
                .into_response()
        }
    }
}
