//! Something that needs a person: whom it concerns, what kind it is of, why, and what would mend it.

use jiff::Timestamp;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::log::visible;
use super::names::AppName;

/// Shown by `status`, the API, `why` and the dashboard. It is the same problem as long as subject and kind are the
/// same: its reason may tell it in other words from one moment to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// `container web-3`, `app shop`, `file apps/shop.toml`, `nginx`, `docker`, `template platformer.conf.tera`.
    pub subject: String,
    /// The app that suffers from it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    pub reason: String,
    pub remedy: String,
    pub since: Timestamp,
}

impl Problem {
    pub fn new(
        kind: ProblemKind,
        subject: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
        since: Timestamp,
    ) -> Self {
        let [subject, reason, remedy] =
            [subject.into(), reason.into(), remedy.into()].map(|text: String| visible(&text).replace('\n', r"\n"));
        Self { kind, subject, app: None, reason, remedy, since }
    }

    pub fn of_app(
        kind: ProblemKind,
        app: &AppName,
        reason: impl Into<String>,
        remedy: impl Into<String>,
        since: Timestamp,
    ) -> Self {
        Self::new(kind, format!("app {app}"), reason, remedy, since).in_app(app)
    }

    /// Says which app suffers from it.
    pub fn in_app(self, app: &AppName) -> Self {
        Self { app: Some(app.clone()), ..self }
    }
}

/// What a problem is about, whatever its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The engine does not answer.
    EngineAway,
    /// nginx is gone.
    BalancerDied,
    /// Old workers of nginx were ended with what they had.
    WorkersEnded,
    /// A generation does not go live, for a reason that may pass.
    BalancerTrouble,
    /// nginx refuses what a template renders.
    TemplateRefused,
    /// nginx refuses the routes of an app.
    RoutesRefused,
    /// What a release is made of cannot be had.
    Unprepared,
    /// A deployment is held.
    Held,
    /// A deployment does not move.
    Stuck,
    /// A newest version is not deployed.
    NotDeployed,
    /// An app's source cannot be looked at.
    Source,
    /// A container asks for what it cannot have.
    ClaimRefused,
    /// A label of ours that means nothing.
    UnknownLabel,
    /// A label of ours that only an image says.
    LabelOfImage,
    /// A container names us as its owner and is none of ours.
    NotOurs,
    /// The engine does not describe a container.
    Undescribed,
    /// An instance has no address.
    Unreachable,
    /// An instance, or an endpoint of a service, fails its probe.
    Unhealthy,
    /// An instance, or an endpoint of a service, is ready and not ready in turn, and held out of the routes.
    Restless,
    /// An instance takes too long to become ready.
    NotReady,
    /// Instances fail to start, or die.
    Dying,
    /// Something runs that nobody declares.
    Undeclared,
    /// A file of the repository is broken.
    File,
    /// A declaration is gone.
    FileGone,
    /// An app has no version to run.
    NoVersion,
    /// A host or name that others have.
    Taken,
    /// Others want what it has, and do not get it.
    Contested,
    /// A container is called like something of the platform, which it stands before for others.
    Shadows,
    /// Decisions cannot be written down.
    Ledger,
    /// A disk is full, or will be before long.
    Disk,
    /// Something of the platform's own state could not be used.
    State,
}

impl ProblemKind {
    /// Whether it can be known while the engine is away: what containers do cannot.
    pub fn stands_without_engine(self) -> bool {
        match self {
            Self::EngineAway
            | Self::BalancerDied
            | Self::BalancerTrouble
            | Self::WorkersEnded
            | Self::TemplateRefused
            | Self::RoutesRefused
            | Self::Held
            | Self::Stuck
            | Self::Source
            | Self::File
            | Self::FileGone
            | Self::Taken
            | Self::Contested
            | Self::Ledger
            | Self::Disk
            | Self::State => true,
            Self::Unprepared
            | Self::NotDeployed
            | Self::ClaimRefused
            | Self::UnknownLabel
            | Self::LabelOfImage
            | Self::NotOurs
            | Self::Undescribed
            | Self::Unreachable
            | Self::Unhealthy
            | Self::Restless
            | Self::NotReady
            | Self::Dying
            | Self::Undeclared
            | Self::Shadows
            | Self::NoVersion => false,
        }
    }

    /// Whether the decision that made it one was told already, as a transition of the deployment.
    pub fn is_told_as_decision(self) -> bool {
        self == Self::Held
    }
}

/// Reads the kinds that are known here: a later version may have written others.
///
/// # Errors
/// If it is no list of words.
pub fn known_kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ProblemKind>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let known = |word: &String| {
        let word: StrDeserializer<'_, Error> = word.as_str().into_deserializer();
        ProblemKind::deserialize(word).ok()
    };
    Ok(words.iter().filter_map(known).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelt_out() {
        let (kind, at) = (ProblemKind::UnknownLabel, Timestamp::UNIX_EPOCH);
        let problem = Problem::new(kind, "container a", "label \u{1b}[31mx\u{7}\u{202e} means nothing", "a\nb", at);
        assert_eq!(problem.reason, r"label \u{1b}[31mx\u{7}\u{202e} means nothing");
        assert_eq!(problem.remedy, r"a\nb");
    }
}
