//! The state of a deployment as people and programs see it, and how it ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{End, Halt, Stage};
use crate::core::app::Strategy;

/// Where a deployment is: its stage without what that carries, or what halts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    Queued,
    Fetching,
    Starting,
    Healthy,
    Testing,
    Routing,
    Baking,
    Paused,
    Held,
    Promoted,
    Draining,
    Done,
    Aborting,
    RolledBack,
    Failed,
    Superseded,
    Cancelled,
}

/// What became of a deployment, as far as whoever waits for it wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The release is stable, or waits for a person as it was asked to.
    Reached,
    /// It ended without having had all traffic.
    NotReached,
    /// It had traffic, which was taken back.
    RolledBack,
    /// It does not go on before a person says how.
    Held,
}

impl DeploymentState {
    /// As it is written everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Fetching => "fetching",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Testing => "testing",
            Self::Routing => "routing",
            Self::Baking => "baking",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Promoted => "promoted",
            Self::Draining => "draining",
            Self::Done => "done",
            Self::Aborting => "aborting",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// What became of a deployment of this strategy; `None` while that is open.
    pub fn outcome(self, strategy: Strategy) -> Option<Outcome> {
        match self {
            Self::Promoted | Self::Draining | Self::Done => Some(Outcome::Reached),
            Self::Paused if strategy == Strategy::Manual => Some(Outcome::Reached),
            Self::Failed | Self::Superseded | Self::Cancelled => Some(Outcome::NotReached),
            Self::RolledBack => Some(Outcome::RolledBack),
            Self::Held => Some(Outcome::Held),
            Self::Queued
            | Self::Fetching
            | Self::Starting
            | Self::Healthy
            | Self::Testing
            | Self::Routing
            | Self::Baking
            | Self::Paused
            | Self::Aborting => None,
        }
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl From<Stage> for DeploymentState {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Queued => Self::Queued,
            Stage::Fetching => Self::Fetching,
            Stage::Starting => Self::Starting,
            Stage::Healthy => Self::Healthy,
            Stage::Testing => Self::Testing,
            Stage::Routing { step: _ } => Self::Routing,
            Stage::Baking => Self::Baking,
            Stage::Promoted => Self::Promoted,
            Stage::Draining => Self::Draining,
            Stage::Done => Self::Done,
            Stage::Aborting { end: _ } => Self::Aborting,
            Stage::RolledBack => Self::RolledBack,
            Stage::Failed => Self::Failed,
            Stage::Superseded => Self::Superseded,
            Stage::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Halt> for DeploymentState {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Paused => Self::Paused,
            Halt::Held => Self::Held,
        }
    }
}

impl End {
    pub fn stage(self) -> Stage {
        match self {
            Self::RolledBack => Stage::RolledBack,
            Self::Failed => Stage::Failed,
            Self::Superseded => Stage::Superseded,
            Self::Cancelled => Stage::Cancelled,
        }
    }
}

impl Outcome {
    /// The exit code of who waited for it.
    pub fn code(self) -> u8 {
        match self {
            Self::Reached => 0,
            Self::NotReached => 1,
            Self::RolledBack => 3,
            Self::Held => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_the_outcome() {
        for (state, strategy, code) in [
            (DeploymentState::Starting, Strategy::Rolling, None),
            (DeploymentState::Paused, Strategy::Canary, None),
            (DeploymentState::Paused, Strategy::Manual, Some(0)),
            (DeploymentState::Promoted, Strategy::Rolling, Some(0)),
            (DeploymentState::Failed, Strategy::Rolling, Some(1)),
            (DeploymentState::RolledBack, Strategy::Canary, Some(3)),
            (DeploymentState::Held, Strategy::Canary, Some(4)),
        ] {
            assert_eq!(state.outcome(strategy).map(Outcome::code), code, "{state}");
        }
    }

    #[test]
    fn whoever_waits_is_told_of_every_end() {
        for stage in [Stage::Done, Stage::RolledBack, Stage::Failed, Stage::Superseded, Stage::Cancelled] {
            assert!(stage.is_final() && DeploymentState::from(stage).outcome(Strategy::Rolling).is_some(), "{stage:?}");
        }
    }

    #[test]
    fn the_word_is_the_one_of_json() {
        for state in
            [DeploymentState::Queued, DeploymentState::RolledBack, DeploymentState::Held, DeploymentState::Cancelled]
        {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
    }
}
