//! Who may call: a pure function from a policy and the facts of a request to a verdict.

use std::net::IpAddr;

/// How much a route asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Files of the user interface: the page must be able to ask for the token.
    Static,
    /// The authorisation routes themselves.
    Auth,
    /// Readable by any page of the same origin and by local tools.
    Health,
    /// Readable by local tools without a token, even where one is required.
    Metrics,
    /// Everything else.
    Protected,
}

/// What the server was told to accept.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Local tools need the token as well.
    pub require_token: bool,
    /// Origins besides our own, lower case, as browsers send them; `null` must be named like any other.
    pub allow_origins: Vec<String>,
    /// Host names besides those of the loopback interface, lower case, without a port.
    pub hosts: Vec<String>,
    /// Bound to every interface: any IP address names us. An address cannot be rebound by DNS, a name can.
    pub any_address: bool,
}

/// A token or cookie shown with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing was shown.
    None,
    /// Something was shown, and it is not (or no longer) good.
    Invalid,
    /// A good token or cookie.
    Valid,
}

/// What matters about a request. A header that is present but unreadable, or sent twice, is `Some("")`.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// What the route asks for.
    pub access: Access,
    /// An `OPTIONS` request that asks for leave to send another.
    pub preflight: bool,
    /// A person following a link or typing an address, as opposed to a page's own request.
    pub navigation: bool,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// The peer is on the loopback interface and nothing says that a proxy stands in between.
    pub local: bool,
    /// Token or cookie.
    pub credential: Credential,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403: the `Host` header names somebody else (DNS rebinding).
    HostForbidden,
    /// 403: a page of another origin.
    OriginForbidden,
    /// 401.
    TokenRequired,
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Go on; with an origin, the answer names it in CORS headers.
    Allow {
        /// The foreign origin that was let in.
        cors: Option<&'a str>,
    },
    /// Answer the preflight of this origin.
    Preflight {
        /// The foreign origin that asks; `None` for our own.
        cors: Option<&'a str>,
    },
    /// No.
    Deny(Refusal),
}

enum Caller<'a> {
    Tool,
    SameOrigin,
    OtherOrigin(&'a str),
}

/// Decides on one request. The order matters: host, then origin, then credentials, so that a refusal tells a foreign page
/// nothing about tokens.
pub fn decide<'a>(policy: &Policy, facts: &RequestFacts<'a>) -> Verdict<'a> {
    let Some(host) = facts.host.filter(|host| host_allowed(policy, host)) else {
        return Verdict::Deny(Refusal::HostForbidden);
    };
    let caller = match (facts.origin, facts.fetch_site) {
        (Some(origin), _) if same_origin(origin, host) => Caller::SameOrigin,
        (Some(origin), _)
            if policy.allow_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) =>
        {
            Caller::OtherOrigin(origin)
        }
        (Some(_), _) => return Verdict::Deny(Refusal::OriginForbidden),
        (None, Some("same-origin" | "none")) => Caller::SameOrigin,
        // Following a link to the page itself shows that page, which no other may frame or read.
        (None, Some(_)) if facts.navigation && facts.access == Access::Static => Caller::SameOrigin,
        (None, Some(_)) => return Verdict::Deny(Refusal::OriginForbidden),
        (None, None) => Caller::Tool,
    };
    let cors = match caller {
        Caller::OtherOrigin(origin) => Some(origin),
        Caller::Tool | Caller::SameOrigin => None,
    };
    if facts.preflight {
        return Verdict::Preflight { cors };
    }
    // A name that only a proxy would use is not local, whoever connects.
    let local_tool = matches!(caller, Caller::Tool) && facts.local && is_loopback_host(host);
    let free = match facts.access {
        Access::Static | Access::Auth => true,
        Access::Health => local_tool || matches!(caller, Caller::SameOrigin),
        Access::Metrics => local_tool,
        Access::Protected => local_tool && !policy.require_token,
    };
    if free || facts.credential == Credential::Valid {
        Verdict::Allow { cors }
    } else {
        Verdict::Deny(Refusal::TokenRequired)
    }
}

/// Whether `host` (with or without a port) is one of our names.
fn host_allowed(policy: &Policy, host: &str) -> bool {
    let name = host_name(host);
    is_loopback_host(host)
        || policy.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
        || (policy.any_address && name.parse::<IpAddr>().is_ok())
}

