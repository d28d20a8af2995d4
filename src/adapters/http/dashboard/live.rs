//! One stream per open page: it says that something on a page may have changed, and nothing else.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::Context;

const HEARTBEAT: Duration = Duration::from_secs(15);
/// Changes that come close together are told once.
const TOGETHER: Duration = Duration::from_millis(100);
/// Numbers of traffic are looked at this often.
const TRAFFIC: Duration = Duration::from_secs(2);

/// What a page shows, as far as it matters whether that is another by now.
type Seen = (u64, u64, Option<u64>, usize, String, u64);

struct Watching {
    context: Context,
    views: watch::Receiver<u64>,
    keys: watch::Receiver<u64>,
    seen: Option<Seen>,
    told_at: Option<Instant>,
}

pub async fn stream(State(context): State<Context>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (views, keys) = (context.snapshot.changes(), context.kv.changed());
    let watching = Watching { context, views, keys, seen: None, told_at: None };
    let changes = stream::unfold(watching, |mut watching| async {
        watching.change().await?;
        Some((Ok(Event::default().event("changed").data("look again")), watching))
    });
    Sse::new(changes).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

impl Watching {
    /// Returns when something is another than what was last told of; the first time at once: whoever comes back may
    /// have missed anything. `None` when the platform goes down.
    async fn change(&mut self) -> Option<()> {
        loop {
            self.views.mark_unchanged();
            self.keys.mark_unchanged();
            let now = self.look();
            if self.seen.as_ref() != Some(&now) {
                if let Some(told_at) = self.told_at {
                    sleep_until(told_at + TOGETHER).await;
                }
                (self.seen, self.told_at) = (Some(self.look()), Some(Instant::now()));
                return Some(());
            }
            let change = async {
                tokio::select! {
                    changed = self.views.changed() => changed.is_ok(),
                    changed = self.keys.changed() => changed.is_ok(),
                }
            };
            if !timeout(TRAFFIC, change).await.unwrap_or(true) {
                return None;
            }
        }
    }

    fn look(&self) -> Seen {
        let view = self.context.snapshot.view();
        let generation = view.status.generation;
        let problems = view.status.problems.iter().map(|p| p.subject.len() + p.reason.len() + 1).sum();
        let files = view.index.as_ref().map_or(0, |index| std::sync::Arc::as_ptr(index) as usize as u64);
        let engine = format!("{:?}", view.status.engine.state);
        (view.number, self.context.meters.counted(), generation.live, problems, engine, files ^ generation.wanted)
    }
}
