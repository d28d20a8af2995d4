//! Changes to the repository: each written beside its place and renamed into it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::OFlag;

use super::contents::Contents;
use super::{archive, scan};
use crate::core::app::parse_file;
use crate::core::digest::sha256_of;
use crate::core::names::{AppName, Version};
use crate::core::release::Blob;
use crate::core::repository::{File, Index, Trouble, is_archive};
use crate::core::world::Fact;
use crate::ports::inbox::Inbox;
use crate::ports::library::{Library, LibraryError, Pushed};

/// The repository's folder with its last scan.
#[derive(Clone)]
pub struct Tree {
    root: PathBuf,
    last: Arc<Mutex<Arc<Index>>>,
    inbox: Inbox,
    uploads: Arc<AtomicU64>,
    store: Contents,
}

/// Uploads in progress; hidden from the index.
const INCOMING: &str = ".platformer-incoming";

impl Tree {
    /// Opens the folder, making it if it is missing; contents of releases are kept in `kept`. Uploads that were cut off earlier are deleted.
    pub fn open(root: &Path, kept: &Path, inbox: Inbox) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        match fs::remove_dir_all(root.join(INCOMING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "old uploads cannot be deleted")
            }
            _ => {}
        }
        Ok(Self { root, last: Arc::default(), inbox, uploads: Arc::default(), store: Contents::new(kept) })
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

    fn served(&self) -> PathBuf {
        scan::served_root(&self.root)
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
    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        let temporary = self.temporary()?;
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::rename(&temporary, path)
    }

    /// Takes a folder away at once, and then its parent if that is left empty.
    async fn remove_folder(
        &self,
        folder: PathBuf,
        parent: Option<PathBuf>,
        missing: LibraryError,
    ) -> Result<(), LibraryError> {
        self.change(move |tree| {
            let trouble = |e: io::Error| LibraryError::Trouble(e.to_string());
            let going = tree.temporary().map_err(trouble)?;
            match fs::rename(tree.served().join(folder), &going) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing),
                other => other.map_err(trouble)?,
            }
            // Only an empty folder goes.
            parent.into_iter().for_each(|parent| _ = fs::remove_dir(tree.served().join(parent)));
            fs::remove_dir_all(&going).map_err(trouble)
        })
        .await
    }

    fn temporary(&self) -> io::Result<PathBuf> {
        let folder = self.root.join(INCOMING);
        fs::create_dir_all(&folder)?;
        Ok(folder.join(self.uploads.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    fn place(&self, app: &AppName, version: &Version, file: &str, upload: &Path) -> Result<Pushed, LibraryError> {
        let trouble = |e: io::Error| LibraryError::Trouble(e.to_string());
        archive::check(upload, file).map_err(LibraryError::Bad)?;
        let size = fs::metadata(upload).map_err(trouble)?.len();
        let sha256 = fs::File::open(upload).and_then(sha256_of).map_err(trouble)?;
        let pushed = |unchanged| Pushed {
            app: app.clone(),
            version: version.clone(),
            file: file.to_owned(),
            sha256: sha256.clone(),
            size,
            unchanged,
        };
        let folder = self.served().join("artefacts").join(app.as_str()).join(version.as_str());
        if folder.exists() {
            let same = fs::File::open(folder.join(file)).and_then(sha256_of).is_ok_and(|found| found == sha256);
            return match same {
                true => Ok(pushed(true)),
                false => Err(LibraryError::Conflict(format!(
                    "{app}@{version} is in the repository with other contents; a version never changes, push a new one"
                ))),
            };
        }
        // Whole or not at all: the folder appears by rename, with the archive and its sum in it.
        let staged = self.temporary().map_err(trouble)?;
        let build = || -> io::Result<()> {
            fs::create_dir_all(&staged)?;
            fs::rename(upload, staged.join(file))?;
            fs::write(staged.join("SHA256SUMS"), format!("{sha256}  {file}\n"))?;
            if let Some(parent) = folder.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::rename(&staged, &folder)
        };
        build().map_err(trouble)?;
        Ok(pushed(false))
    }
}

#[async_trait::async_trait]
impl Library for Tree {
    async fn open(&self, file: &File) -> io::Result<Option<fs::File>> {
        let file = file.clone();
        let open = move || {
            // A FIFO in its place would block, a symlink might lead outside.
            let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let handle = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(&file.location)?;
            let meta = handle.metadata()?;
            let same = meta.is_file() && scan::identity(&meta) == file.identity && meta.len() == file.size;
            Ok(same.then_some(handle))
        };
        tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
    }

    fn incoming(&self) -> Result<PathBuf, LibraryError> {
        self.temporary().map_err(|e| LibraryError::Trouble(e.to_string()))
    }

    async fn push(
        &self,
        app: &AppName,
        version: &Version,
        file: &str,
        upload: PathBuf,
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
        self.change(move |tree| {
            let done = tree.place(&app, &version, &file, &upload);
            // It has been renamed into place, or is of no use any more.
            let _ = fs::remove_file(&upload);
            done
        })
        .await
    }

    async fn declare(&self, app: &AppName, text: &str) -> Result<(), LibraryError> {
        let path = format!("apps/{app}.toml");
        parse_file(&path, text).map_err(|e| LibraryError::Bad(e.to_string()))?;
        let text = text.to_owned();
        self.change(move |tree| {
            tree.replace(&tree.served().join(path), &text).map_err(|e| LibraryError::Trouble(e.to_string()))
        })
        .await
    }

    async fn delete(&self, app: &AppName) -> Result<(), LibraryError> {
        let app = app.clone();
        self.change(move |tree| {
            let base = tree.served();
            let removals = [
                fs::remove_file(base.join(format!("apps/{app}.toml"))),
                fs::remove_dir_all(base.join("config").join(app.as_str())),
                fs::remove_dir_all(base.join("artefacts").join(app.as_str())),
                fs::remove_dir_all(base.join("files").join(app.as_str())),
            ];
            let failed = removals.into_iter().filter_map(Result::err).find(|e| e.kind() != io::ErrorKind::NotFound);
            failed.map_or(Ok(()), |e| Err(LibraryError::Trouble(e.to_string())))
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
        let path = self.served().join(format!("config/{app}/{app}.config"));
        match tokio::fs::read_to_string(&path).await {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LibraryError::Missing(format!(
                "{app} has no config; `platformer config set {app} KEY=VALUE` makes one"
            ))),
            Err(error) => Err(LibraryError::Trouble(error.to_string())),
        }
    }

    async fn write_config(&self, app: &AppName, text: &str) -> Result<(), LibraryError> {
        let path = format!("config/{app}/{app}.config");
        let text = text.to_owned();
        self.change(move |tree| {
            tree.replace(&tree.served().join(path), &text).map_err(|e| LibraryError::Trouble(e.to_string()))
        })
        .await
    }

    async fn verify(&self) -> Result<Vec<Trouble>, LibraryError> {
        let tree = self.clone();
        let verify = move || {
            let mut index = scan::scan(&tree.root, &Index::default());
            for file in index
                .files
                .values()
                .filter(|f| (f.path.starts_with("artefacts/") || f.path.starts_with("files/")) && is_archive(&f.path))
            {
                if let Err(reason) = archive::check(&file.location, file.path.rsplit('/').next().unwrap_or_default()) {
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
        let work = move || contents.iter().try_for_each(|blob| tree.store.keep(&tree.served().join(&*blob.path), blob));
        tokio::task::spawn_blocking(work).await.map_err(|e| LibraryError::Trouble(e.to_string()))?
    }

    async fn kept(&self, contents: &Blob) -> Option<File> {
        let (store, contents) = (self.store.clone(), contents.clone());
        tokio::task::spawn_blocking(move || store.file(&contents)).await.ok().flatten()
    }

    fn forget_all_but(&self, digests: &BTreeSet<Arc<str>>) {
        self.store.forget_all_but(digests);
    }

    async fn refresh(&self) -> Result<(), LibraryError> {
        self.change(|_| Ok(())).await
    }
}