pub(crate) fn is_loopback_host(host: &str) -> bool {
    let name = host_name(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(is_loopback)
}

/// Whether `ip` is this machine talking to itself; IPv4 written as IPv6 included.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// The host of `host[:port]`, without brackets and without a final dot; empty when malformed.
pub(crate) fn host_name(authority: &str) -> &str {
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, "")) => (name, None),
            Some((name, port)) => (name, port.strip_prefix(':').or(Some("?"))),
            None => return "",
        },
        None => match authority.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (authority, None),
        },
    };
    let port_ok = port.is_none_or(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()));
    if port_ok { name.strip_suffix('.').unwrap_or(name) } else { "" }
}

/// Whether `origin` is the page that `host` serves. The scheme is left open: TLS may end at a proxy.
fn same_origin(origin: &str, host: &str) -> bool {
    let (authority, default_port) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, ":80"),
        Some(("https", authority)) => (authority, ":443"),
        _ => return false,
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    !authority.is_empty() && authority.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOOL: RequestFacts<'_> = RequestFacts {
        access: Access::Protected,
        preflight: false,
        navigation: false,
        host: Some("localhost:8000"),
        origin: None,
        fetch_site: None,
        local: true,
        credential: Credential::None,
    };
    const PAGE: RequestFacts<'_> = RequestFacts { fetch_site: Some("same-origin"), ..TOOL };
    const FOREIGN: RequestFacts<'_> =
        RequestFacts { origin: Some("https://evil.example"), fetch_site: Some("cross-site"), ..TOOL };
    const OK: Verdict<'_> = Verdict::Allow { cors: None };
    const NO_HOST: Verdict<'_> = Verdict::Deny(Refusal::HostForbidden);
    const NO_ORIGIN: Verdict<'_> = Verdict::Deny(Refusal::OriginForbidden);
    const NO_TOKEN: Verdict<'_> = Verdict::Deny(Refusal::TokenRequired);

    fn policy() -> Policy {
        Policy { hosts: vec!["studio.lan".into()], ..Policy::default() }
    }

    #[test]
    fn callers_get_what_the_table_in_the_documentation_says() {
        let valid = Credential::Valid;
        let table = [
            ("local tool", TOOL, OK),
            ("local tool by address", RequestFacts { host: Some("127.0.0.1:8000"), ..TOOL }, OK),
            ("local tool by IPv6", RequestFacts { host: Some("[::1]:8000"), ..TOOL }, OK),
            ("local tool with a bad token", RequestFacts { credential: Credential::Invalid, ..TOOL }, OK),
            ("remote tool", RequestFacts { local: false, ..TOOL }, NO_TOKEN),
            ("remote tool with token", RequestFacts { local: false, credential: valid, ..TOOL }, OK),
            ("tool through a proxy", RequestFacts { host: Some("studio.lan"), ..TOOL }, NO_TOKEN),
            ("page without cookie", PAGE, NO_TOKEN),
            ("page with stale cookie", RequestFacts { credential: Credential::Invalid, ..PAGE }, NO_TOKEN),
            ("page with cookie", RequestFacts { credential: valid, ..PAGE }, OK),
            ("typed address", RequestFacts { fetch_site: Some("none"), credential: valid, ..PAGE }, OK),
            (
                "page that names its origin",
                RequestFacts { origin: Some("http://localhost:8000"), credential: valid, ..PAGE },
                OK,
            ),
            (
                "page behind TLS",
                RequestFacts {
                    host: Some("studio.lan"),
                    origin: Some("https://studio.lan"),
                    credential: valid,
                    ..PAGE
                },
                OK,
            ),
            (
                "page of another port",
                RequestFacts { origin: Some("http://localhost:9000"), credential: valid, ..PAGE },
                NO_ORIGIN,
            ),
            ("foreign page", RequestFacts { credential: valid, ..FOREIGN }, NO_ORIGIN),
            (
                "foreign page without Origin",
                RequestFacts { origin: None, credential: valid, ..FOREIGN },
                NO_ORIGIN,
            ),
            (
                "sibling site",
                RequestFacts { origin: None, fetch_site: Some("same-site"), ..FOREIGN },
                NO_ORIGIN,
            ),
            (
                "sandboxed page",
                RequestFacts { origin: Some("null"), credential: valid, ..FOREIGN },
                NO_ORIGIN,
            ),
            ("unreadable Origin", RequestFacts { origin: Some(""), credential: valid, ..PAGE }, NO_ORIGIN),
            (
                "unknown Sec-Fetch-Site",
                RequestFacts { fetch_site: Some(""), credential: valid, ..PAGE },
                NO_ORIGIN,
            ),
            (
                "rebound name",
                RequestFacts { host: Some("evil.example:8000"), credential: valid, ..TOOL },
                NO_HOST,
            ),
            ("no Host", RequestFacts { host: None, credential: valid, ..TOOL }, NO_HOST),
            (
                "unbound address",
                RequestFacts { host: Some("192.168.1.2"), credential: valid, ..TOOL },
                NO_HOST,
            ),
        ];
        for (name, facts, expected) in table {
            assert_eq!(decide(&policy(), &facts), expected, "{name}");
        }
    }

    #[test]
    fn named_origins_still_need_a_credential() {
        let mut policy = policy();
        policy.allow_origins = vec!["https://evil.example".into()];
        assert_eq!(decide(&policy, &FOREIGN), NO_TOKEN);
        let cors = Some("https://evil.example");
        let facts = RequestFacts { credential: Credential::Valid, ..FOREIGN };
        assert_eq!(decide(&policy, &facts), Verdict::Allow { cors });
        let facts = RequestFacts { preflight: true, ..FOREIGN };
        assert_eq!(decide(&policy, &facts), Verdict::Preflight { cors });
    }

    #[test]
    fn a_required_token_is_required_of_local_tools_but_not_of_their_probes() {
        let policy = Policy { require_token: true, ..policy() };
        assert_eq!(decide(&policy, &TOOL), NO_TOKEN);
        for access in [Access::Health, Access::Metrics, Access::Static, Access::Auth] {
            assert_eq!(decide(&policy, &RequestFacts { access, ..TOOL }), OK, "{access:?}");
        }
    }

    #[test]
    fn pages_read_health_without_a_cookie_but_not_metrics() {
        assert_eq!(decide(&policy(), &RequestFacts { access: Access::Health, ..PAGE }), OK);
        assert_eq!(decide(&policy(), &RequestFacts { access: Access::Metrics, ..PAGE }), NO_TOKEN);
        assert_eq!(decide(&policy(), &RequestFacts { access: Access::Health, ..FOREIGN }), NO_ORIGIN);
    }

    #[test]
    fn a_link_from_elsewhere_opens_the_page_and_nothing_else() {
        let link = RequestFacts { origin: None, navigation: true, access: Access::Static, ..FOREIGN };
        assert_eq!(decide(&policy(), &link), OK);
        let api = RequestFacts { access: Access::Protected, credential: Credential::Valid, ..link };
        assert_eq!(decide(&policy(), &api), NO_ORIGIN);
        assert_eq!(decide(&policy(), &RequestFacts { navigation: false, ..link }), NO_ORIGIN);
    }

    #[test]
    fn every_address_is_ours_when_bound_to_all() {
        let policy = Policy { any_address: true, ..policy() };
        let facts = RequestFacts { host: Some("192.168.1.2:8000"), local: false, ..TOOL };
        assert_eq!(decide(&policy, &facts), NO_TOKEN);
        assert_eq!(decide(&policy, &RequestFacts { host: Some("evil.example"), ..facts }), NO_HOST);
    }

    #[test]
    fn host_names_are_cut_out_of_authorities() {
        for (authority, name) in [
            ("localhost", "localhost"),
            ("localhost.:80", "localhost"),
            ("[::1]:8000", "::1"),
            ("[::1]", "::1"),
            ("[::1]x", ""),
            ("localhost:80@evil", ""),
            ("[::1", ""),
        ] {
            assert_eq!(host_name(authority), name, "{authority}");
        }
    }

    proptest! {
        /// Whatever else is true of a request, a page whose origin is not ours and not named never gets through.
        #[test]
        fn unnamed_origins_never_pass(
            origin in "[ -~]{0,30}", host in "(localhost|127\\.0\\.0\\.1|studio\\.lan)(:[0-9]{1,5})?",
            local: bool, navigation: bool, preflight: bool,
        ) {
            prop_assume!(!same_origin(&origin, &host));
            let facts = RequestFacts {
                origin: Some(&origin), host: Some(&host), local, navigation, preflight,
                credential: Credential::Valid, fetch_site: Some("same-origin"), ..TOOL
            };
            prop_assert_eq!(decide(&policy(), &facts), NO_ORIGIN);
        }
    }
}
