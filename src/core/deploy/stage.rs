//! The stages of a deployment, and which may follow which.

use serde::{Deserialize, Serialize};

/// How a deployment ends that does not promote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    RolledBack,
    Failed,
    /// A newer one took its place.
    Superseded,
    /// Somebody called it off before it had any traffic.
    Cancelled,
}

/// Why an active deployment does not move by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Halt {
    /// By somebody, or since its strategy is `manual`.
    Paused,
    /// By itself: it cannot tell whether to go on.
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Queued,
    /// Image, artefact and config are being secured.
    Fetching,
    Starting,
    Healthy,
    /// The gate runs.
    Testing,
    /// Traffic is moving; `step` counts a canary's steps, the last one being 100 %.
    Routing {
        step: usize,
    },
    /// All traffic is on the candidate, which is still judged.
    Baking,
    Promoted,
    /// The old instances finish what they have.
    Draining,
    Done,
    /// On the way back: the candidate loses its traffic, then its instances.
    Aborting {
        end: End,
    },
    RolledBack,
    Failed,
    Superseded,
    Cancelled,
}

impl Stage {
    pub fn is_final(self) -> bool {
        match self {
            Self::Done | Self::RolledBack | Self::Failed | Self::Superseded | Self::Cancelled => true,
            Self::Queued
            | Self::Fetching
            | Self::Starting
            | Self::Healthy
            | Self::Testing
            | Self::Routing { .. }
            | Self::Baking
            | Self::Promoted
            | Self::Draining
            | Self::Aborting { .. } => false,
        }
    }

    /// The release is wanted and not stable yet.
    pub fn is_before_promotion(self) -> bool {
        match self {
            Self::Queued
            | Self::Fetching
            | Self::Starting
            | Self::Healthy
            | Self::Testing
            | Self::Routing { .. }
            | Self::Baking => true,
            Self::Promoted
            | Self::Draining
            | Self::Done
            | Self::Aborting { .. }
            | Self::RolledBack
            | Self::Failed
            | Self::Superseded
            | Self::Cancelled => false,
        }
    }

    /// Instances of the candidate are wanted and its traffic may be moved.
    pub fn has_traffic(self) -> bool {
        matches!(self, Self::Routing { .. } | Self::Baking)
    }

    /// Between the first instance of the candidate and the first traffic.
    pub fn is_preparing(self) -> bool {
        matches!(self, Self::Starting | Self::Healthy | Self::Testing)
    }
}
