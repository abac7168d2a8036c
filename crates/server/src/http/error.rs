use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A refusal as clients read it: `{"detail": …}`, and `code` where a client can act on it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A text for people, or what a client expects in its place (validation problems are a list).
    pub detail: Value,
    /// Machine-readable reason; the list is in `docs/protocol.md`.
    pub code: Option<&'static str>,
    /// After how many seconds trying again makes sense.
    pub retry_after_s: Option<u64>,
}

impl ApiError {
    /// An error without a code.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: Value::String(detail.into()), code: None, retry_after_s: None }
    }

    /// The same error with a machine-readable code.
    #[must_use]
    pub const fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The same error with advice on when to try again.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 500; the cause goes to the log, the client gets only `detail`.
    pub fn internal(detail: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "{detail}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail).with_code("internal")
    }

    /// 503: too much of this kind is already going on.
    pub fn busy(what: &str) -> Self {
        let detail = format!("too many {what} at the same time; try again shortly");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_code("busy").retry_after(1)
    }

    /// 422 with one problem in the shape that existing clients parse.
    pub fn invalid(kind: &str, loc: Vec<Value>, msg: impl Into<String>, input: Value) -> Self {
        let entries: [(&str, Value); 4] =
            [("type", kind.into()), ("loc", Value::Array(loc)), ("msg", msg.into().into()), ("input", input)];
        let problem: Map<String, Value> =
            entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            detail: Value::Array(vec![Value::Object(problem)]),
            code: None,
            retry_after_s: None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({"detail": self.detail});
        if let Some(code) = self.code {
            body["code"] = code.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"scope\""));
        }
        response
    }
}

/// What handlers return.
pub type ApiResult<T> = Result<T, ApiError>;
