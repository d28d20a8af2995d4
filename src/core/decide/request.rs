//! What people do with an app's releases, and who they are.

use jiff::Timestamp;

use crate::core::app::{StickyMode, Strategy};
use crate::core::digest::sha256;
use crate::core::names::{ImageRef, Version};
use crate::core::release::ImageNow;
use crate::core::split::Split;

/// Which gate a deployment has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GateChoice {
    /// The one that the app declares, if any.
    #[default]
    Declared,
    None,
    Image(ImageRef),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeployRequest {
    /// The newest one there is, if none is named.
    pub version: Option<Version>,
    pub image: Option<ImageRef>,
    pub strategy: Option<Strategy>,
    /// Whatever the strategy, the traffic waits at 0 % until somebody moves it.
    pub waits: bool,
    pub gate: GateChoice,
    /// What the image's name means, as was asked just before; `None` where nobody has asked yet.
    pub image_now: Option<ImageNow>,
    /// Take the place of a deployment under way.
    pub replace: bool,
    pub reason: Option<String>,
    /// Nobody asked: a new version appeared.
    pub automatic: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What people do with an app's releases.
#[derive(Debug, Clone, PartialEq)]
pub enum Steer {
    Deploy(Box<DeployRequest>),
    Promote,
    Pause,
    Resume,
    Abort,
    /// To this release, or to the one before; during a deployment it is an abort.
    Rollback(Option<Version>),
    Swap,
    Split(Split),
    Maintenance(bool),
    Sticky(StickyMode),
    /// Hold it at this version, or at what is stable.
    Pin(Option<Version>),
    Unpin,
}

/// Who decides when, and the secret that a new deployment's preview is asked for with.
#[derive(Debug, Clone, Copy)]
pub struct Decider<'d> {
    pub by: &'d str,
    pub now: Timestamp,
    pub secret: &'d str,
}

/// Randomness that is handed down: what is drawn from it nobody can guess who does not have it.
#[derive(Clone)]
pub struct Seed(String);

impl Seed {
    pub fn new(random: impl Into<String>) -> Self {
        Self(random.into())
    }

    /// The same for the same seed and subject: 64 hex digits.
    pub fn secret(&self, of: &str) -> String {
        sha256(format!("{} {of}", self.0))
    }

    /// Another one, for what comes as the `n`-th.
    pub fn at(&self, n: u64) -> Self {
        Self(self.secret(&n.to_string()))
    }
}
