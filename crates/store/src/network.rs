//! Which machines are talked to, and how.
//!
//! Every address, of the first request and of each redirect, is checked against a list of hosts. Names are resolved here, and
//! addresses inside private networks are refused unless the user configured that very host: a public name cannot lead to a
//! service behind the user's firewall. A key goes to the service it belongs to and to nobody else, redirects included.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, LOCATION, RANGE};
use reqwest::{Client, Method, Response, Url, redirect};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 6;

/// A service whose key we may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Hugging Face access token.
    HuggingFace,
    /// CivitAI API token.
    CivitAi,
}

/// Where keys come from.
pub trait Secrets: Send + Sync {
    /// The user's key for a service. May read the disk.
    fn key(&self, of: Credential) -> Option<String>;
}

/// No keys.
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn key(&self, _: Credential) -> Option<String> {
        None
    }
}

/// Turns names into addresses.
pub trait Lookup: Send + Sync {
    /// The addresses of `name`.
    fn lookup(&self, name: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
}

/// The system's resolver.
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// A host that may be talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// Its name in lower case, or its address.
    pub host: String,
    /// Whether names below it are meant as well.
    pub subdomains: bool,
    /// Its port; any when `None`.
    pub port: Option<u16>,
    /// Whether it may be talked to without encryption.
    pub plain: bool,
    /// Whether it may be inside a private network.
    pub private: bool,
    /// Whose key it gets.
    pub credential: Option<Credential>,
}

impl HostRule {
    fn public(host: &str, subdomains: bool, credential: Option<Credential>) -> Self {
        Self { host: host.into(), subdomains, port: None, plain: false, private: false, credential }
    }

    /// The rule for a host that the user names, as a base address.
    fn configured(base: &Url) -> Option<Self> {
        Some(Self {
            host: base.host_str()?.to_ascii_lowercase(),
            subdomains: false,
            port: base.port_or_known_default(),
            plain: base.scheme() == "http",
            private: true,
            credential: None,
        })
    }

    fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let named = host.eq_ignore_ascii_case(&self.host)
            || (self.subdomains
                && host
                    .to_ascii_lowercase()
                    .strip_suffix(&self.host)
                    .is_some_and(|rest| rest.ends_with('.')));
        let scheme = url.scheme() == "https" || (self.plain && url.scheme() == "http");
        named && scheme && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

/// Why a network cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// An address that the user configured is none.
    #[error("{0:?} is no address of a server; write it as https://HOST[:PORT]")]
    Address(String),
    /// The HTTP client could not be made.
    #[error("downloads are impossible here: {0}")]
    Client(String),
}

/// Everything about the network that can be chosen.
#[derive(Clone)]
pub struct NetworkOptions {
    /// Where files come from that name no server of their own.
    pub hub: Url,
    /// CivitAI's address.
    pub civitai: Url,
    /// Who may be talked to.
    pub hosts: Vec<HostRule>,
    /// How names become addresses.
    pub lookup: Arc<dyn Lookup>,
    /// Whether `HTTPS_PROXY` and its kin are heeded.
    pub proxies: bool,
    /// How long a connection may take, and an answer's beginning.
    pub answer_timeout: Duration,
}

impl NetworkOptions {
    /// The public services. With `mirror`, Hugging Face's files come from there instead; `more_hosts` may be redirected to.
    ///
    /// # Errors
    /// [`NetworkError::Address`].
    pub fn public(mirror: Option<&str>, more_hosts: &[String]) -> Result<Self, NetworkError> {
        let hosts = vec![
            HostRule::public("huggingface.co", false, Some(Credential::HuggingFace)),
            HostRule::public("hf.co", false, Some(Credential::HuggingFace)),
            HostRule::public("huggingface.co", true, None),
            HostRule::public("hf.co", true, None),
            HostRule::public("civitai.com", false, Some(Credential::CivitAi)),
            HostRule::public("civitai.com", true, None),
            // Where torchvision's weights are.
            HostRule::public("download.pytorch.org", false, None),
            // Where CivitAI keeps its files.
            HostRule::public("r2.cloudflarestorage.com", true, None),
        ];
        Self::with(mirror, more_hosts, "https://huggingface.co/", hosts)
    }

