//! The data channel's JSON, both ways. Pure.

use scope_pipelines::ParameterError;
use scope_stream::{Metrics, SessionEvent, StopReason};
use serde_json::{Map, Value, json};

/// Longest message accepted from a client.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Reads a client's message: a flat object of parameters.
///
/// # Errors
/// A text for the client.
pub fn parse(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(format!(
            "the message has {} bytes; at most {MAX_MESSAGE_BYTES} are accepted",
            bytes.len()
        ));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("the message is no JSON object of parameters".into()),
        Err(error) => Err(format!("the message is no JSON: {error}")),
    }
}

/// What a client is told about a session event.
pub(super) fn from_event(event: SessionEvent) -> Value {
    match event {
        SessionEvent::State(state) => json!({"type": "state", "state": state}),
        SessionEvent::ParametersUpdated(parameters) => {
            json!({"type": "parameters_updated", "parameters": parameters})
        }
        SessionEvent::ChangeScheduled(delay) => {
            json!({"type": "change_scheduled", "delay_ms": delay.as_secs_f64() * 1e3})
        }
        SessionEvent::ChangeApplied => json!({"type": "change_applied"}),
        SessionEvent::Score { frame, made, left } => {
            json!({"type": "score", "frame": frame, "made": made, "left": left})
        }
        SessionEvent::Error { code, message, parameters } => error(&code, &message, &parameters, None),
        SessionEvent::Warning { code, message } => {
            json!({"type": "warning", "code": code, "message": message})
        }
        SessionEvent::Stopped(StopReason::Requested) => json!({"type": "stream_stopped"}),
        SessionEvent::Stopped(StopReason::Failed { code, message }) => {
            json!({"type": "stream_stopped", "error_message": message, "error_code": code})
        }
    }
}

/// Tells that something was refused.
pub(super) fn error(code: &str, message: &str, parameters: &[ParameterError], id: Option<&str>) -> Value {
    let mut out = json!({"type": "error", "code": code, "message": message});
    if !parameters.is_empty() {
        out["parameters"] = json!(parameters);
    }
    if let Some(id) = id {
        out["id"] = json!(id);
    }
    out
}

/// Tells which parameters of a message were refused or changed.
pub(super) fn parameter_problems(problems: &[ParameterError], id: Option<&str>) -> Value {
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    error("invalid_parameters", &text.join("; "), problems, id)
}

/// Tells which picture shows an update first.
pub(super) fn applied(id: &str, chunk: u64, rtp_time: u64) -> Value {
    json!({"type": "applied", "id": id, "chunk": chunk, "rtp_timestamp": rtp_time as u32})
}

/// What the transport adds to a session's numbers. Unknown values are null.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[allow(missing_docs)]
pub struct TransportMetrics {
    pub bitrate_bps: Option<u64>,
    pub estimate_bps: Option<u64>,
    pub rtt_ms: Option<f64>,
    pub loss: Option<f64>,
    pub encode_ms: Option<f64>,
    pub codec: Option<&'static str>,
}

/// The once-a-second report.
pub(super) fn metrics(session: &Metrics, transport: &TransportMetrics) -> Value {
    let mut out = Map::from_iter([("type".to_owned(), json!("metrics"))]);
    for part in [json!(session), json!(transport)] {
        if let Value::Object(part) = part {
            out.extend(part);
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_an_object_is_refused_with_a_reason() {
        for bad in [&b""[..], b"{", b"3", b"[1]", b"\xff\xfe", b"{\"a\": }"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(&[b' '; MAX_MESSAGE_BYTES + 1]).unwrap_err().contains("at most"));
        assert_eq!(parse(br#"{"a": 1}"#).unwrap()["a"], 1);
    }

    #[test]
    fn every_truncation_of_a_message_is_handled() {
        let message = br#"{"prompts": [{"text": "a \u00e4 cow", "weight": 1.5}], "noise_scale": 0.5}"#;
        for length in 0..message.len() {
            assert!(parse(&message[..length]).is_err());
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let deep = [b"{\"a\":".repeat(5000), b"1".to_vec(), b"}".repeat(5000)].concat();
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn a_failure_carries_its_text_and_a_request_does_not() {
        let failed = StopReason::Failed { code: "out_of_memory".into(), message: "no room".into() };
        assert_eq!(
            from_event(SessionEvent::Stopped(failed)),
            json!({"type": "stream_stopped", "error_message": "no room", "error_code": "out_of_memory"})
        );
        let asked = from_event(SessionEvent::Stopped(StopReason::Requested));
        assert_eq!(asked, json!({"type": "stream_stopped"}));
    }

    #[test]
    fn rtp_timestamps_wrap_as_on_the_wire() {
        assert_eq!(applied("t", 3, (1 << 32) + 5)["rtp_timestamp"], 5);
    }
}
