//! Changes to the repository: each written beside its place and renamed into it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::beneath::Folder;
use super::contents::Contents;
use super::{archive, scan};
use crate::core::app::parse_file;
use crate::core::digest::sha256_of;
use crate::core::names::{AppName, Version};
use crate::core::release::Blob;
use crate::core::repository::{File, Index, Trouble, is_archive};
use crate::core::text::{LARGEST, decode};
use crate::core::world::Fact;
use crate::ports::budget::{Cancelled, Waiting};
use crate::ports::inbox::Inbox;
use crate::ports::library::{Incoming, Library, LibraryError, Pushed};

/// The repository's folder with its last scan.
#[derive(Clone)]
pub struct Tree {
    root: PathBuf,
    last: Arc<Mutex<Arc<Index>>>,
    inbox: Inbox,
    uploads: Arc<AtomicU64>,
    store: Contents,
    unpacking: Arc<Semaphore>,
}

/// Uploads in progress; hidden from the index.
const INCOMING: &str = ".platformer-incoming";
/// Archives that are read through at once; others wait.
const UNPACKING: usize = 2;
/// Of folders and files in the repository, less what the umask takes.
const OPEN_FOLDER: u32 = 0o777;
const OPEN_FILE: u32 = 0o666;

impl Tree {
    /// Opens the folder, making it if it is missing; contents of releases are kept in `kept`. Uploads that were cut off earlier are deleted.
    pub fn open(root: &Path, kept: &Path, inbox: Inbox) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        match Folder::open(&root)?.remove(INCOMING) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "old uploads cannot be deleted")
            }
            _ => {}
        }
        Ok(Self {
            root,
            last: Arc::default(),
            inbox,
            uploads: Arc::default(),
            store: Contents::new(kept),
            unpacking: Arc::new(Semaphore::new(UNPACKING)),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Scans anew and tells what is there, if that has changed or has never been told.
    pub fn rescan(&self, always: bool) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let index = scan::scan(&self.root, &last);
        if always || index != **last {
            *last = Arc::new(index);
            self.inbox.tell(Fact::Indexed(last.clone()));
        }
    }

    /// Opened anew each time: the folder itself may have been put in its place meanwhile.
    fn served(&self) -> io::Result<Folder> {
        Folder::open(&self.root).map(scan::served)
    }

    /// Runs blocking work, then scans, so that the caller's change is known when it gets its answer.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, LibraryError> + Send + 'static,
    ) -> Result<T, LibraryError> {
        let tree = self.clone();
        let work = move || {
            let done = work(&tree);
            tree.rescan(false);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| LibraryError::Trouble(e.to_string()))?
    }

    /// Writes a file so that readers see the old text or the new one, and a power cut loses neither.
    fn replace(&self, path: &str, text: &str) -> Result<(), LibraryError> {
        let size = text.len();
        if size as u64 > LARGEST {
            return Err(LibraryError::Bad(format!("{path}: it would have {size} bytes, {LARGEST} are the most")));
        }
        let (staging, name) = self.staged()?;
        let write = || -> io::Result<()> {
            let mut file = staging.create(&name, OPEN_FILE)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let (folder, as_name) = self.served()?.parent_made(Path::new(path), OPEN_FOLDER)?;
            staging.rename(&name, &folder, as_name)
        };
        let written = write();
        if written.is_err() {
            // A leftover is deleted at the next start.
            let _ = staging.remove(&name);
        }
        written.map_err(|e| LibraryError::Trouble(format!("{path}: {e}")))
    }

    /// Takes a folder away at once, and then its parent if that is left empty.
    async fn remove_folder(
        &self,
        folder: PathBuf,
        parent: Option<PathBuf>,
        missing: LibraryError,
    ) -> Result<(), LibraryError> {
        self.change(move |tree| {
            let (base, (staging, going)) = (tree.served().map_err(trouble)?, tree.staged()?);
            match base.hand_over(&folder, &staging, &going) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing),
                other => other.map_err(trouble)?,
            }
            // Only an empty folder goes.
            parent.into_iter().for_each(|parent| _ = base.remove_empty(parent));
            staging.remove(&going).map_err(trouble)
        })
        .await
    }

    /// A folder that nobody else writes, on the repository's own disk, and a new name in it.
    fn staged(&self) -> Result<(Folder, String), LibraryError> {
        let open = || -> io::Result<Folder> {
            let folder = Folder::open(&self.root)?.made(INCOMING, 0o700)?;
            match folder.is_own()? {
                true => Ok(folder),
                false => Err(io::Error::other(format!("others can write to {INCOMING}; delete that folder"))),
            }
        };
        let name = self.uploads.fetch_add(1, Ordering::Relaxed).to_string();
        Ok((open().map_err(trouble)?, name))
    }

    fn place(
        &self,
        app: &AppName,
        version: &Version,
        file: &str,
        upload: &Incoming,
        cancelled: &Cancelled,
    ) -> Result<Pushed, LibraryError> {
        archive::check(&upload.file, file, cancelled).map_err(LibraryError::Bad)?;
        let size = upload.file.metadata().map_err(trouble)?.len();
        let sha256 = (&*upload.file).rewind().and_then(|()| sha256_of(&*upload.file)).map_err(trouble)?;
        let pushed = |unchanged| Pushed {
            app: app.clone(),
            version: version.clone(),
            file: file.to_owned(),
            sha256: sha256.clone(),
            size,
            unchanged,
        };
        let served = self.served().map_err(trouble)?;
        let artefacts = Path::new("artefacts").join(app.as_str());
        let spelled = served.folder(&artefacts).ok().and_then(|versions| spelled(&versions, version));
        match served.folder(artefacts.join(spelled.as_deref().unwrap_or(version.as_str()))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(trouble(error)),
            Ok(there) => {
                let same = there.file(file).and_then(|(found, _)| sha256_of(found)).is_ok_and(|found| found == sha256);
                return match same {
                    true => Ok(pushed(true)),
                    false => Err(LibraryError::Conflict(format!(
                        "{app}@{version} is in the repository with other contents; a version never changes, push a new one"
                    ))),
                };
            }
        }
        // Whole or not at all: the folder appears by rename, with the archive and its sum in it.
        let (staging, staged) = self.staged()?;
        let build = || -> io::Result<()> {
            let folder = staging.made(&staged, OPEN_FOLDER)?;
            staging.rename(&upload.name, &folder, file)?;
            let mut sums = folder.create("SHA256SUMS", OPEN_FILE)?;
            sums.write_all(format!("{sha256}  {file}\n").as_bytes())?;
            sums.sync_all()?;
            staging.rename(&staged, &served.made(&artefacts, OPEN_FOLDER)?, version.as_str())
        };
        let built = build();
        if built.is_err() {
            // A leftover is deleted at the next start.
            let _ = staging.remove(&staged);
        }
        built.map_err(trouble)?;
        Ok(pushed(false))
    }
}

