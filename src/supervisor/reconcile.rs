//! The one loop: it alone owns the world.
//!
//! In: facts and commands. Out: actions, begun here; a snapshot for readers; events for people. It waits for
//! nothing but the next message or the moment that the plan names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::execute::Hands;
use crate::core::names::AppName;
use crate::core::plan::{Plan, Problem, Status, plan, status};
use crate::core::world::{Action, Command, Condition, Done, Fact, World};
use crate::ports::inbox::{CommandError, Message};
use crate::ports::ledger::Ledger;
use crate::ports::snapshot::{Snapshot, View};

/// With nothing to do the plan is still made this often: whatever was missed is then found.
const ANYWAY: Duration = Duration::from_secs(5);
/// Facts applied before a plan is made; more wait for the next turn.
const BATCH: usize = 1000;

/// What the loop ends with when the platform was closed.
pub const CLOSED: &str = "closed";

pub struct Loop {
    pub world: World,
    pub messages: UnboundedReceiver<Message>,
    pub hands: Hands,
    pub ledger: Arc<dyn Ledger>,
    pub snapshot: Snapshot,
}

impl Loop {
    /// Runs until the platform is closed: then nothing of ours is left running that was not to be kept.
    pub async fn run(mut self) -> String {
        let mut wake_at = None;
        loop {
            let now = Timestamp::now();
            let wait = wake_at
                .map_or(ANYWAY, |at: Timestamp| at.duration_since(now).try_into().unwrap_or(Duration::ZERO))
                .min(ANYWAY);
            match timeout(wait, self.messages.recv()).await {
                Ok(Some(message)) => self.take(message),
                Ok(None) => return "nobody is left to tell it anything".into(),
                Err(_) => self.world.apply(Fact::Tick, Timestamp::now()),
            }
            for _ in 0..BATCH {
                match self.messages.try_recv() {
                    Ok(message) => self.take(message),
                    Err(_) => break,
                }
            }
            let plan = self.turn();
            wake_at = plan.wake_at;
            if self.is_closed() {
                return CLOSED.into();
            }
        }
    }

    fn take(&mut self, message: Message) {
        let now = Timestamp::now();
        match message {
            Message::Fact(fact) => {
                tracing::debug!(?fact, "fact");
                self.world.apply(fact, now);
            }
            Message::Command { command, reply } => {
                let answer = self.command(&command, now);
                // The asker may have gone; the decision stands.
                let _ = reply.send(answer);
            }
        }
    }

    fn command(&mut self, command: &Command, now: Timestamp) -> Result<Done, CommandError> {
        let (actions, done) = self.world.decide(command, now)?;
        for action in &actions {
            self.record(action).map_err(CommandError::NotRecorded)?;
            self.world.begin(action, now);
        }
        self.snapshot.announce(now, "command", "platform".into(), done.0.clone());
        Ok(done)
    }

    /// One turn: plan, begin what is to be done, show what there is.
    fn turn(&mut self) -> Plan {
        let now = Timestamp::now();
        let mut plan = plan(&mut self.world, now);
        for action in std::mem::take(&mut plan.actions) {
            if let Err(reason) = self.record(&action) {
                plan.problems.push(Problem::new("ledger", reason, "free disk space in the state folder", now));
                plan.wake_at = Some(now + Duration::from_secs(1));
                continue;
            }
            tracing::debug!(?action, "action");
            self.world.begin(&action, now);
            self.hands.run(action);
        }
        self.show(&plan, now);
        plan
    }

    fn record(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Record { app, intent } => self.ledger.record(app, intent.as_ref()).map_err(|e| e.to_string()),
            Action::Publish(_)
            | Action::Probe(_)
            | Action::Switch(_)
            | Action::Start(_)
            | Action::Restart(_)
            | Action::Drain { .. }
            | Action::Stop { .. } => Ok(()),
        }
    }

    fn show(&self, plan: &Plan, now: Timestamp) {
        let before = self.snapshot.view();
        let status = status(&self.world, plan);
        if self.world.is_informed() {
            for (kind, subject, message) in changes(&before.status, &status) {
                tracing::info!(kind, subject, "{message}");
                self.snapshot.announce(now, kind, subject, message);
            }
        }
        self.snapshot.swap(View {
            status,
            routes: plan.routes.clone(),
            live_routes: self.world.balancer.live.as_ref().map(|l| l.routes.clone()),
            zone: self.world.published.clone(),
            index: self.world.index.clone(),
            templates: self.world.templates.clone(),
            informed: self.world.is_informed(),
        });
    }

    fn is_closed(&self) -> bool {
        let Some(closing) = self.world.closing else { return false };
        let ours = || self.world.instances().iter().any(|m| m.claim.managed);
        closing.keep_apps || self.world.is_engine_unknown() || (self.world.starting.is_empty() && !ours())
    }
}

/// What a person would want to hear about, between two statuses.
fn changes(before: &Status, after: &Status) -> Vec<(&'static str, String, String)> {
    let mut changes = Vec::new();
    if before.generation.live != after.generation.live
        && let Some(live) = after.generation.live
    {
        changes.push(("generation", "nginx".into(), format!("serves generation {live}")));
    }
    if std::mem::discriminant(&before.engine.state) != std::mem::discriminant(&after.engine.state) {
        changes.push((
            "engine",
            "docker".into(),
            if matches!(after.engine.state, crate::core::world::EngineState::Connected { .. }) {
                "answers"
            } else {
                "does not answer"
            }
            .into(),
        ));
    }
    let instances = |status: &Status| -> BTreeMap<String, (AppName, Condition, Option<String>)> {
        status
            .apps
            .iter()
            .flat_map(|a| a.instances.iter().map(|i| (i.name.to_string(), (a.name.clone(), i.state, i.reason.clone()))))
            .collect()
    };
    let (old, new) = (instances(before), instances(after));
    for (name, (app, state, reason)) in &new {
        if old.get(name).map(|(_, s, _)| s) != Some(state) {
            let reason = reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            changes.push((
                "instance",
                format!("container {name}"),
                format!("of {app} is {}{reason}", format!("{state:?}").to_lowercase()),
            ));
        }
    }
    for (name, (app, ..)) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        changes.push(("instance", format!("container {name}"), format!("of {app} is gone")));
    }
    let is_new = |problem: &&Problem, list: &[Problem]| {
        !list.iter().any(|p| p.subject == problem.subject && p.reason == problem.reason)
    };
    for problem in after.problems.iter().filter(|p| is_new(p, &before.problems)) {
        changes.push(("problem", problem.subject.clone(), problem.reason.clone()));
    }
    for problem in before.problems.iter().filter(|p| is_new(p, &after.problems)) {
        changes.push(("resolved", problem.subject.clone(), problem.reason.clone()));
    }
    changes
}
