//! An nginx that somebody else runs: we write one file, and a command or a signal makes it read that.
//!
//! Whether it did is not told to us, so a generation counts as live once the command has succeeded; where it
//! fails, the file that was there before is put back.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::core::deploy::Tally;
use crate::core::names::{AppName, Version};
use crate::core::render::Rendered;
use crate::core::world::Found;
use crate::ports::balancer::{Balancer, BalancerError, BalancerStatus, Generation};

/// How the other nginx is told to read its configuration.
#[derive(Debug, Clone)]
pub enum Notify {
    /// A shell command, as docker-gen's `-notify` has it.
    Command(String),
    /// SIGHUP to the process whose number is in the file.
    PidFile(PathBuf),
    Nobody,
}

pub struct ForeignNginx {
    out: PathBuf,
    full: bool,
    notify: Notify,
}

impl ForeignNginx {
    /// Writes into the folder `out`: `platformer.conf`, and with `full` an `nginx.conf` around it.
    pub fn new(out: PathBuf, full: bool, notify: Notify) -> io::Result<Self> {
        fs::create_dir_all(&out)?;
        Ok(Self { out: out.canonicalize()?, full, notify })
    }

    fn files<'a>(&self, rendered: &'a Rendered) -> Vec<(PathBuf, &'a str)> {
        let mut files = vec![(self.out.join("platformer.conf"), rendered.http.as_str())];
        if self.full {
            files.push((self.out.join("nginx.conf"), rendered.main.as_str()));
        }
        files
    }

    async fn tell(&self) -> Result<(), BalancerError> {
        match &self.notify {
            Notify::Nobody => Ok(()),
            Notify::PidFile(file) => {
                let pid = fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok());
                let pid = pid.ok_or_else(|| BalancerError::Trouble(format!("{} names no process", file.display())))?;
                kill(Pid::from_raw(pid), Signal::SIGHUP)
                    .map_err(|e| BalancerError::Trouble(format!("process {pid} cannot be signalled: {e}")))
            }
            Notify::Command(command) => {
                // The operator's own command line, given to `watch` by hand: no other text ever gets here.
                let output = Command::new("/bin/sh").arg("-c").arg(command).output().await;
                let output = output.map_err(|e| BalancerError::Trouble(format!("{command:?} does not run: {e}")))?;
                if output.status.success() {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(super::log::parse(&text).unwrap_or_else(|| {
                    BalancerError::Trouble(format!("{command:?} ended with {}: {}", output.status, text.trim()))
                }))
            }
        }
    }
}

/// Writes a file beside its place and renames it there.
fn replace(path: &PathBuf, text: &str) -> Result<(), BalancerError> {
    let temporary = path.with_extension("conf.new");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|e| BalancerError::Trouble(format!("cannot write {}: {e}", path.display())))
}

#[async_trait::async_trait]
impl Balancer for ForeignNginx {
    async fn adopt(&self) -> Result<Option<Found>, BalancerError> {
        Ok(None)
    }

    async fn reach(&self, generation: &Generation) -> Result<(), BalancerError> {
        let files = self.files(&generation.rendered);
        let before: Vec<_> = files.iter().map(|(path, _)| fs::read_to_string(path).ok()).collect();
        for (path, text) in &files {
            replace(path, text)?;
        }
        let told = self.tell().await;
        if told.is_err() {
            for ((path, _), text) in files.iter().zip(before) {
                match text {
                    Some(text) => replace(path, &text)?,
                    None => _ = fs::remove_file(path),
                }
            }
        }
        told
    }

    async fn settle(&self, _generation: u64) -> Result<(), BalancerError> {
        Ok(())
    }

    async fn check(&self, _rendered: &Rendered) -> Result<(), BalancerError> {
        Err(BalancerError::Trouble("somebody else's nginx cannot be asked".into()))
    }

    async fn drained(&self, _address: SocketAddr, _limit: Duration) {}

    /// Somebody else's log is not ours to read.
    async fn counted(&self) -> Vec<(AppName, Version, Tally)> {
        std::future::pending().await
    }

    async fn watch(&self) -> String {
        std::future::pending().await
    }

    async fn status(&self) -> BalancerStatus {
        BalancerStatus { state: "foreign", pid: None, version: String::new() }
    }

    async fn quit(&self, _limit: Duration) {}
}
