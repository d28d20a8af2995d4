//! One stream per open page: it says that something on a page may have changed, and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::asker::Counted;
use crate::adapters::http::serve::holding::holding;
use crate::ports::limits::Resource;
use crate::ports::snapshot::View;

const HEARTBEAT: Duration = Duration::from_secs(15);
/// Changes that come close together are told once.
const TOGETHER: Duration = Duration::from_millis(100);
/// Numbers of traffic are looked at this often.
const TRAFFIC: Duration = Duration::from_secs(2);

struct Watching {
    context: Context,
    views: watch::Receiver<u64>,
    keys: watch::Receiver<u64>,
    /// What was last told of, and how many requests had been counted then.
    seen: Option<(Arc<View>, u64)>,
    told_at: Option<Instant>,
}

pub async fn stream(
    State(context): State<Context>,
    counted: Counted,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let held = context.limits.take(Resource::Stream, counted.0)?;
    let (views, keys) = (context.snapshot.changes(), context.kv.changed());
    let watching = Watching { context, views, keys, seen: None, told_at: None };
    let changes = stream::unfold(watching, |mut watching| async {
        watching.change().await?;
        Some((Ok(Event::default().event("changed").data("look again")), watching))
    });
    Ok(Sse::new(holding(changes, vec![held])).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

impl Watching {
    /// Returns when something is another than what was last told of; the first time at once: whoever comes back may
    /// have missed anything. `None` when the platform goes down.
    async fn change(&mut self) -> Option<()> {
        loop {
            self.views.mark_unchanged();
            self.keys.mark_unchanged();
            if self.seen.as_ref().is_none_or(|(seen, counted)| self.is_other(seen, *counted)) {
                if let Some(told_at) = self.told_at {
                    sleep_until(told_at + TOGETHER).await;
                }
                self.seen = Some((self.context.snapshot.view(), self.context.meters.counted()));
                self.told_at = Some(Instant::now());
                return Some(());
            }
            let change = async {
                tokio::select! {
                    changed = self.views.changed() => changed.is_ok(),
                    changed = self.keys.changed() => {
                        // Keys are no part of the view.
                        self.seen = None;
                        changed.is_ok()
                    }
                }
            };
            if !timeout(TRAFFIC, change).await.unwrap_or(true) {
                return None;
            }
        }
    }

    fn is_other(&self, seen: &View, counted: u64) -> bool {
        let now = self.context.snapshot.view();
        let (before, after) = (&seen.status, &now.status);
        let is_same_index = match (&seen.index, &now.index) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (before, after) => before.is_none() && after.is_none(),
        };
        (seen.number, before.generation, &before.engine) != (now.number, after.generation, &after.engine)
            || before.problems != after.problems
            || !is_same_index
            || counted != self.context.meters.counted()
    }
}
