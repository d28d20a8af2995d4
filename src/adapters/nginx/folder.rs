//! nginx's folder: one folder per generation, and a symlink that names the current one.
//!
//! The symlink is replaced by rename, so nginx never reads half a generation, and going back is one rename.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::render::Rendered;
use crate::core::routes::Routes;
use crate::ports::balancer::{BalancerError, Generation};

/// Generations kept for looking back.
const KEPT: u64 = 5;

pub struct Folder(PathBuf);

/// What a supervisor that adopts nginx has to know of the generation it finds.
#[derive(Serialize, Deserialize)]
pub struct Memory {
    pub routes: Arc<Routes>,
    pub fingerprint: u64,
}

impl Folder {
    pub fn make(root: PathBuf) -> Result<Self, BalancerError> {
        let trouble = |e| trouble("make", &root, &e);
        fs::create_dir_all(root.join("generations")).map_err(trouble)?;
        fs::create_dir_all(root.join("tmp")).map_err(trouble)?;
        // nginx's workers are another user and pass through to their sockets and temporary files.
        for folder in [&root, &root.join("tmp")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).map_err(trouble)?;
        }
        Ok(Self(root))
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn status_socket(&self) -> PathBuf {
        self.0.join("status.sock")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.0.join("nginx.pid")
    }

    /// Where requests are logged that went wrong: clients write here.
    pub fn error_log(&self) -> PathBuf {
        self.0.join("error.log")
    }

    /// Where nginx says what it thinks of its configuration, and nobody else says anything.
    pub fn verdicts(&self) -> PathBuf {
        self.0.join("verdicts.log")
    }

    /// The path that nginx is started with; it leads through the symlink.
    pub fn current_config(&self) -> PathBuf {
        self.0.join("current/nginx.conf")
    }

    /// Writes a generation's folder, whole or not at all.
    pub fn write(&self, generation: &Generation) -> Result<PathBuf, BalancerError> {
        let folder = self.generation(generation.number);
        let unfinished = self.0.join("generations/unfinished");
        let write = || -> io::Result<()> {
            remove(&unfinished)?;
            write_texts(&unfinished, &generation.rendered)?;
            let memory = Memory { routes: generation.routes.clone(), fingerprint: generation.fingerprint };
            fs::write(unfinished.join("memory.json"), serde_json::to_vec(&memory)?)?;
            remove(&folder)?;
            fs::rename(&unfinished, &folder)
        };
        write().map_err(|e| trouble("write", &folder, &e))?;
        Ok(folder)
    }

    /// Makes a generation current and returns what was current before.
    pub fn make_current(&self, number: u64) -> Result<Option<PathBuf>, BalancerError> {
        let before = fs::read_link(self.0.join("current")).ok();
        self.point_to(&self.generation(number))?;
        Ok(before)
    }

    /// The number of the current generation, and for how long it has been current.
    pub fn current(&self) -> Option<(u64, Duration)> {
        let link = self.0.join("current");
        let number = fs::read_link(&link).ok()?.file_name()?.to_str()?.parse().ok()?;
        let made = fs::symlink_metadata(&link).ok()?.modified().ok()?;
        // A clock that was set back makes it old enough.
        Some((number, made.elapsed().unwrap_or(Duration::MAX)))
    }

    /// Goes back to what was current before.
    pub fn restore(&self, before: Option<PathBuf>) -> Result<(), BalancerError> {
        before.map_or(Ok(()), |target| self.point_to(&target))
    }

    fn point_to(&self, target: &Path) -> Result<(), BalancerError> {
        let link = self.0.join("current.new");
        let swap = || -> io::Result<()> {
            remove(&link)?;
            symlink(target, &link)?;
            fs::rename(&link, self.0.join("current"))
        };
        swap().map_err(|e| trouble("switch", &link, &e))
    }

    /// What a generation was made from, if its folder is still there.
    pub fn memory(&self, number: u64) -> Option<Memory> {
        let text = fs::read(self.generation(number).join("memory.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes texts for a check into a folder that is not current.
    pub fn write_check(&self, rendered: &Rendered) -> Result<PathBuf, BalancerError> {
        let folder = self.0.join("generations/check");
        remove(&folder).and_then(|()| write_texts(&folder, rendered)).map_err(|e| trouble("write", &folder, &e))?;
        Ok(folder)
    }

    /// Deletes old generations; that one cannot be deleted is no reason to stop.
    pub fn prune(&self, live: u64) {
        for entry in fs::read_dir(self.0.join("generations")).into_iter().flatten().flatten() {
            let number = entry.file_name().to_string_lossy().parse::<u64>().ok();
            if number.is_some_and(|n| n + KEPT < live) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.0.join(format!("generations/{number:08}"))
    }
}

fn write_texts(folder: &Path, rendered: &Rendered) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("nginx.conf"), &rendered.main)?;
    fs::write(folder.join("platformer.conf"), &rendered.http)
}

/// Removes a file, link or folder; that there is none is fine.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

fn trouble(what: &str, path: &Path, error: &io::Error) -> BalancerError {
    BalancerError::Trouble(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u64) -> Generation {
        let rendered = Rendered { http: format!("http {number}"), main: "main".into() };
        Generation { number, rendered, routes: Arc::default(), fingerprint: 0 }
    }

    fn current(folder: &Folder) -> String {
        fs::read_to_string(folder.root().join("current/platformer.conf")).unwrap()
    }

    #[test]
    fn a_switch_can_be_taken_back() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::make(root.path().join("nginx")).unwrap();
        for number in [1, 2] {
            folder.write(&generation(number)).unwrap();
        }
        assert_eq!(folder.make_current(1).unwrap(), None);
        let before = folder.make_current(2).unwrap();
        assert_eq!(current(&folder), "http 2");
        folder.restore(before).unwrap();
        assert_eq!(current(&folder), "http 1");
        assert!(folder.memory(2).is_some() && folder.memory(3).is_none());
    }

    #[test]
    fn old_generations_are_deleted_and_the_last_ones_kept() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::make(root.path().join("nginx")).unwrap();
        for number in 1..=9 {
            folder.write(&generation(number)).unwrap();
        }
        folder.prune(9);
        let kept: Vec<_> = (1..=9).filter(|n| folder.memory(*n).is_some()).collect();
        assert_eq!(kept, [4, 5, 6, 7, 8, 9]);
    }
}
