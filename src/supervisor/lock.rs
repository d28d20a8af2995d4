//! One supervisor per state folder: a kernel lock that dies with its holder, and the pid for people.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::core::digest::hex;

/// Held as long as the supervisor lives.
pub struct Lock {
    _file: Flock<File>,
    pid_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "a platform is already running from {folder} (supervisor {pid}); `platformer down` stops it, another `state` folder runs a second one"
    )]
    Taken { folder: String, pid: String },
    #[error("the state folder {folder} cannot be used: {source}")]
    Folder { folder: String, source: std::io::Error },
}

impl Lock {
    /// Makes the state folder if it is missing and takes its lock.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Folder { folder: folder.display().to_string(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        // nginx's workers, another user, pass through to their sockets; what is secret has a mode of its own.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).map_err(failed)?;
        let pid_file = folder.join("supervisor.pid");
        let lock = folder.join("supervisor.lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock).map_err(failed)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => LockError::Taken {
                folder: folder.display().to_string(),
                pid: fs::read_to_string(&pid_file).unwrap_or_default().trim().to_owned(),
            },
            errno => failed(errno.into()),
        })?;
        if let Err(error) = fs::write(&pid_file, format!("{}\n", std::process::id())) {
            // Only people read it, and a full disk must keep nobody from starting.
            tracing::warn!(%error, "{} cannot be written", pid_file.display());
        }
        Ok(Self { _file: file, pid_file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A pid file that stays behind misleads nobody: the lock decides.
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// A file with a key that is there and holds none.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path} is damaged ({found}, where 64 hex digits are kept): put a copy of it back. {remedy}")]
    Damaged { path: String, found: String, remedy: &'static str },
    #[error("{path} cannot be kept: {source}")]
    Trouble { path: String, source: io::Error },
}

/// The token of the API: made at first start, readable by its owner alone.
pub fn token(folder: &Path) -> Result<String, KeyError> {
    kept(
        folder,
        "token",
        "Without one, delete the file: the next start makes another token, which all who use the old one need",
    )
}

/// What secrets are sealed with; who loses it has to set them again.
pub fn seal(folder: &Path) -> Result<String, KeyError> {
    kept(
        folder,
        "secret.key",
        "Without one, no secret in a config can be read any more: delete the file, start again, and set each secret \
         anew with `platformer config set APP KEY=VALUE --secret`",
    )
}

/// A key is made where there is none, and never in the place of one that cannot be read.
fn kept(folder: &Path, name: &str, remedy: &'static str) -> Result<String, KeyError> {
    let path = folder.join(name);
    let trouble = |source| KeyError::Trouble { path: path.display().to_string(), source };
    match fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            let is_key = text.len() == LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit());
            let found = format!("it has {} bytes", bytes.len());
            let damaged = KeyError::Damaged { path: path.display().to_string(), found, remedy };
            return if is_key { Ok(text) } else { Err(damaged) };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(trouble(error)),
    }
    let key = secret().map_err(trouble)?;
    // Whole or not at all: half a key would stop the next start.
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(file, "{key}")?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&path).map(drop).map_err(|e| e.error)
    };
    write().map_err(trouble)?;
    Ok(key)
}

/// Digits of a key.
const LENGTH: usize = 64;

/// 256 random bits as hex digits.
pub fn secret() -> std::io::Result<String> {
    let mut random = [0; 32];
    std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut random)?;
    Ok(hex(&random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_supervisor_is_refused_and_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).err().unwrap().to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("platformer down"), "{error}");
        drop(first);
        assert!(Lock::take(folder.path()).is_ok());
    }

    #[test]
    fn the_token_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let token = super::token(folder.path()).unwrap();
        assert_eq!((token.len(), super::token(folder.path()).unwrap()), (64, token));
        let mode = fs::metadata(folder.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_never_replaced_and_the_way_out_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let key = seal(folder.path()).unwrap();
        let path = folder.path().join("secret.key");
        let garbage = [0xff; 65];
        let uneven = "g".repeat(64);
        for spoiled in [&key.as_bytes()[..5], b"", &key.as_bytes()[..63], &garbage, uneven.as_bytes()] {
            fs::write(&path, spoiled).unwrap();
            let error = seal(folder.path()).unwrap_err().to_string();
            assert!(error.contains("secret.key is damaged") && error.contains("delete the file"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), spoiled);
        }
        fs::write(&path, format!("{key}\n")).unwrap();
        assert_eq!(seal(folder.path()).unwrap(), key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }
}
