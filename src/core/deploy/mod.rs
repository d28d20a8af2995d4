//! One attempt to make a release stable: its state, how it moves on by itself, how people steer it, and by
//! what it is judged.
//!
//! In: a [`Deployment`], what is observed, `now`. Out: the next [`Deployment`] with the reason, which is
//! recorded before it is acted on. What follows for instances and routes is read off the state by `plan`.

mod advance;
mod evidence;
mod foretold;
mod judge;
mod observed;
mod routing;
mod stage;
mod state;
mod tally;

pub use advance::{advance, wake_at};
pub use evidence::{Evidence, wilson};
pub use foretold::foretold;
pub use judge::{Judged, Verdict};
pub use observed::{Crash, Observed};
pub use stage::{End, Halt, Stage};
pub use state::{DeploymentState, Outcome};
pub use tally::{Counted, Tally};

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::app::{Canary, Gate, Period, Strategy};
use super::names::{AppName, Version};
use super::split::Percent;

/// What asked for the deployment, where that decides how it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Deploy,
    /// Back to a release that is still kept: without steps and gate, still health-checked.
    Rollback,
    /// To the other side of a blue-green pair, which still runs.
    Swap,
}

/// How the gate's container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// `None` where it never ended by itself.
    pub exit_code: Option<i64>,
    /// Why there is no exit code.
    pub error: Option<String>,
    /// The last lines that it wrote.
    pub log: Vec<String>,
}

impl GateResult {
    pub fn passed(&self) -> bool {
        self.exit_code == Some(0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// `APP-N`: the app's n-th.
    pub id: Arc<str>,
    pub app: AppName,
    pub release: Version,
    /// What was stable when it began; `abort` goes back to it.
    pub from: Option<Version>,
    pub kind: Kind,
    pub strategy: Strategy,
    pub canary: Canary,
    /// How long all traffic is watched on the candidate before it is promoted.
    pub bake: Period,
    pub ready_timeout: Period,
    /// How long it has to stay ready before it gets traffic.
    pub monitor: Period,
    /// Deaths of its instances when it was first healthy.
    pub deaths_before: u32,
    /// The old instances go before new ones come.
    pub stop_first: bool,
    /// The old instances stay when it is done, to be swapped back to.
    pub keep_old: bool,
    pub gate: Option<Gate>,
    pub gate_result: Option<GateResult>,
    pub by: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub stage: Stage,
    pub halt: Option<Halt>,
    /// When stage or halt last changed.
    pub since: Timestamp,
    /// Why it is where it is, in a sentence.
    pub reason: String,
    /// What it does, said beforehand.
    pub plan: Vec<String>,
    /// Picks the candidate when sent as `X-Platformer-Preview` or the cookie `platformer_preview`.
    pub preview: Arc<str>,
    /// The candidate's share of the traffic, where people or steps set it.
    pub share: Percent,
    /// Once it is ready its traffic stays at 0 % until somebody moves it.
    #[serde(default)]
    pub waits: bool,
    /// Promoted by hand: what is left of steps and bake is skipped.
    #[serde(default)]
    pub hurried: bool,
    pub judged: Judged,
    /// What an instance of it wrote last, where it failed or was rolled back: the container is gone by then.
    #[serde(default)]
    pub last_lines: Vec<String>,
}

impl Deployment {
    pub fn is_active(&self) -> bool {
        !self.stage.is_final()
    }

    /// The state's name, as people and programs read it.
    pub fn state(&self) -> DeploymentState {
        self.halt.filter(|_| self.is_active()).map_or_else(|| self.stage.into(), DeploymentState::from)
    }

    /// Whether the old instances go one by one, each as a new one is ready, and not all at once.
    pub fn is_one_by_one(&self) -> bool {
        self.strategy == Strategy::Rolling && !self.stop_first && !self.waits
    }

    /// How many of `wanted` instances are started before the first traffic, where `surge` more may run than that.
    pub fn first(&self, wanted: u16, surge: u16) -> u16 {
        if self.strategy == Strategy::Rolling { wanted.min(surge) } else { wanted }
    }

    /// Whether the release is the candidate: wanted, and not stable yet.
    pub fn is_candidate(&self) -> bool {
        self.stage.is_before_promotion()
    }

    /// Moves the moments that time is counted from, since the clock was set.
    pub fn clock_set(&mut self, move_along: impl Fn(&mut Timestamp)) {
        move_along(&mut self.since);
        self.judged.clock_set(move_along);
    }

    /// The step of a canary, from 1, and how many there are.
    pub fn step(&self) -> Option<String> {
        match self.stage {
            Stage::Routing { step } if self.strategy == Strategy::Canary => {
                Some(format!("{} of {}", step + 1, self.canary.steps.len() + 1))
            }
            _ => None,
        }
    }

    /// The same deployment in another stage.
    pub fn at(&self, stage: Stage, reason: impl Into<String>, now: Timestamp) -> Self {
        let ended_at = stage.is_final().then_some(now);
        Self { stage, since: now, reason: reason.into(), ended_at, ..self.clone() }
    }

    /// Whether steps with a share of their own are left; after them it carries everything.
    fn has_steps(&self, step: usize) -> bool {
        self.strategy == Strategy::Canary && !self.hurried && step < self.canary.steps.len()
    }

    /// Goes on by itself. A share that was set by hand lasts until the next step; where there is none it ends.
    pub fn resumed(&self, reason: impl Into<String>, now: Timestamp) -> Self {
        let share = match self.stage {
            Stage::Routing { step } if !self.has_steps(step) => Percent::ALL,
            Stage::Baking => Percent::ALL,
            _ => self.share,
        };
        Self { halt: None, share, ..self.at(self.stage, reason, now) }
    }

    /// Gives up, for this reason. Before anybody saw the candidate it has failed, after that it is rolled back.
    pub fn give_up(&self, reason: impl Into<String>, now: Timestamp) -> Self {
        let end = if self.stage.has_traffic() { End::RolledBack } else { End::Failed };
        self.abort(end, reason, now)
    }

    pub fn abort(&self, end: End, reason: impl Into<String>, now: Timestamp) -> Self {
        Self { share: Percent::NONE, halt: None, ..self.at(Stage::Aborting { end }, reason, now) }
    }
}

/// One line of an app's history: what was decided, by whom, why, and on which numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub by: String,
    pub action: String,
    pub release: Option<Version>,
    pub state: Option<DeploymentState>,
    pub reason: String,
    pub numbers: BTreeMap<String, f64>,
}

impl Entry {
    /// What happened to a deployment.
    pub fn of(deployment: &Deployment, action: &str, by: &str, now: Timestamp) -> Self {
        Self {
            at: now,
            by: by.to_owned(),
            action: action.to_owned(),
            release: Some(deployment.release.clone()),
            state: Some(deployment.state()),
            reason: deployment.reason.clone(),
            numbers: deployment.judged.numbers(deployment.share),
        }
    }
}