    /// PyPI's files, and nothing else. With `mirror`, they come from there instead; `more_hosts` may be redirected to.
    ///
    /// # Errors
    /// [`NetworkError::Address`].
    pub fn pypi(mirror: Option<&str>, more_hosts: &[String]) -> Result<Self, NetworkError> {
        let hosts = vec![HostRule::public("files.pythonhosted.org", false, None)];
        Self::with(mirror, more_hosts, "https://files.pythonhosted.org/", hosts)
    }

    fn with(
        mirror: Option<&str>,
        more_hosts: &[String],
        usual: &str,
        mut hosts: Vec<HostRule>,
    ) -> Result<Self, NetworkError> {
        for host in more_hosts.iter().map(String::as_str).chain(mirror) {
            let address = || NetworkError::Address(host.chars().take(100).collect());
            let url = base_url(host).ok_or_else(address)?;
            // The service itself under another spelling gains nothing, and keeps its key.
            if !hosts.iter().any(|rule| rule.credential.is_some() && rule.allows(&url)) {
                hosts.push(HostRule::configured(&url).ok_or_else(address)?);
            }
        }
        let constant = |text: &str| Url::parse(text).map_err(|_| NetworkError::Address(text.into()));
        Ok(Self {
            hub: mirror.and_then(base_url).map_or_else(|| constant(usual), Ok)?,
            civitai: constant("https://civitai.com/")?,
            hosts,
            lookup: Arc::new(SystemLookup),
            proxies: true,
            answer_timeout: Duration::from_secs(30),
        })
    }
}

/// Reads `https://HOST[:PORT][/PATH]` as an address that others can be resolved against.
pub(crate) fn base_url(text: &str) -> Option<Url> {
    let mut url = Url::parse(text.trim()).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || !plain || url.host_str().is_none() {
        return None;
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Some(url)
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The address may not be talked to.
    #[error("{host} is not among the hosts that files may come from")]
    HostNotAllowed {
        /// The host.
        host: String,
    },
    /// A public name leads into a private network.
    #[error("{host} leads into a private network; only a mirror that is configured may")]
    PrivateAddress {
        /// The host.
        host: String,
    },
    /// Redirects do not end.
    #[error("{host} redirects in circles")]
    TooManyRedirects {
        /// The last host.
        host: String,
    },
    /// A redirect without a usable target.
    #[error("{host} redirects to nowhere")]
    BadRedirect {
        /// The host.
        host: String,
    },
    /// No answer.
    #[error("{host} cannot be reached: {problem}")]
    Unreachable {
        /// The host.
        host: String,
        /// In a few words.
        problem: &'static str,
    },
}

/// A connection to the services, under the rules.
#[derive(Clone)]
pub(crate) struct Network {
    client: Client,
    options: Arc<NetworkOptions>,
    secrets: Arc<dyn Secrets>,
}

/// An answer, and what was learned on the way to it.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Headers of the answers that redirected, in order.
    pub(crate) hops: Vec<reqwest::header::HeaderMap>,
    /// Whether a key went with the first request.
    pub(crate) had_key: bool,
}

impl Network {
    pub(crate) fn new(options: NetworkOptions, secrets: Arc<dyn Secrets>) -> Result<Self, NetworkError> {
        let options = Arc::new(options);
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("scope/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.answer_timeout)
            .dns_resolver(Arc::new(GuardedLookup {
                options: Arc::clone(&options),
                proxies: if options.proxies { proxy_hosts() } else { Vec::new() },
            }));
        if !options.proxies {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| NetworkError::Client(error.to_string()))?;
        Ok(Self { client, options, secrets })
    }

    /// The same network with other keys.
    pub(crate) fn with_secrets(&self, secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets, ..self.clone() }
    }

    pub(crate) fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// Sends a request for the bytes of `url` from `from` on, and follows redirects under the rules.
    pub(crate) async fn send(&self, method: Method, url: &Url, from: u64) -> Result<Answer, RequestError> {
        self.follow(method, url, from, |_| true).await
    }

    /// Asks for the headers of `url`. Redirects to other hosts are checked and reported, not followed.
    pub(crate) async fn ask(&self, url: &Url) -> Result<Answer, RequestError> {
        let first = url.origin();
        self.follow(Method::HEAD, url, 0, |next| next.origin() == first).await
    }

