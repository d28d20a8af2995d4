//! All keys as clients see them: those that were written, and those that tell of the platform itself.

use std::sync::Arc;

use axum::http::StatusCode;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::core::access::Right;
use crate::core::decide::Command;
use crate::core::decide::router_keys::{self, Wishes};
use crate::core::kv::{Op, Pair};
use crate::core::names::AppName;
use crate::ports::inbox::{Kept, Transaction, TransactionError};
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
    // What was removed is remembered for its history, and has no keys.
    let is_there = |app: &AppName| view.status.app(app).is_some();
    let is_meant = move |app: &AppName| only.as_ref().is_none_or(|only| only == app);
    let apps = view.releases.iter().filter(move |(app, _)| is_meant(app) && is_there(app));
    let of_apps = apps.flat_map(|(app, releases)| releases.keys.pairs(app));
    of_apps.chain(router_keys::placeholders()).map(|(key, value)| Pair {
        key: key.into(),
        value: value.into_bytes().into(),
        flags: 0,
        created: 1,
        modified: view.number,
    })
}

/// Does a batch: what is only kept and what it asks of the platform itself, all of it or nothing.
/// Returns the pairs that are kept, each with the place of its operation among those.
pub async fn commit(context: &Context, caller: &Caller, ops: Vec<Op>) -> Result<Kept, KvOrProblem> {
    let (ours, kept): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(|op| router_keys::is_ours(op.key()));
    if kept.iter().any(Op::changes) {
        caller.may(Right::Admin, None)?;
    }
    let (wishes, index) = read(caller, &ours)?;
    if wishes.is_empty() && index.is_none() {
        return match kept.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(context.kv.write(kept).await?.pairs),
        };
    }
    // What was put into the repository just now counts.
    context.library.refresh().await.map_err(Problem::from)?;
    let transaction = Transaction { kept, command: Command::Keys { wishes, images: None }, index };
    Ok(context.inbox.transact(transaction, &caller.name).await?)
}

/// What is written to the platform's own keys, and the index that it is to stand at.
fn read(caller: &Caller, ours: &[Op]) -> Result<(Wishes, Option<u64>), Problem> {
    let (mut wishes, mut expected) = (Wishes::new(), None);
    for op in ours {
        let (key, value) = match op {
            Op::Set { key, value, .. } => (key, value),
            Op::Get(_) | Op::GetTree(_) => continue,
            Op::Cas { key, value, index, .. } => {
                if expected.replace(*index).is_some_and(|other| other != *index) {
                    return Err(refused("the index has changed meanwhile".into()));
                }
                (key, value)
            }
            Op::Delete(_)
            | Op::DeleteTree(_)
            | Op::DeleteCas { .. }
            | Op::CheckIndex { .. }
            | Op::CheckNotExists(_) => {
                return Err(refused(format!("{} tells of the platform itself: it can be read and set", op.key())));
            }
        };
        let text = String::from_utf8(value.to_vec()).map_err(|_| refused(format!("{key}: the value is no text")))?;
        if router_keys::placeholders().iter().any(|(placeholder, _)| **placeholder == **key) {
            continue;
        }
        let (app, slot) = router_keys::parse(key).ok_or_else(|| refused(format!("{key}: there is no such key")))?;
        caller.may(Right::Deploy, Some(&app))?;
        wishes.entry(app).or_default().insert(slot, text);
    }
    Ok((wishes, expected))
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

impl From<Problem> for KvOrProblem {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<TransactionError> for KvOrProblem {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Kv(error) => Self::Kv(error),
            TransactionError::Command(error) => Self::Problem(error.into()),
            TransactionError::Changed => Self::Problem(refused(error.to_string())),
        }
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

fn refused(reason: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, "makes-no-sense", reason)
}

/// A key as an operation names it.
pub fn named(text: &str) -> Result<Arc<str>, Problem> {
    crate::core::kv::key(text).map_err(Problem::bad)
}
