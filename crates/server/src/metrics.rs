//! Numbers for Prometheus: a counter of requests, and a writer for the text format.

use axum::http::{Method, StatusCode};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Counts what the HTTP layer does.
#[derive(Default)]
pub struct Metrics {
    /// By method, route pattern and status: bounded by the routes there are.
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
}

impl Metrics {
    /// Counts one answered request.
    pub fn count_request(&self, method: &Method, route: Option<&str>, status: StatusCode) {
        // Methods are free text on the wire: keep strangers from making up labels.
        let known = matches!(
            *method,
            Method::GET
                | Method::HEAD
                | Method::POST
                | Method::PUT
                | Method::PATCH
                | Method::DELETE
                | Method::OPTIONS
        );
        let method = if known { method.as_str() } else { "other" };
        let key = (method.to_owned(), route.unwrap_or("ui").to_owned(), status.as_u16());
        *self.requests.lock().entry(key).or_default() += 1;
    }

    /// Writes the counters.
    pub fn write(&self, text: &mut PrometheusText) {
        text.family("scope_http_requests_total", "counter", "Answered HTTP requests");
        for ((method, route, status), count) in &*self.requests.lock() {
            let labels = [("method", method.as_str()), ("route", route), ("status", &status.to_string())];
            text.sample("scope_http_requests_total", &labels, *count as f64);
        }
    }
}

/// Text in the [exposition format](https://prometheus.io/docs/instrumenting/exposition_formats/) of Prometheus.
#[derive(Default)]
pub struct PrometheusText(String);

impl PrometheusText {
    /// Begins a family of samples; `kind` is `counter` or `gauge`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (key, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{key}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// A family of one sample.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_made_up_methods_share_one() {
        let metrics = Metrics::default();
        for method in ["FOO", "BAR"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            metrics.count_request(&method, Some("/a\"b"), StatusCode::NOT_FOUND);
        }
        let mut text = PrometheusText::default();
        metrics.write(&mut text);
        let text = text.finish();
        let line = r#"scope_http_requests_total{method="other",route="/a\"b",status="404"} 2"#;
        assert!(text.lines().any(|each| each == line), "{text}");
    }
}