    async fn follow(
        &self,
        method: Method,
        url: &Url,
        from: u64,
        goes_on: impl Fn(&Url) -> bool,
    ) -> Result<Answer, RequestError> {
        let first = url.origin();
        let mut url = url.clone();
        let mut hops = Vec::new();
        let mut had_key = false;
        loop {
            let rule = self.check(&url)?;
            let mut request =
                self.client.request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            // Another host never gets a key, not even one that would be its own: it did not ask us to come.
            if let Some(credential) = rule.credential.filter(|_| url.origin() == first)
                && let Some(key) = self.key(credential).await
            {
                request = request.bearer_auth(key);
                had_key = true;
            }
            let host = host_of(&url);
            let sent = tokio::time::timeout(self.options.answer_timeout, request.send()).await;
            let silent = RequestError::Unreachable { host: host.clone(), problem: "no answer in time" };
            let response = sent.map_err(|_| silent)?.map_err(|error| explain(&error, &host))?;
            if !response.status().is_redirection() || response.status().as_u16() == 304 {
                return Ok(Answer { response, hops, had_key });
            }
            if hops.len() >= MAX_REDIRECTS {
                return Err(RequestError::TooManyRedirects { host });
            }
            let target = response.headers().get(LOCATION).and_then(|value: &HeaderValue| value.to_str().ok());
            let target = target.and_then(|target| url.join(target).ok());
            url = target.ok_or(RequestError::BadRedirect { host })?;
            if !goes_on(&url) {
                self.check(&url)?;
                return Ok(Answer { response, hops, had_key });
            }
            hops.push(response.headers().clone());
        }
    }

    /// Whether `url` may be talked to, and by which rule.
    pub(crate) fn check(&self, url: &Url) -> Result<&HostRule, RequestError> {
        let host = host_of(url);
        let plain = url.username().is_empty() && url.password().is_none();
        let rule = self.options.hosts.iter().find(|rule| rule.allows(url)).filter(|_| plain);
        let rule = rule.ok_or_else(|| RequestError::HostNotAllowed { host: host.clone() })?;
        // Literal addresses are resolved by nobody.
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        if !rule.private && literal.is_ok_and(is_private) {
            return Err(RequestError::PrivateAddress { host });
        }
        Ok(rule)
    }

    async fn key(&self, credential: Credential) -> Option<String> {
        let secrets = Arc::clone(&self.secrets);
        let key = tokio::task::spawn_blocking(move || secrets.key(credential)).await.ok().flatten()?;
        // A key that cannot be a header's value is none.
        HeaderValue::from_str(&key).is_ok().then_some(key)
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("?").chars().take(120).collect()
}

fn explain(error: &reqwest::Error, host: &str) -> RequestError {
    let host = host.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<PrivateAddress>() {
            return RequestError::PrivateAddress { host };
        }
        source = cause.source();
    }
    let problem = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke off"
    };
    RequestError::Unreachable { host, problem }
}

#[derive(Debug, thiserror::Error)]
#[error("the name leads into a private network")]
struct PrivateAddress;

/// Resolves names, and keeps public ones from leading inside.
struct GuardedLookup {
    options: Arc<NetworkOptions>,
    proxies: Vec<String>,
}

impl Resolve for GuardedLookup {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_ascii_lowercase();
        let configured = |rule: &HostRule| rule.private && rule.host == host;
        let free = self.options.hosts.iter().any(configured) || self.proxies.contains(&host);
        let lookup = self.options.lookup.lookup(host);
        Box::pin(async move {
            let found = lookup.await?;
            let usable: Vec<_> = found
                .iter()
                .filter(|ip| free || !is_private(**ip))
                .map(|ip| SocketAddr::new(*ip, 0))
                .collect();
            if usable.is_empty() && !found.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

/// The hosts of the proxies that the environment names. They resolve names in our place, and are usually inside.
fn proxy_hosts() -> Vec<String> {
    let names = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let host = |text: String| {
        let url = Url::parse(&text).or_else(|_| Url::parse(&format!("http://{text}"))).ok()?;
        Some(url.host_str()?.to_ascii_lowercase())
    };
    names.iter().filter_map(|name| host(std::env::var(name).ok()?)).collect()
}

/// Whether an address is not one of the public internet.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_private_v6(ip), is_private_v4),
    }
}

/// Blocks of the [IPv4 special-purpose registry](https://www.iana.org/assignments/iana-ipv4-special-registry).
fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

/// Only global unicast, and of that nothing that carries an IPv4 address or is set aside.
fn is_private_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let global = a & 0xe000 == 0x2000;
    let six_to_four = a == 0x2002;
    let special = a == 0x2001 && (b < 0x200 || b == 0xdb8);
    !global || six_to_four || special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(mirror: Option<&str>, more: &[&str]) -> Network {
        let more: Vec<_> = more.iter().map(|host| (*host).to_owned()).collect();
        Network::new(NetworkOptions::public(mirror, &more).unwrap(), Arc::new(NoSecrets)).unwrap()
    }