fn trouble(error: io::Error) -> LibraryError {
    LibraryError::Trouble(error.to_string())
}

/// The name of the folder that the version has, however that spells it.
fn spelled(versions: &Folder, version: &Version) -> Option<String> {
    // Only a name is looked for: what has it is opened as anything else here.
    let names = fs::read_dir(versions.path()).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.into_iter().find(|name| Version::parse(name).is_ok_and(|found| found == *version))
}

#[async_trait::async_trait]
impl Library for Tree {
    async fn open(&self, file: &File) -> io::Result<Option<fs::File>> {
        let (tree, file) = (self.clone(), file.clone());
        let open = move || {
            let (handle, meta) = tree.served()?.file(&*file.path)?;
            let same = scan::identity(&meta) == file.identity && meta.len() == file.size;
            Ok(same.then_some(handle))
        };
        tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
    }

    fn incoming(&self) -> Result<Incoming, LibraryError> {
        let (staging, name) = self.staged()?;
        let file = staging.create(&name, OPEN_FILE).map_err(trouble)?;
        let gone = name.clone();
        // It has been renamed into place, or is of no use any more.
        Ok(Incoming::new(file, name, move || _ = staging.remove(&gone)))
    }

    async fn push(
        &self,
        app: &AppName,
        version: &Version,
        file: &str,
        upload: Incoming,
    ) -> Result<Pushed, LibraryError> {
        if file.starts_with('.')
            || !file.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            || !is_archive(file)
        {
            return Err(LibraryError::Bad(format!(
                "{file:?} is no file name for an artefact; letters, digits, '.', '_' and '-' are allowed, and one of the endings tar, tar.gz, tgz, tar.zst, zip"
            )));
        }
        let (app, version, file) = (app.clone(), version.clone(), file.to_owned());
        // Whoever sent it may go while his archive waits, or is read.
        let waiting = Waiting::default();
        let cancelled = waiting.cancelled();
        let turn = self.unpacking.clone().acquire_owned().await;
        self.change(move |tree| {
            let _turn = turn;
            tree.place(&app, &version, &file, &upload, &cancelled)
        })
        .await
    }

