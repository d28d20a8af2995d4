//! What is told to people elsewhere: which events, and in which words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How much an event matters; each level includes those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Each step of a deployment, and what people decide.
    Info,
    /// Something needs a person, or does not any more.
    Warning,
    /// A release was not taken, or is held.
    Error,
}

/// The shape of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    /// Slack's, which Mattermost, Rocket.Chat and Discord's `/slack` take too.
    Slack,
}

/// The words by which a decision that went badly is known.
const BAD: [&str; 4] = [" is failed", " is rolled-back", " is aborting", " is held"];

/// How much an event of this kind and text matters; `None` for what is told to nobody.
pub fn level(kind: &str, message: &str) -> Option<Level> {
    match kind {
        "decision" if BAD.iter().any(|bad| message.contains(bad)) => Some(Level::Error),
        "decision" => Some(Level::Info),
        "problem" | "resolved" | "engine" => Some(Level::Warning),
        _ => None,
    }
}

/// The message as it is sent.
pub fn body(format: Format, platform: &str, kind: &str, subject: &str, message: &str, at: Timestamp) -> Value {
    match format {
        Format::Json => json!({
            "platform": platform, "kind": kind, "subject": subject, "message": message, "at": at,
            "level": level(kind, message),
        }),
        Format::Slack => json!({ "text": format!("[{platform}] {subject}: {}", escaped(message)) }),
    }
}

/// Slack takes these three for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_badly_matters_most_and_chatter_is_told_to_nobody() {
        for (kind, message, expected) in [
            ("decision", "deploy 1.1 is routing: 5 % of the traffic (by ci)", Some(Level::Info)),
            ("decision", "deploy 1.1 is rolled-back: 9 of 96 failed (by ci)", Some(Level::Error)),
            ("problem", "port 80 is taken", Some(Level::Warning)),
            ("resolved", "port 80 is taken", Some(Level::Warning)),
            ("generation", "serves generation 4", None),
            ("instance", "of shop is ready", None),
        ] {
            assert_eq!(level(kind, message), expected, "{kind} {message}");
        }
        assert!(Level::Error > Level::Info);
    }

    #[test]
    fn a_message_is_no_markup() {
        let body = body(Format::Slack, "p", "problem", "app shop", "<!channel> & <b>", Timestamp::UNIX_EPOCH);
        assert_eq!(body["text"], "[p] app shop: &lt;!channel&gt; &amp; &lt;b&gt;");
    }
}
