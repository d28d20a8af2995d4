//! All keys as clients see them: those that were written, and those that tell of the platform itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::http::StatusCode;

use super::super::Context;
use super::super::error::Problem;
use super::super::keyring::Caller;
use crate::core::access::Right;
use crate::core::kv::{Op, Pair};
use crate::core::names::{AppName, Version};
use crate::core::router_keys::{self, Slot};
use crate::core::world::{Command, Steer};
use crate::ports::kv::KvError;
use crate::ports::snapshot::View;

/// The pairs at or below a key, and the index of their last change.
pub fn look(context: &Context, key: &str, below: bool) -> (u64, Vec<Pair>) {
    let view = context.snapshot.view();
    let (mut index, mut pairs) = (0, Vec::new());
    if !router_keys::is_ours(key) {
        context.kv.read(&mut |tree| {
            index = if below { tree.index_below(key) } else { tree.index_of(key) };
            pairs =
                if below { tree.below(key).cloned().collect() } else { tree.get(key).cloned().into_iter().collect() };
        });
    }
    if router_keys::is_ours(key) || (below && router_keys::are_below(key)) {
        // A sum grows with either.
        index += view.number;
        pairs.extend(
            ours(&view, router_keys::parse(key).map(|(app, _)| app))
                .filter(|pair| if below { pair.key.starts_with(key) } else { *pair.key == *key }),
        );
        pairs.sort_by(|a, b| a.key.cmp(&b.key));
    }
    (index, pairs)
}

/// The platform's own pairs: of one app, or of all.
fn ours(view: &View, only: Option<AppName>) -> impl Iterator<Item = Pair> {
    let apps = view.releases.iter().filter(move |(app, _)| only.as_ref().is_none_or(|only| only == *app));
    let of_apps = apps.flat_map(|(app, releases)| releases.keys.pairs(app));
    of_apps.chain(router_keys::placeholders()).map(|(key, value)| Pair {
        key: key.into(),
        value: value.into_bytes().into(),
        flags: 0,
        created: 1,
        modified: view.number,
    })
}

/// What a batch asks of the platform itself, apart from what is only kept.
pub struct Wishes {
    kept: Vec<Op>,
    steps: Vec<(AppName, Steer)>,
}

impl Wishes {
    /// Sorts a batch out and checks all of it, before any of it is done.
    pub async fn read(context: &Context, caller: &Caller, ops: Vec<Op>) -> Result<Self, Problem> {
        let (ours, kept): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(|op| router_keys::is_ours(op.key()));
        if kept.iter().any(Op::changes) {
            caller.may(Right::Admin, None)?;
        }
        let mut wanted: BTreeMap<AppName, BTreeMap<Slot, String>> = BTreeMap::new();
        for op in &ours {
            let (key, value) = match op {
                Op::Set { key, value, .. } => (key, value),
                Op::Get(_) | Op::GetTree(_) => continue,
                Op::Cas { key, value, index, .. } if *index == context.snapshot.view().number => (key, value),
                Op::Cas { .. } => return Err(refused("the index has changed meanwhile".into())),
                Op::Delete(_)
                | Op::DeleteTree(_)
                | Op::DeleteCas { .. }
                | Op::CheckIndex { .. }
                | Op::CheckNotExists(_) => {
                    return Err(refused(format!("{} tells of the platform itself: it can be read and set", op.key())));
                }
            };
            let text =
                String::from_utf8(value.to_vec()).map_err(|_| refused(format!("{key}: the value is no text")))?;
            if router_keys::placeholders().iter().any(|(placeholder, _)| **placeholder == **key) {
                continue;
            }
            let (app, slot) = router_keys::parse(key).ok_or_else(|| refused(format!("{key}: there is no such key")))?;
            caller.may(Right::Deploy, Some(&app))?;
            wanted.entry(app).or_default().insert(slot, text);
        }
        if !wanted.is_empty() {
            // What was put into the repository just now counts.
            context.library.refresh().await?;
        }
        let view = context.snapshot.view();
        let mut steps = Vec::new();
        for (app, values) in wanted {
            let known = view.releases.get(&app).ok_or_else(|| refused(format!("there is no app {app}")))?;
            let wished = known.keys.write(&app, &values, &versions(&view, &app)).map_err(refused)?;
            steps.extend(wished.into_iter().map(|step| (app.clone(), step)));
        }
        Ok(Self { kept, steps })
    }

    /// Does what was asked. What is kept is kept first: it happens as a whole.
    /// Returns the pairs that are kept, each with the place of its operation among those.
    pub async fn grant(self, context: &Context, caller: &Caller) -> Result<Vec<(usize, Pair)>, KvOrProblem> {
        let pairs = match self.kept.is_empty() {
            true => Vec::new(),
            false => context.kv.write(self.kept).await?.pairs,
        };
        for (app, steer) in self.steps {
            let asked = context.inbox.ask(Command::Steer { app, steer }, &caller.name).await;
            asked.map_err(|error| KvOrProblem::Problem(error.into()))?;
        }
        Ok(pairs)
    }
}

/// Refused by the store, or by the platform.
pub enum KvOrProblem {
    Kv(KvError),
    Problem(Problem),
}

impl From<KvError> for KvOrProblem {
    fn from(error: KvError) -> Self {
        Self::Kv(error)
    }
}

impl From<KvOrProblem> for Problem {
    fn from(error: KvOrProblem) -> Self {
        match error {
            KvOrProblem::Problem(problem) => problem,
            KvOrProblem::Kv(KvError::Failed(_)) => refused("the index has changed meanwhile".into()),
            KvOrProblem::Kv(error @ KvError::Full) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-keys", error.to_string())
            }
            KvOrProblem::Kv(error @ KvError::Broken(_)) => {
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk", error.to_string())
            }
        }
    }
}

fn versions(view: &View, app: &AppName) -> BTreeSet<Version> {
    let kept = view.releases.get(app).into_iter().flat_map(|r| r.all.values().filter(|r| !r.pruned));
    let listed = view.index.iter().flat_map(|index| index.versions(app).into_keys());
    kept.map(|release| release.version.clone()).chain(listed).collect()
}

fn refused(reason: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, "makes-no-sense", reason)
}

/// A key as an operation names it.
pub fn named(text: &str) -> Result<Arc<str>, Problem> {
    crate::core::kv::key(text).map_err(Problem::bad)
}
