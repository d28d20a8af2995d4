//! Tags and the main branch by the git protocol, through git itself: it knows the transports, credentials and
//! proxies of whoever set it up.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::core::app::GitUrl;
use crate::core::names::Version;
use crate::core::source::{Git, newest_release, versions};
use crate::ports::sources::SourceError;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Looks at a repository. Commits are fetched, without files, only where something has moved since the last look.
pub async fn look(kept: &Path, url: &GitUrl) -> Result<Git, SourceError> {
    let listed = git(None, &["ls-remote", "--symref", "--", url.as_str(), "HEAD", "refs/tags/*"]).await?;
    let remote = Remote::read(&listed);
    let untagged = match (&remote.head, remote.newest()) {
        (Some(_), Some(newest)) => count(kept, url, newest).await.ok(),
        _ => None,
    };
    Ok(Git { untagged, head: remote.head.map(Into::into), tags: remote.tags })
}

/// What `ls-remote` tells.
#[derive(Debug, Default, PartialEq)]
struct Remote {
    head: Option<String>,
    tags: Vec<Version>,
}

impl Remote {
    fn read(text: &str) -> Self {
        let lines = || text.lines().filter_map(|line| line.split_once('\t'));
        let head = lines().find(|(sha, name)| *name == "HEAD" && !sha.starts_with("ref:"));
        let tags = lines().filter_map(|(_, name)| name.strip_prefix("refs/tags/"));
        // `^{}` names the commit behind an annotated tag, which is listed by itself too.
        let mut tags: Vec<Version> = versions(tags.filter(|tag| !tag.ends_with("^{}"))).collect();
        tags.sort();
        Self { head: head.map(|(sha, _)| sha.to_owned()), tags }
    }

    fn newest(&self) -> Option<&Version> {
        newest_release(&self.tags)
    }
}

/// Commits on the main branch that the newest tag does not have.
async fn count(kept: &Path, url: &GitUrl, newest: &Version) -> Result<u32, SourceError> {
    if !kept.join("HEAD").exists() {
        tokio::fs::create_dir_all(kept).await.map_err(|e| fail(format!("{}: {e}", kept.display())))?;
        git(Some(kept), &["init", "--quiet", "--bare"]).await?;
    }
    let tag = format!("+refs/tags/{newest}:refs/tags/{newest}");
    let fetch =
        ["fetch", "--quiet", "--no-tags", "--filter=tree:0", "--", url.as_str(), "+HEAD:refs/heads/main", tag.as_str()];
    git(Some(kept), &fetch).await?;
    let range = format!("refs/tags/{newest}..refs/heads/main");
    let counted = git(Some(kept), &["rev-list", "--count", &range, "--"]).await?;
    counted.trim().parse().map_err(|_| fail(format!("git counted {counted:?}")))
}

async fn git(folder: Option<&Path>, arguments: &[&str]) -> Result<String, SourceError> {
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.arg("--git-dir").arg(folder);
    }
    // Nobody is there to type a password, and no transport may run a program that a URL names.
    command.args(["-c", "protocol.ext.allow=never"]).args(arguments);
    // Without lazy fetches, which never end at a server that cannot leave files out.
    command.env("GIT_NO_LAZY_FETCH", "1");
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes").env("LC_ALL", "C");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(TIMEOUT, command.output()).await {
        Err(_) => return Err(fail(format!("git did not end within {} s", TIMEOUT.as_secs()))),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(fail("git is not installed on this machine; install it, or leave source.git out"));
        }
        Ok(Err(error)) => return Err(fail(format!("git: {error}"))),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().find(|line| line.starts_with("fatal:")).or(said.lines().next()).unwrap_or("no reason");
    Err(fail(format!("git: {}", reason.trim_start_matches("fatal: "))))
}

fn fail(reason: impl Into<String>) -> SourceError {
    SourceError { reason: reason.into(), wait: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_are_versions_and_the_head_are_read() {
        let text = "ref: refs/heads/trunk\tHEAD\naaaa\tHEAD\nbbbb\trefs/tags/0.10.0\ncccc\trefs/tags/0.10.0^{}\ndddd\trefs/tags/0.9.0\neeee\trefs/tags/nightly\nffff\trefs/tags/1.0.0-rc1\n";
        let remote = Remote::read(text);
        assert_eq!(remote.head.as_deref(), Some("aaaa"));
        assert_eq!(remote.newest().map(Version::as_str), Some("0.10.0"));
        assert_eq!(remote.tags.len(), 3);
        assert_eq!(Remote::read(""), Remote::default());
    }
}
