//! The `[source]` table: where new versions come from besides the repository.

use serde::{Deserialize, Serialize};

use super::Period;
use crate::core::names::{ImageRef, Version, checked_name};

/// Asked no more often than this, whatever a file says: registries count requests.
const SHORTEST: Period = Period::seconds(5);

/// The `[source]` table of an app file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A repository of images, without a tag; its tags are versions.
    pub image: Option<ImageRef>,
    pub git: Option<GitUrl>,
    pub auto: Auto,
    pub poll: Period,
    /// Held at this version, whatever is newer.
    pub pin: Option<Version>,
}

impl Default for Source {
    fn default() -> Self {
        Self { image: None, git: None, auto: Auto::Off, poll: Period::seconds(60), pin: None }
    }
}

/// Whether a new version is deployed by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    #[default]
    Off,
    Newest,
}

checked_name! {
    /// A git repository: `https://…`, `http://…`, `ssh://…`, `git@host:path`, `file://…` or an absolute path.
    GitUrl, "git URL", check_git
}

fn check_git(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 512 {
        return Err(format!("it has {} bytes, 1 to 512 are allowed", text.len()));
    }
    if let Some(c) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{c:?} is not allowed"));
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let is_scp = || text.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    match scheme {
        Some("http" | "https") if text.split('/').nth(2).is_some_and(|host| host.contains('@')) => {
            Err("a user or a password in it would be shown to everyone; use git's credential helper".into())
        }
        Some("http" | "https" | "ssh" | "git" | "file") => Ok(()),
        // What begins with a hyphen would be an option of git's.
        None if text.starts_with('/') || (is_scp() && !text.starts_with('-')) => Ok(()),
        Some(_) | None => Err("write https://…, ssh://…, git@HOST:PATH, or an absolute path".into()),
    }
}

impl Source {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(image) = self.image.as_ref().filter(|image| image.repository() != image.as_str()) {
            return Err(format!("source.image = {image:?}: leave out the tag, since each tag is a version"));
        }
        if self.poll < SHORTEST {
            return Err(format!("source.poll = {}: at least {SHORTEST}", self.poll));
        }
        if self.auto == Auto::Newest && self.image.is_none() && self.git.is_none() {
            return Err("source.auto needs source.image or source.git; deploy.auto follows the repository".into());
        }
        Ok(())
    }

    /// Whether there is anything to look at.
    pub fn is_remote(&self) -> bool {
        self.image.is_some() || self.git.is_some()
    }

    /// The image of a version, where images are where versions come from.
    pub fn image_of(&self, version: &Version) -> Option<ImageRef> {
        let image = self.image.as_ref()?;
        ImageRef::parse(&format!("{image}:{}", version.base())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_urls_are_no_options_and_carry_no_password() {
        for good in
            ["https://h/a.git", "ssh://git@h/a", "git@h:a/b.git", "/srv/a.git", "file:///srv/a", "http://h:3000/a"]
        {
            assert!(GitUrl::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "-upload-pack=x", "--x@h:y", "ext::sh -c x", "ext::x", "https://u:p@h/a", "h:a", "a b", "ftp://h/a"]
        {
            assert!(GitUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
