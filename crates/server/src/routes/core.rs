//! What the streaming core tells the rest of the server.

use crate::Service;
use crate::events::Event;
use crate::metrics::PrometheusText;
use serde_json::json;

/// What a watching page should know first.
pub(super) fn current_events(service: &Service) -> Vec<Event> {
    let downloads = service.download_events().into_iter().map(|data| Event { name: "models", data });
    let core = [
        Event { name: "pipeline_status", data: json!(service.models.status()) },
        Event { name: "sessions", data: json!({"count": service.sessions.count()}) },
    ];
    core.into_iter().chain(downloads).collect()
}

/// Numbers of the core.
pub(super) fn write_metrics(service: &Service, text: &mut PrometheusText) {
    let sessions: Vec<_> =
        service.sessions.all().iter().map(|it| (it.id().to_owned(), it.metrics())).collect();
    text.gauge("scope_sessions", "Running sessions", sessions.len() as f64);
    text.gauge("scope_pipelines_loaded", "Loaded pipelines", service.models.loaded().len() as f64);
    type Value = fn(&scope_stream::Metrics) -> f64;
    let families: [(&str, &str, &str, Value); 6] = [
        ("scope_session_frames_in_total", "counter", "Frames that came in", |it| it.frames_in as f64),
        ("scope_session_frames_out_total", "counter", "Frames that went out", |it| it.frames_out as f64),
        ("scope_session_fps_in", "gauge", "Incoming frames per second", |it| it.fps_in),
        ("scope_session_fps_out", "gauge", "Outgoing frames per second", |it| it.fps_out),
        ("scope_session_chunk_milliseconds", "gauge", "Time the last chunk took", |it| it.chunk_ms),
        ("scope_session_queue_frames", "gauge", "Frames that wait", |it| it.queue_frames as f64),
    ];
    for (name, kind, help, value) in families {
        text.family(name, kind, help);
        for (id, metrics) in &sessions {
            text.sample(name, &[("session", id)], value(metrics));
        }
    }
    text.family("scope_session_dropped_frames_total", "counter", "Frames dropped, by cause");
    for (id, metrics) in &sessions {
        for (cause, count) in json!(metrics.drops).as_object().into_iter().flatten() {
            let count = count.as_f64().unwrap_or(0.0);
            text.sample("scope_session_dropped_frames_total", &[("session", id), ("cause", cause)], count);
        }
    }
}
