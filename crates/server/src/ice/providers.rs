//! The services that hand out TURN credentials.

use super::IceServer;
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// Lifetime asked for.
const TTL: Duration = Duration::from_secs(600);
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// A service, and how it knows us.
#[derive(Clone, PartialEq, Eq)]
pub enum Provider {
    /// Cloudflare's TURN service for Hugging Face users, run by FastRTC.
    HuggingFace {
        /// Hugging Face access token.
        token: String,
    },
    /// Cloudflare directly.
    Cloudflare {
        /// Id of the TURN key.
        key_id: String,
        /// API token of that key.
        api_token: String,
    },
    /// Twilio's Network Traversal Service.
    Twilio {
        /// Account SID.
        account_sid: String,
        /// Auth token.
        auth_token: String,
    },
}

impl Provider {
    /// The name for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::HuggingFace { .. } => "turn.fastrtc.org",
            Self::Cloudflare { .. } => "Cloudflare",
            Self::Twilio { .. } => "Twilio",
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Base addresses of the services.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// FastRTC.
    pub hugging_face: String,
    /// Cloudflare.
    pub cloudflare: String,
    /// Twilio.
    pub twilio: String,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            hugging_face: "https://turn.fastrtc.org".into(),
            cloudflare: "https://rtc.live.cloudflare.com".into(),
            twilio: "https://api.twilio.com".into(),
        }
    }
}

/// Asks `provider` for servers; also says for how long they are good.
///
/// # Errors
/// A text for the log. It contains no secrets.
pub(super) async fn fetch(
    client: &Client,
    endpoints: &Endpoints,
    provider: &Provider,
) -> Result<(Vec<IceServer>, Duration), String> {
    let mut response = request(client, endpoints, provider)
        .send()
        .await
        .map_err(|error| if error.is_timeout() { "no answer in time" } else { "it cannot be reached" })?;
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|_| "the answer broke off")? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err("the answer is too long".into());
        }
    }
    parse(&body)
}

fn request(client: &Client, endpoints: &Endpoints, provider: &Provider) -> RequestBuilder {
    let ttl = TTL.as_secs();
    match provider {
        Provider::HuggingFace { token } => {
            client.get(format!("{}/credentials?ttl={ttl}", endpoints.hugging_face)).bearer_auth(token)
        }
        Provider::Cloudflare { key_id, api_token } => client
            .post(format!("{}/v1/turn/keys/{key_id}/credentials/generate-ice-servers", endpoints.cloudflare))
            .bearer_auth(api_token)
            .json(&json!({"ttl": ttl})),
        Provider::Twilio { account_sid, auth_token } => client
            .post(format!("{}/2010-04-01/Accounts/{account_sid}/Tokens.json", endpoints.twilio))
            .basic_auth(account_sid, Some(auth_token)),
    }
}

/// Reads the answer of any of them: `iceServers` (a list, or one object) or Twilio's `ice_servers` and `ttl`.
fn parse(body: &[u8]) -> Result<(Vec<IceServer>, Duration), String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(alias = "iceServers")]
        ice_servers: Value,
        ttl: Option<Value>,
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "the answer is no list of servers")?;
    let list = match answer.ice_servers {
        Value::Array(list) => list,
        one => vec![one],
    };
    // Unknown entries are skipped, not fatal: one good server is enough.
    let servers: Vec<IceServer> =
        list.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect();
    if servers.is_empty() {
        return Err("the answer has no servers".into());
    }
    let seconds = answer.ttl.and_then(|ttl| ttl.as_u64().or_else(|| ttl.as_str()?.parse().ok()));
    let ttl = seconds.map_or(TTL, |seconds| Duration::from_secs(seconds.clamp(60, 24 * 3600)));
    Ok((servers, ttl))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::Urls;
    use proptest::prelude::*;

    #[test]
    fn all_shapes_of_answers_are_read() {
        let one = json!({"urls": "turn:t", "username": "u", "credential": "c"});
        for (answer, ttl) in [
            (json!({"iceServers": [one]}), 600),
            (json!({"iceServers": one}), 600),
            (json!({"iceServers": [{"odd": 1}, one]}), 600),
            (json!({"ice_servers": [one], "ttl": "86400", "password": "x"}), 86400),
            (json!({"iceServers": [one], "ttl": 0}), 60),
        ] {
            let (servers, lifetime) = parse(answer.to_string().as_bytes()).unwrap();
            assert_eq!(servers[0].urls, Urls::One("turn:t".into()));
            assert_eq!(lifetime.as_secs(), ttl, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(body: Vec<u8>) {
            let _ = parse(&body).is_ok();
        }
    }
}