    fn credential(network: &Network, url: &str) -> Result<Option<Credential>, RequestError> {
        network.check(&Url::parse(url).unwrap()).map(|rule| rule.credential)
    }

    #[test]
    fn only_known_hosts_are_talked_to_and_only_the_services_themselves_get_keys() {
        let network = network(None, &[]);
        for (url, key) in [
            ("https://huggingface.co/a/b", Some(Credential::HuggingFace)),
            ("https://HF.co/a", Some(Credential::HuggingFace)),
            ("https://cdn-lfs.huggingface.co/x", None),
            ("https://cas-bridge.xethub.hf.co/x", None),
            ("https://civitai.com/api", Some(Credential::CivitAi)),
            ("https://b2.civitai.com/x", None),
            ("https://download.pytorch.org/models/a.pth", None),
            ("https://bucket.account.r2.cloudflarestorage.com/x", None),
        ] {
            assert_eq!(credential(&network, url), Ok(key), "{url}");
        }
        for url in [
            "http://huggingface.co/a",
            "https://huggingface.co.evil.example/a",
            "https://evilhuggingface.co/a",
            "http://download.pytorch.org/models/a.pth",
            "https://pytorch.org/a",
            "https://user@huggingface.co/a",
            "https://169.254.169.254/latest",
            "https://127.0.0.1/a",
            "https://[::1]/a",
            "https://localhost/a",
            "https://r2.cloudflarestorage.com.evil.example/a",
            "file:///etc/passwd",
            "ftp://huggingface.co/a",
        ] {
            assert!(matches!(credential(&network, url), Err(RequestError::HostNotAllowed { .. })), "{url}");
        }
    }

    #[test]
    fn every_server_of_the_built_in_manifest_may_be_talked_to() {
        let (network, manifest) = (network(None, &[]), crate::Manifest::builtin());
        let files = manifest.pipelines().iter().flat_map(|pipeline| &pipeline.files);
        let servers = files.filter_map(|file| manifest.repository(&file.repository)?.server.as_deref());
        let servers: std::collections::BTreeSet<_> = servers.collect();
        assert!(!servers.is_empty());
        for server in servers {
            assert_eq!(credential(&network, server), Ok(None), "{server}");
        }
    }

    #[test]
    fn a_mirror_is_trusted_as_configured_and_gets_no_key() {
        let network = network(Some("http://10.0.0.5:8080/hf"), &["https://files.lan"]);
        assert_eq!(network.options().hub.as_str(), "http://10.0.0.5:8080/hf/");
        assert_eq!(credential(&network, "http://10.0.0.5:8080/hf/a"), Ok(None));
        assert_eq!(credential(&network, "https://files.lan/x"), Ok(None));
        for url in
            ["http://10.0.0.5/a", "http://10.0.0.6:8080/a", "http://files.lan/x", "https://a.files.lan/"]
        {
            assert!(credential(&network, url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_service_under_its_own_name_is_no_mirror() {
        let network = network(Some("https://huggingface.co"), &[]);
        assert_eq!(credential(&network, "https://huggingface.co/a"), Ok(Some(Credential::HuggingFace)));
        assert!(network.options().hosts.iter().all(|rule| !rule.private));
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for text in ["", "huggingface.co", "ftp://x", "https://u:p@x", "https://x/?q", "https://"] {
            assert!(NetworkOptions::public(Some(text), &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn private_and_reserved_addresses_are_known() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "18.164.174.10", "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }
}
