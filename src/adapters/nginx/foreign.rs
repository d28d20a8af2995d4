//! An nginx that somebody else runs: we write one file, and a command or a signal makes it read that.
//!
//! A generation counts as live once the command has succeeded. A process that is only signalled tells nothing, so its
//! own program reads the files first (`nginx -t`), or, where we cannot run that, its new workers are waited for. What
//! fails is taken back: the files that were there before are put in place again.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::log;
use super::process::{children, title};
use crate::core::deploy::Counted;
use crate::core::render::Rendered;
use crate::core::world::Found;
use crate::ports::balancer::{Balancer, BalancerError, BalancerStatus, Generation, Reload};

/// An nginx that has no new workers by then has refused what it read.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

pub struct ForeignNginx {
    out: PathBuf,
    full: bool,
    reload: Reload,
}

impl ForeignNginx {
    /// Writes into the folder `out`: `platformer.conf`, and with `full` an `nginx.conf` around it.
    pub fn new(out: PathBuf, full: bool, reload: Reload) -> io::Result<Self> {
        fs::create_dir_all(&out)?;
        Ok(Self { out: out.canonicalize()?, full, reload })
    }

    fn files<'a>(&self, rendered: &'a Rendered) -> Vec<(PathBuf, &'a str)> {
        let mut files = vec![(self.out.join("platformer.conf"), rendered.http.as_str())];
        if self.full {
            files.push((self.out.join("nginx.conf"), rendered.main.as_str()));
        }
        files
    }

    async fn tell(&self) -> Result<(), BalancerError> {
        match &self.reload {
            Reload::Nobody => Ok(()),
            Reload::PidFile(file) => {
                let pid = fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok());
                let pid = pid.ok_or_else(|| BalancerError::Trouble(format!("{} names no process", file.display())))?;
                signal(pid).await
            }
            Reload::Command(command) => {
                // The operator's own command line, given to `watch` by hand: no other text ever gets here.
                let output = Command::new("/bin/sh").arg("-c").arg(command).output().await;
                let output = output.map_err(|e| BalancerError::Trouble(format!("{command:?} does not run: {e}")))?;
                if output.status.success() {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(log::parse(&text).unwrap_or_else(|| {
                    BalancerError::Trouble(format!("{command:?} ended with {}: {}", output.status, text.trim()))
                }))
            }
        }
    }

    /// Puts a text into the files and has it read; what is refused is taken back.
    async fn put(&self, rendered: &Rendered) -> Result<(), BalancerError> {
        let files = self.files(rendered);
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
}

/// Has the master read its files anew, and finds out whether it did.
async fn signal(pid: i32) -> Result<(), BalancerError> {
    let trouble = |what: String| BalancerError::Trouble(format!("process {pid} {what}"));
    let is_tested = match own_test(pid) {
        Some(mut test) => {
            let output =
                test.stdin(Stdio::null()).output().await.map_err(|e| trouble(format!("cannot be asked: {e}")))?;
            if let Some(refusal) = log::parse(&String::from_utf8_lossy(&output.stderr)) {
                return Err(refusal);
            }
            output.status.success()
        }
        None => false,
    };
    let old = children(pid);
    kill(Pid::from_raw(pid), Signal::SIGHUP).map_err(|e| trouble(format!("cannot be signalled: {e}")))?;
    let deadline = Instant::now() + PATIENCE;
    while !is_tested && title(pid).starts_with("nginx: master") && children(pid).iter().all(|child| old.contains(child))
    {
        if Instant::now() > deadline {
            return Err(trouble("did not take up what was written; its error log says why".into()));
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// The program of a running nginx with its own arguments, made to test its configuration; `None` where it is not an
/// nginx that sees the same files as we do.
fn own_test(pid: i32) -> Option<Command> {
    let seen_by = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok().filter(|program| program.is_file())?;
    let is_beside_us = seen_by(&pid.to_string())? == seen_by("self")?;
    let title = title(pid);
    let arguments = arguments(title.strip_prefix("nginx: master process ").filter(|_| is_beside_us)?);
    Some(test_with(&program, arguments))
}

fn test_with(program: &Path, arguments: Vec<String>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).args(["-t", "-q"]);
    command
}

/// The options in the title of a master, `nginx -c /etc/nginx/nginx.conf -g daemon off;`: one begins where the next word
/// is an option, whatever blanks were in its value.
fn arguments(line: &str) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut is_value = false;
    for word in line.split(' ').skip(1).filter(|word| !word.is_empty()) {
        let is_option = matches!(word, "-c" | "-p" | "-e" | "-g");
        match arguments.last_mut().filter(|_| is_value && !is_option) {
            Some(value) => {
                value.push(' ');
                value.push_str(word);
            }
            None => {
                is_value = arguments.last().is_some_and(|last| last.len() == 2 && last.starts_with('-')) && !is_option;
                arguments.push(word.to_owned());
            }
        }
    }
    arguments
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
        self.put(&generation.rendered).await
    }

    async fn settle(&self, _generation: u64) -> Result<usize, BalancerError> {
        Ok(0)
    }

    /// There is no trying without doing: what is accepted is in use. Who looks for the one that is refused begins with
    /// what was in use before.
    async fn check(&self, rendered: &Rendered) -> Result<(), BalancerError> {
        self.put(rendered).await
    }

    async fn drained(&self, _address: SocketAddr, _limit: Duration) {}

    /// Somebody else's log is not ours to read.
    async fn counted(&self) -> Vec<Counted> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_running_nginx_are_read_from_its_title() {
        for (title, expected) in [
            ("nginx", &[][..]),
            ("/usr/sbin/nginx -g daemon on; master_process on; ", &["-g", "daemon on; master_process on;"]),
            (
                "nginx -p /a -e /a/log -c /a/b c -g daemon off;",
                &["-p", "/a", "-e", "/a/log", "-c", "/a/b c", "-g", "daemon off;"],
            ),
        ] {
            assert_eq!(arguments(title), expected, "{title}");
        }
    }
}
