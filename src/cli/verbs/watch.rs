//! `watch`: follow containers for an nginx that somebody else runs.

use std::path::PathBuf;

use clap::Args;

use super::up::{Lines, stop_signal};
use crate::cli::globals::Globals;
use crate::cli::output::Failure;
use crate::ports::balancer::Reload;
use crate::supervisor::boot::{Options, watch};

#[derive(Debug, Args)]
pub struct Watch {
    /// The folder that platformer.conf is written to; include it in nginx's http block
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A command that makes nginx read it, such as 'nginx -s reload'
    #[arg(long, value_name = "COMMAND", conflicts_with = "pid")]
    reload: Option<String>,
    /// Send SIGHUP to the process whose number is in this file
    #[arg(long, value_name = "FILE")]
    pid: Option<PathBuf>,
    /// Write a whole nginx.conf around it too
    #[arg(long)]
    full: bool,
    /// Write once and end
    #[arg(long)]
    once: bool,
}

impl Watch {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let reload = match (self.reload, self.pid) {
            (Some(command), _) => Reload::Command(command),
            (None, Some(file)) => Reload::PidFile(file),
            (None, None) => Reload::Nobody,
        };
        let options = Options { out: self.out, full: self.full, reload, once: self.once };
        watch(globals.settings.clone(), options, &Lines, stop_signal()?).await?;
        Ok(())
    }
}
