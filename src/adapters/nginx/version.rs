//! Finding nginx on this machine, and what it understands.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::core::render::Features;

/// The oldest nginx that the tests run with.
pub const OLDEST: Version = Version(1, 22, 0);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// An nginx that can be used.
#[derive(Debug, Clone)]
pub struct Found {
    pub binary: PathBuf,
    pub version: Version,
}

impl Found {
    pub fn features(&self) -> Features {
        Features {
            keepalive_min_timeout: self.version >= Version(1, 27, 4),
            request_port: self.version >= Version(1, 29, 3),
        }
    }

    /// What an older nginx costs its users, in a sentence.
    pub fn lacks(&self) -> Option<&'static str> {
        (!self.features().keepalive_min_timeout).then_some(
            "it lacks keepalive_min_timeout (1.27.4): a client on a kept connection may lose a request at each reload; the platform image has a newer nginx",
        )
    }
}

/// Finds `binary`, a path or a name on the PATH, and asks for its version.
pub fn find(binary: &Path) -> Result<Found, String> {
    let path = on_path(binary).ok_or_else(|| {
        format!(
            "there is no nginx at {}; install it (apt-get install nginx-light), or name it with nginx.binary",
            binary.display()
        )
    })?;
    let output = Command::new(&path).arg("-v").output().map_err(|e| format!("{} does not run: {e}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = parse(&text)
        .ok_or_else(|| format!("{} -v answers {:?}, which names no nginx version", path.display(), text.trim()))?;
    if version < OLDEST {
        return Err(format!("{} is nginx {version}; {OLDEST} or newer is needed", path.display()));
    }
    Ok(Found { binary: path, version })
}

fn on_path(binary: &Path) -> Option<PathBuf> {
    if binary.components().count() > 1 {
        return binary.is_file().then(|| binary.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    // Debian keeps nginx in a folder that is on root's PATH only.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join(binary)).find(|candidate| candidate.is_file())
}

fn parse(text: &str) -> Option<Version> {
    let numbers = text.split("nginx/").nth(1)?.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    Some(Version(parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_decide_features() {
        assert_eq!(parse("nginx version: nginx/1.22.1\n"), Some(Version(1, 22, 1)));
        assert_eq!(parse("nginx version: nginx/1.30.6 (Debian)\n"), Some(Version(1, 30, 6)));
        assert_eq!(parse("openresty/1.2"), None);
        let with = |version| Found { binary: "nginx".into(), version }.features().keepalive_min_timeout;
        assert!(!with(Version(1, 27, 3)) && with(Version(1, 27, 4)) && with(Version(1, 30, 0)));
    }

    #[test]
    fn a_missing_nginx_is_an_error_that_says_how_to_get_one() {
        let error = find(Path::new("no-such-nginx")).unwrap_err();
        assert!(error.contains("no-such-nginx") && error.contains("nginx.binary"), "{error}");
    }

    #[test]
    fn an_nginx_that_is_too_old_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join("nginx");
        std::fs::write(&fake, "#!/bin/sh\necho 'nginx version: nginx/1.18.0' >&2\n").unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = find(&fake).unwrap_err();
        assert!(error.contains("1.18.0") && error.contains("1.22.0"), "{error}");
    }
}
