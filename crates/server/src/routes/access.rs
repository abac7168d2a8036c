//! Getting in: the token, and the cookie that follows from it.

use crate::Service;
use crate::http::{ApiJson, ApiResult};
use crate::security::{self, Access, COOKIE, COOKIE_LIFETIME, Verdict};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(status, sign_in))
}

/// Whether the caller may use the API.
#[derive(Debug, Serialize, ToSchema)]
struct AuthStatus {
    authorized: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
struct SignIn {
    /// The token that the server printed at its start.
    token: String,
}

/// Tells whether the caller may use the API. Never 401.
#[utoipa::path(get, path = "/api/v1/auth", tag = "access", responses((status = 200, body = AuthStatus)))]
async fn status(State(service): State<Arc<Service>>, request: Request) -> Json<AuthStatus> {
    let (parts, _) = request.into_parts();
    let verdict = service.gate.check(&parts, Access::Protected);
    Json(AuthStatus { authorized: matches!(verdict, Verdict::Allow { .. }) })
}

/// Exchanges the launch token for a session cookie.
#[utoipa::path(post, path = "/api/v1/auth", tag = "access", request_body = SignIn,
    responses((status = 204, description = "The cookie is set"), (status = 401), (status = 429)))]
async fn sign_in(
    State(service): State<Arc<Service>>,
    parts: Parts,
    ApiJson(body): ApiJson<SignIn>,
) -> ApiResult<Response> {
    service.gate.try_token(&body.token, security::address_of(&parts))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(&service))]).into_response())
}

/// `/?token=…`: sets the cookie and leads to the page itself, so that the token leaves the address bar. A wrong token leads there
/// as well; the page asks for another.
pub(super) fn sign_in_by_address(service: &Service, parts: &Parts, token: &str) -> Response {
    let mut response = match service.gate.try_token(token, security::address_of(parts)) {
        Ok(()) => (Redirect::to("/")).into_response(),
        Err(error) if error.status == StatusCode::TOO_MANY_REQUESTS => return error.into_response(),
        Err(_) => return Redirect::to("/").into_response(),
    };
    response.headers_mut().insert(header::SET_COOKIE, cookie(service));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn cookie(service: &Service) -> HeaderValue {
    let value = service.gate.credentials.issue_cookie(SystemTime::now());
    let seconds = COOKIE_LIFETIME.as_secs();
    let text = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    // Digits and hexadecimal letters only.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
