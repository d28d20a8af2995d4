//! `up`: boot, one line per step, then stay in the foreground until told to stop.

use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure, Mark};
use crate::supervisor;
use crate::supervisor::boot::Progress;

#[derive(Debug, Args)]
pub struct Up {}

impl Up {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        supervisor::up(globals.settings.clone(), &Lines, stop_signal()?).await?;
        Ok(())
    }
}

/// Resolves at SIGTERM or Ctrl-C; a second one ends the process at once.
pub fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Lines.warn("stopping: no new requests, then what is under way is finished; once more stops at once");
        tokio::spawn(async move {
            interrupt.recv().await;
            // What was started stays, as after a kill: the next `up` takes it over.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        });
    })
}

/// Prints each step on a line of its own.
pub struct Lines;

impl Progress for Lines {
    fn done(&self, step: &str, detail: &str, took: Duration) {
        // A closed output stops nobody from serving.
        let _ = output::marked(Mark::Good, &format!("{step:<24} {detail}  {} ms", took.as_millis()));
    }

    fn warn(&self, text: &str) {
        let _ = output::marked(Mark::Warning, text);
    }
}