    async fn declare(&self, app: &AppName, text: &str) -> Result<(), LibraryError> {
        let path = format!("apps/{app}.toml");
        parse_file(&path, text).map_err(|e| LibraryError::Bad(e.to_string()))?;
        let text = text.to_owned();
        self.change(move |tree| tree.replace(&path, &text)).await
    }

    async fn delete(&self, app: &AppName) -> Result<(), LibraryError> {
        let app = app.clone();
        self.change(move |tree| {
            let base = tree.served().map_err(trouble)?;
            let removals = [
                base.remove(format!("apps/{app}.toml")),
                base.remove(Path::new("config").join(app.as_str())),
                base.remove(Path::new("artefacts").join(app.as_str())),
                base.remove(Path::new("files").join(app.as_str())),
            ];
            let failed = removals.into_iter().filter_map(Result::err).find(|e| e.kind() != io::ErrorKind::NotFound);
            failed.map_or(Ok(()), |e| Err(trouble(e)))
        })
        .await
    }

    async fn remove_version(&self, app: &AppName, version: &Version) -> Result<(), LibraryError> {
        let missing =
            LibraryError::Missing(format!("the repository has no {app}@{version}; `platformer repository list`"));
        let of_app = PathBuf::from("artefacts").join(app.as_str());
        self.remove_folder(of_app.join(version.as_str()), Some(of_app), missing).await
    }

    async fn remove_config(&self, app: &AppName) -> Result<(), LibraryError> {
        let missing = LibraryError::Missing(format!("{app} has no config"));
        self.remove_folder(PathBuf::from("config").join(app.as_str()), None, missing).await
    }

    async fn read_config(&self, app: &AppName) -> Result<String, LibraryError> {
        let (tree, app) = (self.clone(), app.clone());
        let read = move || {
            let path = format!("config/{app}/{app}.config");
            match tree.served().and_then(|base| base.read(&path, LARGEST)) {
                Ok(bytes) => decode(bytes).map_err(|reason| LibraryError::Bad(format!("{path}: {reason}"))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LibraryError::Missing(format!(
                    "{app} has no config; `platformer config set {app} KEY=VALUE` makes one"
                ))),
                Err(error) => Err(LibraryError::Bad(format!("{path}: {error}"))),
            }
        };
        tokio::task::spawn_blocking(read).await.map_err(|e| LibraryError::Trouble(e.to_string()))?
    }

    async fn write_config(&self, app: &AppName, text: &str) -> Result<(), LibraryError> {
        let path = format!("config/{app}/{app}.config");
        let text = text.to_owned();
        self.change(move |tree| tree.replace(&path, &text)).await
    }

    async fn verify(&self) -> Result<Vec<Trouble>, LibraryError> {
        let tree = self.clone();
        let waiting = Waiting::default();
        let cancelled = waiting.cancelled();
        let turn = self.unpacking.clone().acquire_owned().await;
        let verify = move || {
            let _turn = turn;
            let mut index = scan::scan(&tree.root, &Index::default());
            let is_meant = |f: &&File| f.path.starts_with("artefacts/") || f.path.starts_with("files/");
            for file in index.files.values().filter(is_meant).filter(|f| is_archive(&f.path)) {
                let name = file.path.rsplit('/').next().unwrap_or_default();
                let opened = tree.served().and_then(|base| base.file(&*file.path)).map_err(|e| format!("{name}: {e}"));
                if let Err(reason) = opened.and_then(|(handle, _)| archive::check(&handle, name, &cancelled)) {
                    index.troubles.push(Trouble {
                        path: file.path.to_string(),
                        reason,
                        remedy: "push the version again under another number".into(),
                    });
                }
            }
            index.troubles
        };
        tokio::task::spawn_blocking(verify).await.map_err(|e| LibraryError::Trouble(e.to_string()))
    }

    async fn keep(&self, contents: Vec<Blob>) -> Result<(), LibraryError> {
        let tree = self.clone();
        let waiting = Waiting::default();
        let cancelled = waiting.cancelled();
        let work = move || {
            let base = tree.served().map_err(trouble)?;
            contents.iter().try_for_each(|blob| tree.store.keep(&base, blob, &cancelled))
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| LibraryError::Trouble(e.to_string()))?
    }

    async fn kept(&self, contents: &Blob) -> Option<(File, fs::File)> {
        let (store, contents) = (self.store.clone(), contents.clone());
        tokio::task::spawn_blocking(move || store.open(&contents)).await.ok().flatten()
    }

    fn forget_all_but(&self, digests: &BTreeSet<Arc<str>>) {
        self.store.forget_all_but(digests);
    }

    async fn refresh(&self) -> Result<(), LibraryError> {
        self.change(|_| Ok(())).await
    }
}

#[cfg(test)]
mod tests;
