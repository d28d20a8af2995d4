//! Every task has an owner that notices its end.
//!
//! A task that can begin again is started anew after a pause; one that cannot stops the platform with a reason.

use std::future::Future;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Running tasks. Dropping it ends them all.
#[derive(Default)]
pub struct Tasks(JoinSet<String>);

impl Tasks {
    /// Runs a task whose end is the platform's. The future's value says why it ended.
    pub fn essential(
        &mut self,
        name: &'static str,
        task: impl Future<Output = String> + Send + 'static,
    ) -> AbortHandle {
        self.0.spawn(async move { format!("{name} ended: {}", watched(task).await) })
    }

    /// Runs a task that is begun again whenever it ends or panics.
    pub fn renewed<F>(&mut self, name: &'static str, mut begin: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = String> + Send + 'static,
    {
        self.0.spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let began = tokio::time::Instant::now();
                let reason = watched(begin()).await;
                if began.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                tracing::warn!(task = name, reason, "a task ended and is begun again in {pause:?}");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// Waits for the end of an essential task and says which it was and why.
    pub async fn ended(&mut self) -> String {
        match self.0.join_next().await {
            Some(Ok(reason)) => reason,
            Some(Err(error)) => describe(error),
            None => std::future::pending().await,
        }
    }
}

/// Runs a task and returns why it ended, also if it panicked. Dropped, it takes the task with it.
async fn watched(task: impl Future<Output = String> + Send + 'static) -> String {
    let mut run = JoinSet::new();
    run.spawn(task);
    match run.join_next().await {
        Some(Ok(reason)) => reason,
        Some(Err(error)) => describe(error),
        None => "it never ran".to_owned(),
    }
}

fn describe(error: tokio::task::JoinError) -> String {
    if !error.is_panic() {
        return "it was cancelled".into();
    }
    let panic = error.into_panic();
    let text =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_task_that_panics_is_begun_again() {
        let (runs, third) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let mut tasks = Tasks::default();
        let (counted, reached) = (runs.clone(), third.clone());
        tasks.renewed("restless", move || {
            let (counted, reached) = (counted.clone(), reached.clone());
            async move {
                if counted.fetch_add(1, Ordering::SeqCst) == 2 {
                    reached.notify_one();
                    std::future::pending::<()>().await;
                }
                panic!("on purpose")
            }
        });
        third.notified().await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn the_end_of_an_essential_task_is_reported_with_its_reason() {
        let mut tasks = Tasks::default();
        tasks.essential("dns", async { panic!("socket lost") });
        assert_eq!(tasks.ended().await, "dns ended: it panicked: socket lost");
    }
}
