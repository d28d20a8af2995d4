//! What the pages show of an app, an instance, a deployment: words, icons, numbers, and what may be done now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::adapters::http::context::Context;
use crate::adapters::http::keyring::Caller;
use crate::core::access::Right;
use crate::core::deploy::{DeploymentState, Tally, wilson};
use crate::core::names::{AppName, Version};
use crate::core::split::Percent;
use crate::core::view::AppStatus;
use crate::core::world::{Condition, EngineState};
use crate::ports::snapshot::View;

/// A state in a word, with an icon, and a class for its colour.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub word: String,
    pub icon: &'static str,
    pub class: &'static str,
    /// Why it is not as it should be.
    pub why: Option<String>,
}

fn state(word: impl Into<String>, icon: &'static str, class: &'static str) -> State {
    State { word: word.into(), icon, class, why: None }
}

/// How an app is, from what is observed.
pub fn of_app(app: &AppStatus, view: &View) -> State {
    let subject = format!("app {}", app.name);
    let problem = view.status.problems.iter().find(|problem| problem.subject == subject).map(|p| p.reason.clone());
    let moving = app.deployment.as_ref().filter(|d| d.ended_at.is_none());
    let state = match moving.map(|d| d.state) {
        _ if matches!(view.status.engine.state, EngineState::Unknown { .. }) => state("unknown", "?", "bad"),
        _ if app.maintenance => state("maintenance", "✱", "moving"),
        Some(DeploymentState::Held) => state("held", "■", "bad"),
        Some(deployed) if problem.is_some() => state(deployed.word(), "▲", "bad"),
        Some(DeploymentState::Paused) => state("paused", "‖", "moving"),
        Some(deployed) => state(deployed.word(), "◐", "moving"),
        None if app.wanted == 0 => state("stopped", "○", "off"),
        None if problem.is_some() => state("problem", "▲", "bad"),
        None if app.stable.is_none() && app.instances.is_empty() => state("no version", "○", "off"),
        None if app.ready == 0 => state("down", "✕", "bad"),
        None if app.ready < app.wanted => state("degraded", "▲", "moving"),
        None => state("running", "●", "good"),
    };
    let why = problem.or_else(|| moving.filter(|_| state.class == "bad").map(|d| d.reason.clone()));
    State { why, ..state }
}

pub fn of_condition(condition: Condition) -> State {
    match condition {
        Condition::Ready => state("ready", "●", "good"),
        Condition::Starting => state("starting", "◐", "moving"),
        Condition::Draining => state("draining", "◌", "off"),
        Condition::Unhealthy => state("unhealthy", "▲", "bad"),
        Condition::Stopped => state("stopped", "○", "off"),
    }
}

/// How a deployment is.
pub fn of_deployment(deployment: DeploymentState) -> State {
    let (icon, class) = match deployment {
        DeploymentState::Promoted | DeploymentState::Draining | DeploymentState::Done => ("●", "good"),
        DeploymentState::Held => ("■", "bad"),
        DeploymentState::RolledBack | DeploymentState::Failed | DeploymentState::Aborting => ("✕", "bad"),
        DeploymentState::Superseded | DeploymentState::Cancelled => ("○", "off"),
        DeploymentState::Queued
        | DeploymentState::Fetching
        | DeploymentState::Starting
        | DeploymentState::Healthy
        | DeploymentState::Testing
        | DeploymentState::Routing
        | DeploymentState::Baking
        | DeploymentState::Paused => ("◐", "moving"),
    };
    state(deployment.word(), icon, class)
}

/// What may be done with an app now, each with what it is called on a button.
pub fn actions(app: &AppStatus) -> Vec<(&'static str, &'static str)> {
    let sync = app.source.as_ref().map(|_| ("sync", "Look for new versions"));
    app.offers.iter().map(|verb| (verb.name(), verb.label())).chain(sync).collect()
}

pub fn may(caller: &Caller, app: &AppName) -> bool {
    caller.may(Right::Deploy, Some(app)).is_ok()
}

/// The numbers of the last minute, as they are shown.
pub struct Numbers {
    sums: BTreeMap<(AppName, Version), Tally>,
    seconds: f64,
}

impl Numbers {
    pub fn now(context: &Context) -> Self {
        let (sums, seconds) = context.meters.last_minute(Timestamp::now());
        Self { sums, seconds }
    }

    fn of(&self, app: &AppName) -> Tally {
        let mut sum = Tally::default();
        self.sums.iter().filter(|((name, _), _)| name == app).for_each(|(_, tally)| sum.add(tally));
        sum
    }
}

/// One app as a line of the table and as the head of its page.
pub fn row(app: &AppStatus, view: &View, numbers: &Numbers, caller: &Caller) -> Value {
    let (state, sum) = (of_app(app, view), numbers.of(&app.name));
    let (low, high) = wilson(sum.failures, sum.requests);
    let has_requests = sum.requests > 0;
    let actions = if may(caller, &app.name) { actions(app) } else { Vec::new() };
    let actions: Vec<Value> = actions
        .into_iter()
        .map(|(name, label)| json!({ "name": name, "label": label, "strong": name == "promote" }))
        .collect();
    let text = |version: &Option<Version>| version.as_ref().map_or("–".to_owned(), Version::to_string);
    let deployment = app.deployment.as_ref();
    json!({
        "name": app.name, "word": state.word, "icon": state.icon, "class": state.class, "why": state.why,
        "stable": text(&app.stable), "candidate": text(&app.candidate),
        "step": deployment.filter(|d| d.ended_at.is_none()).and_then(|d| d.step.clone()),
        "split": bar(&app.split), "split_text": shares(&app.split),
        "measured_text": app.measured.as_ref().map(shares),
        "rate": if has_requests { format!("{:.1}", sum.requests as f64 / numbers.seconds) } else { "0".into() },
        "failed": if has_requests { format!("{:.1} %", sum.failure_rate() * 100.0) } else { "–".into() },
        "interval": has_requests.then(|| format!("{:.1}–{:.1} %", low * 100.0, high * 100.0)),
        "p95": sum.quantile(0.95).map_or("–".into(), |bucket| format!("{:.0} ms", Tally::bound(bucket))),
        "ready": app.ready, "wanted": app.wanted, "actions": actions,
        "deployed_at": deployment.map(|d| d.started_at), "by": deployment.map(|d| d.by.clone()),
        "deployment_state": deployment.map(|d| d.state),
    })
}

/// The parts of a bar, each with where it begins.
fn bar(split: &BTreeMap<Version, Percent>) -> Vec<Value> {
    let mut from = 0.0;
    let parts = split.iter().enumerate().map(|(n, (_, share))| {
        let share = share.fraction() * 100.0;
        let part = json!({ "from": format!("{from:.2}"), "share": format!("{share:.2}"), "colour": n % 4 });
        from += share;
        part
    });
    parts.collect()
}

fn shares(split: &BTreeMap<Version, Percent>) -> String {
    split.iter().map(|(version, share)| format!("{version} {share} %")).collect::<Vec<_>>().join(", ")
}
