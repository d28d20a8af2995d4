//! Telling Docker Hub that its webhook was taken. Off unless `webhooks.callback` allows it, and only ever on Docker's
//! own hosts: whoever can call a webhook could otherwise have us call anybody.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::json;

/// Where Docker Hub's webhooks expect their answer; from the example in its own documentation.
const HOSTS: [&str; 2] = ["registry.hub.docker.com", "hub.docker.com"];
const TIMEOUT: Duration = Duration::from_secs(5);

/// A URL that may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback(Url);

impl Callback {
    /// # Errors
    /// Why it may not be called.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("no URL: {error}"))?;
        let is_docker = url.host_str().is_some_and(|host| HOSTS.contains(&host));
        let is_plain = url.port().is_none() && url.username().is_empty() && url.password().is_none();
        match url.scheme() == "https" && is_docker && is_plain {
            true => Ok(Self(url)),
            false => Err(format!("not https on {}", HOSTS.join(" or "))),
        }
    }

    /// Says that the delivery was taken. That nobody hears it changes nothing here.
    pub async fn call(self, description: &str) {
        let said = json!({ "state": "success", "context": "platformer", "description": description });
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
        let called = match client {
            Ok(client) => client.post(self.0).json(&said).send().await.and_then(reqwest::Response::error_for_status),
            Err(error) => Err(error),
        };
        if let Err(error) = called {
            // The path is a secret of Docker Hub's.
            tracing::warn!(error = %error.without_url(), "Docker Hub was not told that its webhook was taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dockers_own_hosts_may_be_called() {
        for (text, allowed) in [
            ("https://registry.hub.docker.com/u/org/shop/hook/2141b5/", true),
            ("https://hub.docker.com/x", true),
            ("https://REGISTRY.hub.docker.com/x", true),
            ("http://registry.hub.docker.com/x", false),
            ("https://registry.hub.docker.com:8443/x", false),
            ("https://registry.hub.docker.com@evil.example/x", false),
            ("https://user@registry.hub.docker.com/x", false),
            ("https://registry.hub.docker.com.evil.example/x", false),
            ("https://evil.example/registry.hub.docker.com", false),
            ("http://127.0.0.1:7700/v1/apps", false),
            ("https://169.254.169.254/latest", false),
            ("https://localhost/", false),
            ("file:///etc/passwd", false),
            ("", false),
        ] {
            assert_eq!(Callback::parse(text).is_ok(), allowed, "{text}");
        }
    }
}
