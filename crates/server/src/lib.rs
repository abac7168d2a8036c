//! The HTTP server: the API, access control, uploads, logs, ICE servers, events, metrics, and hosting of the web interface.
//!
//! * [`Service`] is the state; handlers in [`routes`](router) are thin shells around its parts. All logic that can be is a pure
//!   function beside it: [`security::decide`], [`assets::range`], the parsers.
//! * [`router`] is the whole server as a service without a socket, which is how the tests use it. [`serve`] puts it on one.
//! * Sessions are started and looked after by [`Service::start_session`], whatever transport they belong to.
//! * Every request passes one guard, which knows hosts, origins and credentials, and which fails closed: a route is protected
//!   unless it is named as public.
//! * Disks and processes are waited for on blocking threads only.
//! * Errors are `{"detail": …, "code": …}`; validation problems have the list shape that existing clients parse.
//!
//! The wire is described by the OpenAPI document ([`openapi`]) and `docs/protocol.md`.

pub mod assets;
mod config;
mod downloads;
mod drain;
mod events;
pub mod hardware;
pub mod http;
pub mod ice;
mod kept;
mod keys;
pub mod logs;
mod loras;
mod metrics;
mod onboarding;
mod projects;
mod renders;
mod routes;
pub mod security;
mod serve;
mod service;
pub mod sessions;
mod ui;
pub mod webrtc;

pub use config::{Config, Dirs};
pub use downloads::model_store;
pub use events::{Event, Events, Watcher};
pub use keys::{KeyEntry, KeySource, KeyStore};
pub use metrics::{Metrics, PrometheusText};
pub use onboarding::{Onboarding, OnboardingStore};
pub use projects::{Expected, ProjectEntry, ProjectError, ProjectStore};
pub use routes::{openapi, router};
pub use serve::serve;
pub(crate) use service::blocking;
pub use service::{Service, Stop};
pub use ui::{Ui, UiFile};
