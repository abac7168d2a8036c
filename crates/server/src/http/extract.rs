use super::{ApiError, ApiResult};
use crate::Service;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A JSON body. Anything but `application/json` is 415, an oversized body 413, and a body that is no JSON or has the
/// wrong shape is 422 with the place of the problem.
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Service>> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, service: &Arc<Service>) -> ApiResult<Self> {
        require_json(request.headers())?;
        let body = read_body(request, service).await?;
        parse_json(&body).map(Self)
    }
}

/// A JSON body that may be absent altogether: then the default.
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<Service>> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, service: &Arc<Service>) -> ApiResult<Self> {
        let json = require_json(request.headers());
        let body = read_body(request, service).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        json?;
        parse_json(&body).map(Self)
    }
}

/// A path parameter; one that cannot be decoded is 422.
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(error) => {
                Err(ApiError::invalid("path_type", vec!["path".into()], error.body_text(), Value::Null))
            }
        }
    }
}

/// The query, with the checks that handlers need.
#[derive(Clone, Debug, Default)]
pub struct ApiQuery(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for ApiQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::invalid("query", vec!["query".into()], error.body_text(), Value::Null))
    }
}

impl ApiQuery {
    /// The value of `name`, when given and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// 422 when absent.
    pub fn required(&self, name: &str) -> ApiResult<&str> {
        self.text(name).ok_or_else(|| {
            ApiError::invalid("missing", vec!["query".into(), name.into()], "Field required", Value::Null)
        })
    }

    /// The whole number `name`, or `default`.
    ///
    /// # Errors
    /// 422 when it is no whole number or outside `range`.
    pub fn integer(&self, name: &str, default: u64, range: RangeInclusive<u64>) -> ApiResult<u64> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let loc = vec!["query".into(), name.into()];
        let (low, high) = (*range.start(), *range.end());
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => Ok(number),
            Ok(number) => {
                let (kind, word, bound) = if number < low {
                    ("greater_than_equal", "greater", low)
                } else {
                    ("less_than_equal", "less", high)
                };
                let msg = format!("Input should be {word} than or equal to {bound}");
                Err(ApiError::invalid(kind, loc, msg, text.into()))
            }
            Err(_) => Err(ApiError::invalid(
                "int_parsing",
                loc,
                format!("Input should be a whole number from {low} to {high}"),
                text.into(),
            )),
        }
    }
}

/// Whether the content type is JSON.
fn require_json(headers: &HeaderMap) -> ApiResult<()> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = "this route takes JSON: send the header Content-Type: application/json";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).with_code("content_type"))
}

async fn read_body(request: Request, service: &Arc<Service>) -> ApiResult<Bytes> {
    let reading = Bytes::from_request(request, service);
    match tokio::time::timeout(service.config.body_timeout, reading).await {
        Ok(body) => body.map_err(|error| body_error(&error)),
        Err(_) => Err(too_slow()),
    }
}

/// 408: a slow sender must not hold a place for ever.
pub(crate) fn too_slow() -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time")
}

fn body_error(rejection: &axum::extract::rejection::BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => ApiError::new(status, "the request body could not be read"),
    }
}

/// 413.
pub(crate) fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the request body is larger than this route accepts")
        .with_code("body_too_large")
}

/// Reads `T` from a JSON text.
fn parse_json<T: DeserializeOwned>(body: &[u8]) -> ApiResult<T> {
    if body.is_empty() {
        return Err(ApiError::invalid("missing", vec!["body".into()], "Field required", Value::Null));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let loc = vec!["body".into(), error.column().into()];
        ApiError::invalid(
            "json_invalid",
            loc,
            format!("JSON decode error: {error}"),
            Value::Object(Map::new()),
        )
    })?;
    // Reading borrows, so that the offending part can be quoted.
    serde_path_to_error::deserialize(&value).map_err(|error| shape_error(&value, &error))
}

/// Says where in `body` the shape is wrong, in the words of the clients' validation library.
fn shape_error(body: &Value, error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    use serde_path_to_error::Segment;
    let mut loc = vec![json!("body")];
    let mut input = Some(body);
    for segment in error.path() {
        match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => {
                loc.push(key.as_str().into());
                input = input.and_then(|value| value.get(key));
            }
            Segment::Seq { index } => {
                loc.push((*index).into());
                input = input.and_then(|value| value.get(*index));
            }
            Segment::Unknown => {}
        }
    }
    let message = error.inner().to_string();
    let input = input.cloned().unwrap_or(Value::Null);
    match message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        Some(field) => {
            loc.push(field.into());
            ApiError::invalid("missing", loc, "Field required", input)
        }
        None => ApiError::invalid("type_error", loc, message, input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        items: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        candidate: String,
    }

    fn problem(body: &str) -> Value {
        let error = parse_json::<Outer>(body.as_bytes()).unwrap_err();
        assert_eq!(error.status, StatusCode::UNPROCESSABLE_ENTITY);
        error.detail[0].clone()
    }

    #[test]
    fn a_missing_field_is_named_with_its_place() {
        let body = r#"{"items": [{"candidate": "x"}, {"port": 3}]}"#;
        let expected = json!({"type": "missing", "loc": ["body", "items", 1, "candidate"], "msg": "Field required", "input": {"port": 3}});
        assert_eq!(problem(body), expected);
        assert_eq!(problem("{}")["loc"], json!(["body", "items"]));
        assert_eq!(problem("")["loc"], json!(["body"]));
    }

    #[test]
    fn a_wrong_type_quotes_the_input() {
        let problem = problem(r#"{"items": [{"candidate": 7}]}"#);
        assert_eq!(problem["loc"], json!(["body", "items", 0, "candidate"]));
        assert_eq!((&problem["type"], &problem["input"]), (&json!("type_error"), &json!(7)));
    }

    #[test]
    fn text_that_is_no_json_is_told_apart() {
        assert_eq!(problem("{\"items\": [")["type"], "json_invalid");
        assert_eq!(problem("\u{0}")["type"], "json_invalid");
    }

    #[test]
    fn numbers_of_a_query_are_checked_against_their_range() {
        let query = ApiQuery(vec![("lines".into(), "0".into()), ("n".into(), "x".into())]);
        assert_eq!(
            query.integer("lines", 200, 1..=1000).unwrap_err().detail[0]["type"],
            "greater_than_equal"
        );
        assert_eq!(query.integer("n", 200, 1..=1000).unwrap_err().detail[0]["type"], "int_parsing");
        assert_eq!(query.integer("absent", 200, 1..=1000).unwrap(), 200);
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body: Vec<u8>) {
            let _ = parse_json::<Outer>(&body).is_ok();
        }
    }
}
