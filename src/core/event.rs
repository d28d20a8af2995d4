//! What happened, for people to read: how much it matters, and the messages that are made of it.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deploy::DeploymentState;
use super::problem::{ProblemKind, known_kinds};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: u64,
    pub at: Timestamp,
    pub kind: Cow<'static, str>,
    pub subject: String,
    pub message: String,
    /// `None` for what is told to nobody: who wants to know looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The kinds of problems that it tells of, or of the end of.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known_kinds")]
    pub about: Vec<ProblemKind>,
}

impl Event {
    /// Something that is told to nobody; its number is given where it is kept.
    pub fn new(at: Timestamp, kind: &'static str, subject: String, message: String) -> Self {
        Self { id: 0, at, kind: kind.into(), subject, message, level: None, about: Vec::new() }
    }

    pub fn at_level(self, level: Level) -> Self {
        Self { level: Some(level), ..self }
    }
}

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

impl Level {
    /// Of a decision that brings a deployment into this state, or into none.
    pub fn of_decision(state: Option<DeploymentState>) -> Self {
        match state {
            Some(
                DeploymentState::Failed
                | DeploymentState::RolledBack
                | DeploymentState::Aborting
                | DeploymentState::Held,
            ) => Self::Error,
            Some(_) | None => Self::Info,
        }
    }
}

impl Format {
    /// The message as it is sent.
    pub fn body(self, platform: &str, event: &Event) -> Value {
        let Event { id: _, at, kind, subject, message, level, about: _ } = event;
        match self {
            Self::Json => json!({
                "platform": platform, "kind": kind, "subject": subject, "message": message, "at": at, "level": level,
            }),
            Self::Slack => json!({ "text": format!("[{platform}] {subject}: {}", escaped(message)) }),
        }
    }
}

/// Slack takes these three for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::deploy::{End, Stage};

    #[test]
    fn what_went_badly_matters_most_whatever_its_reason_says() {
        for (stage, expected) in [
            (Stage::Routing { step: 1 }, Level::Info),
            (Stage::Done, Level::Info),
            (Stage::Superseded, Level::Info),
            (Stage::Aborting { end: End::Failed }, Level::Error),
            (Stage::RolledBack, Level::Error),
            (Stage::Failed, Level::Error),
        ] {
            assert_eq!(Level::of_decision(Some(stage.into())), expected, "{stage:?}");
        }
        assert_eq!(Level::of_decision(None), Level::Info);
        assert!(Level::Error > Level::Warning && Level::Warning > Level::Info);
    }

    #[test]
    fn a_message_is_no_markup() {
        let event = Event {
            id: 1,
            at: Timestamp::UNIX_EPOCH,
            kind: "problem".into(),
            subject: "app shop".into(),
            message: "<!channel> & <b>".into(),
            level: Some(Level::Warning),
            about: Vec::new(),
        };
        assert_eq!(Format::Slack.body("p", &event)["text"], "[p] app shop: &lt;!channel&gt; &amp; &lt;b&gt;");
        assert_eq!(Format::Json.body("p", &event)["level"], "warning");
    }
}
