//! What the streaming core tells the rest of the server.

use crate::Service;
use crate::events::Event;
use crate::metrics::PrometheusText;

/// What a watching page should know first.
pub(super) fn current_events(_service: &Service) -> Vec<Event> {
    Vec::new()
}

/// Numbers of the core.
pub(super) fn write_metrics(_service: &Service, _text: &mut PrometheusText) {}
