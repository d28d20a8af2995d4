//! One supervisor per state folder: a kernel lock that dies with its holder, and the pid for people.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
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
        fs::write(&pid_file, format!("{}\n", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file, pid_file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A pid file that stays behind misleads nobody: the lock decides.
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// The token of the API: made at first start, readable by its owner alone.
pub fn token(folder: &Path) -> std::io::Result<String> {
    kept(folder, "token")
}

/// What secrets are sealed with; who loses it has to set them again.
pub fn seal(folder: &Path) -> std::io::Result<String> {
    kept(folder, "secret.key")
}

fn kept(folder: &Path, name: &str) -> std::io::Result<String> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(token) if token.trim().len() >= 32 => return Ok(token.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = secret()?;
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    Ok(token)
}

/// 256 random bits as 64 hex digits.
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
}
