//! STUN and TURN servers for peers: our own list, and short-lived credentials of hosted services.
//!
//! Credentials are fetched when somebody asks, at most once at a time, and kept for four fifths of their lifetime. A service
//! that does not answer within three seconds is passed over, so a dead one cannot stall a connection; it is tried again after
//! half a minute.

mod providers;

pub use providers::{Endpoints, Provider};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use utoipa::ToSchema;

/// What the reference and browsers fall back to.
const DEFAULT_STUN: &str = "stun:stun.l.google.com:19302";
/// How long a service may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long a failure is remembered.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// One or several addresses, as the browser API takes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Urls {
    /// One address.
    One(String),
    /// Several addresses of one server.
    Many(Vec<String>),
}

/// An `RTCIceServer`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` addresses.
    pub urls: Urls,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials stay out of logs.
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl IceServer {
    /// Reads `stun:host:port` or `turn:user:password@host:port?transport=udp`, as the command line takes them.
    ///
    /// # Errors
    /// A text for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let help = "write stun:HOST[:PORT] or turn:USER:PASSWORD@HOST[:PORT]";
        let (scheme, rest) = text.split_once(':').ok_or_else(|| format!("{text:?} has no scheme; {help}"))?;
        if !matches!(scheme, "stun" | "stuns" | "turn" | "turns") || rest.is_empty() {
            return Err(format!("a server of the scheme {scheme:?} cannot be used; {help}"));
        }
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, rest),
        };
        if address.is_empty() || address.contains(char::is_whitespace) {
            return Err(format!("no host in the address of a {scheme} server; {help}"));
        }
        let (username, credential) = match login.map(|login| login.split_once(':')) {
            None if scheme.starts_with("turn") => {
                return Err(format!("a {scheme} server needs a login; {help}"));
            }
            None => (None, None),
            Some(Some((user, password))) => (Some(user.to_owned()), Some(password.to_owned())),
            Some(None) => return Err(format!("the login of a {scheme} server has no password; {help}")),
        };
        Ok(Self { urls: Urls::One(format!("{scheme}:{address}")), username, credential })
    }

    fn stun(url: &str) -> Self {
        Self { urls: Urls::One(url.into()), username: None, credential: None }
    }
}

/// Where ICE servers come from.
#[derive(Clone, Default)]
pub struct IceConfig {
    /// Always offered, first.
    pub servers: Vec<IceServer>,
    /// No public STUN server when nothing else is there.
    pub no_stun: bool,
    /// Hosted services in the order in which they are tried; a Hugging Face token may join later.
    pub providers: Vec<Provider>,
    /// Where the services are.
    pub endpoints: Endpoints,
}

impl fmt::Debug for IceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceConfig")
            .field("servers", &self.servers)
            .field("no_stun", &self.no_stun)
            .finish_non_exhaustive()
    }
}

/// Knows the ICE servers to use now.
pub struct IceServers {
    config: IceConfig,
    client: OnceLock<reqwest::Client>,
    /// Locked while fetching: whoever comes meanwhile waits for the result.
    cache: Mutex<Option<Cached>>,
}

struct Cached {
    providers: Vec<Provider>,
    servers: Vec<IceServer>,
    refresh_at: Instant,
    expires_at: Instant,
}

impl IceServers {
    /// Nothing is fetched yet.
    pub fn new(config: IceConfig) -> Self {
        Self { config, client: OnceLock::new(), cache: Mutex::new(None) }
    }

    /// The servers to offer at `now`. `hf_token` is the Hugging Face token in use, if any: it may change while we run.
    pub async fn get(&self, hf_token: Option<&str>, now: Instant) -> Vec<IceServer> {
        let mut servers = self.config.servers.clone();
        let hugging_face = hf_token.map(|token| Provider::HuggingFace { token: token.into() });
        let providers: Vec<_> = hugging_face.into_iter().chain(self.config.providers.clone()).collect();
        if !providers.is_empty() {
            servers.extend(self.hosted(providers, now).await);
        }
        if servers.is_empty() && !self.config.no_stun {
            servers.push(IceServer::stun(DEFAULT_STUN));
        }
        servers
    }

    async fn hosted(&self, providers: Vec<Provider>, now: Instant) -> Vec<IceServer> {
        let mut cache = self.cache.lock().await;
        if let Some(cached) = cache.as_ref().filter(|it| it.providers == providers && now < it.refresh_at) {
            return cached.servers.clone();
        }
        for provider in &providers {
            match self.fetch(provider).await {
                Ok((servers, ttl)) => {
                    let refresh_at = now + ttl.mul_f64(0.8);
                    *cache = Some(Cached {
                        providers,
                        servers: servers.clone(),
                        refresh_at,
                        expires_at: now + ttl,
                    });
                    return servers;
                }
                Err(error) => tracing::warn!("no TURN credentials from {}: {error}", provider.name()),
            }
        }
        // What we have is better than nothing while it is still good.
        let old = cache.take().filter(|it| it.providers == providers && now < it.expires_at);
        let (servers, expires_at) = old.map_or((Vec::new(), now), |it| (it.servers, it.expires_at));
        let soon = now + RETRY_AFTER;
        let refresh_at = if servers.is_empty() { soon } else { soon.min(expires_at) };
        *cache = Some(Cached { providers, servers: servers.clone(), refresh_at, expires_at });
        servers
    }

    async fn fetch(&self, provider: &Provider) -> Result<(Vec<IceServer>, Duration), String> {
        let client = match self.client.get() {
            Some(client) => client,
            None => {
                // Loads the system's certificates: not at start-up, and not on an async thread.
                let build = || {
                    reqwest::Client::builder()
                        .timeout(TIMEOUT)
                        .redirect(reqwest::redirect::Policy::none())
                        .build()
                };
                let built = tokio::task::spawn_blocking(build).await.map_err(|error| error.to_string())?;
                let built = built.map_err(|error| format!("TLS cannot be used: {error}"))?;
                self.client.get_or_init(|| built)
            }
        };
        providers::fetch(client, &self.config.endpoints, provider).await
    }
}

#[cfg(test)]
mod tests;
