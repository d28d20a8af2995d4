//! Messages to other servers: each target hears of its events in order, one request each, repeated with growing
//! pauses while it does not take them.

use std::time::Duration;

use reqwest::{Client, Url};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use crate::core::event::{Event, Format, Level};
use crate::ports::snapshot::Snapshot;

const TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many tries, about ten minutes, a message is given up for the next one.
const TRIES: u32 = 15;

/// Where messages go. The address is a secret of its own: it is never shown but for its host.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: Url,
    pub format: Format,
    pub level: Level,
}

impl Target {
    /// # Errors
    /// Why nothing can be sent there.
    pub fn new(url: &str, format: Format, level: Level) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("notify.url: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self { url, format, level }),
            other => Err(format!("notify.url: http and https are spoken, not {other}")),
        }
    }
}

/// Sends on what happens, for ever; what happened before is history.
pub async fn forward(target: Target, platform: String, snapshot: Snapshot) -> String {
    let mut events = snapshot.events();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(host = target.url.host_str(), missed, "messages are sent too slowly, some are left out");
                continue;
            }
            Err(RecvError::Closed) => return "nobody tells it anything any more".into(),
        };
        if event.level.is_some_and(|level| level >= target.level) {
            deliver(&target, &platform, &event).await;
        }
    }
}

async fn deliver(target: &Target, platform: &str, event: &Event) {
    let text = target.format.body(platform, event);
    let mut pause = FIRST_PAUSE;
    for _ in 0..TRIES {
        let why = match send(target, &text).await {
            Ok(answer) if answer.status().is_success() => return,
            // Sending the same again would not help, but for "too many" and "too slow".
            Ok(answer) if answer.status().is_client_error() && !matches!(answer.status().as_u16(), 408 | 429) => {
                tracing::warn!(host = target.url.host_str(), status = %answer.status(), "a message is refused");
                return;
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.without_url().to_string(),
        };
        tracing::debug!(host = target.url.host_str(), why, "a message is sent again later");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tracing::warn!(host = target.url.host_str(), "a message is given up");
}

/// By a client of its own: each learns only once whom this machine asks for names, and that changes.
async fn send(target: &Target, text: &serde_json::Value) -> reqwest::Result<reqwest::Response> {
    let client = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
    client.post(target.url.clone()).json(text).send().await
}
