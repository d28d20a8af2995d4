//! Noticing changes: the kernel's events say look again, and so does a slow clock, since events can be lost.

use std::path::Path;
use std::time::Duration;

use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// Editors write several times; half a file is read less often when one waits until it is quiet…
const QUIET: Duration = Duration::from_millis(15);
/// … but never longer than this.
const AT_MOST: Duration = Duration::from_millis(150);
const ANYWAY: Duration = Duration::from_secs(30);

/// Calls `changed` (which may block) after every change below `folder`, until dropped. The result is why it ended.
pub async fn watch(folder: &Path, changed: impl Fn() + Clone + Send + 'static) -> String {
    // One that waits says it all: look again.
    let (sender, mut events) = mpsc::channel(1);
    let noted = move |event: notify::Result<notify::Event>| {
        // Reading a file is no change of it; answering reads by reading would never end.
        if !event.is_ok_and(|e| e.kind.is_access()) {
            let _ = sender.try_send(());
        }
    };
    // What a link leads to is not ours to watch, and may be the whole machine.
    let watcher = RecommendedWatcher::new(noted, Config::default().with_follow_symlinks(false));
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => return format!("{} cannot be watched: {error}", folder.display()),
    };
    if let Err(error) = watcher.watch(folder, RecursiveMode::Recursive) {
        return format!("{} cannot be watched: {error}", folder.display());
    }
    loop {
        let look = changed.clone();
        if tokio::task::spawn_blocking(look).await.is_err() {
            return format!("looking at {} failed", folder.display());
        }
        tokio::select! {
            event = events.recv() => if event.is_none() {
                return format!("the kernel stopped reporting on {}", folder.display());
            },
            () = sleep_until(Instant::now() + ANYWAY) => {}
        }
        let latest = Instant::now() + AT_MOST;
        while Instant::now() < latest && timeout(QUIET, events.recv()).await.is_ok_and(|event| event.is_some()) {}
    }
}
