//! Contents that releases are made of, kept by their SHA-256 apart from the repository.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::archive;
use super::beneath::Folder;
use super::scan;
use crate::core::digest::{Hashing, sha256_of};
use crate::core::release::Blob;
use crate::core::repository::{File, is_archive};
use crate::ports::budget::Cancelled;
use crate::ports::library::LibraryError;

/// One folder with a file per digest. A file is written beside its place and renamed, so it is whole.
#[derive(Clone)]
pub struct Contents {
    folder: PathBuf,
}

/// What a file ends with while it is written.
const UNFINISHED: &str = ".new";

impl Contents {
    /// The folder is made with the first file. What was being written when we last ended is removed.
    pub fn new(folder: &Path) -> Self {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                // It costs space only.
                let _ = fs::remove_file(entry.path());
            }
        }
        Self { folder: folder.to_owned() }
    }

    /// Copies a file of the repository, if it is what it was when it was indexed: what is hashed is what is kept. One
    /// that is kept already is not looked for again, unless a part of it was lost. An archive is read to its end: it may
    /// have been put there by hand, where nobody has looked into it.
    pub fn keep(&self, repository: &Folder, blob: &Blob, cancelled: &Cancelled) -> Result<(), LibraryError> {
        let place = self.place(blob);
        let source = repository.file(&*blob.path);
        let kept = fs::symlink_metadata(&place).ok().filter(fs::Metadata::is_file);
        if kept.is_some_and(|kept| source.as_ref().map_or(true, |(_, meta)| meta.len() == kept.len())) {
            return Ok(());
        }
        let trouble = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => LibraryError::Missing(format!("{} is no longer in the repository", blob.path)),
            _ => LibraryError::Trouble(format!("{}: {e}", blob.path)),
        };
        let (source, meta) = source.map_err(trouble)?;
        fs::create_dir_all(&self.folder).map_err(trouble)?;
        let new = tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(&self.folder).map_err(trouble)?;
        // What grows while it is read is another file.
        let mut source = Hashing::new(io::Read::take(source, meta.len() + 1));
        io::copy(&mut source, &mut new.as_file()).and_then(|_| new.as_file().sync_all()).map_err(trouble)?;
        if source.finish() != *blob.sha256 {
            // A file of the repository that has changed since says nothing of what is kept.
            if fs::File::open(&place).and_then(sha256_of).is_ok_and(|kept| kept == *blob.sha256) {
                return Ok(());
            }
            let reason = format!("{} was altered while it was being released; push a new version", blob.path);
            return Err(LibraryError::Conflict(reason));
        }
        let name = blob.path.rsplit('/').next().unwrap_or_default();
        if is_archive(name)
            && let Err(reason) = archive::check(new.as_file(), name, cancelled)
        {
            let reason = format!("{}: {reason}; push a whole one as a new version", blob.path);
            return Err(LibraryError::Bad(reason));
        }
        new.persist(&place).map_err(|e| trouble(e.error)).map(drop)
    }

    /// The kept file, opened and described as one of the repository.
    pub fn open(&self, blob: &Blob) -> Option<(File, fs::File)> {
        let (handle, meta) = Folder::open(&self.folder).ok()?.file(&*blob.sha256).ok()?;
        let file = File {
            path: blob.path.clone(),
            identity: scan::identity(&meta),
            size: meta.len(),
            modified: Timestamp::try_from(meta.modified().ok()?).unwrap_or(Timestamp::UNIX_EPOCH),
            sha256: blob.sha256.clone(),
        };
        Some((file, handle))
    }

    pub fn forget_all_but(&self, digests: &BTreeSet<Arc<str>>) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !digests.contains(name.as_str()) && !name.ends_with(UNFINISHED) {
                // What cannot be removed now is tried again when the next release goes.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn place(&self, blob: &Blob) -> PathBuf {
        self.folder.join(&*blob.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::digest::sha256;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn contents_outlive_their_source_and_an_altered_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a.config");
        fs::write(&source, "one").unwrap();
        let repository = Folder::open(folder.path()).unwrap();
        let blob = |text: &str| Blob { path: "a.config".into(), sha256: sha256(text).into() };
        let kept = folder.path().join("kept");
        let contents = Contents::new(&kept);
        let keep = |blob: &Blob| contents.keep(&repository, blob, &Cancelled::default());
        let read = |blob: &Blob| {
            let mut text = String::new();
            contents.open(blob).unwrap().1.read_to_string(&mut text).unwrap();
            text
        };
        keep(&blob("one")).unwrap();
        fs::write(&source, "two").unwrap();
        keep(&blob("one")).unwrap();
        fs::write(&source, "of another length").unwrap();
        keep(&blob("one")).unwrap();
        fs::write(&source, "two").unwrap();
        assert_eq!(read(&blob("one")), "one");
        assert!(matches!(keep(&blob("three")), Err(LibraryError::Conflict(_))));
        // A power cut took a part of it.
        fs::write(kept.join(sha256("two")), "t").unwrap();
        keep(&blob("two")).unwrap();
        assert_eq!(read(&blob("two")), "two");
        fs::remove_file(&source).unwrap();
        symlink("/dev/zero", &source).unwrap();
        assert!(matches!(keep(&blob("four")), Err(LibraryError::Trouble(_))));
        fs::write(kept.join("left.new"), "").unwrap();
        Contents::new(&kept).forget_all_but(&BTreeSet::new());
        assert!(contents.open(&blob("one")).is_none() && fs::read_dir(&kept).unwrap().next().is_none());
    }

    #[test]
    fn an_archive_that_cannot_be_unpacked_is_kept_by_nobody_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Folder::open(folder.path()).unwrap();
        let contents = Contents::new(&folder.path().join("kept"));
        let keep = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).unwrap();
            let blob = Blob { path: name.into(), sha256: sha256(text).into() };
            contents.keep(&repository, &blob, &Cancelled::default()).map(|()| contents.open(&blob).is_some())
        };
        for name in ["a.tgz", "a.zip", "a.tar.zst"] {
            match keep(name, "<html>") {
                Err(LibraryError::Bad(reason)) => assert!(reason.starts_with(&format!("{name}: {name} ")), "{reason}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(matches!(keep("a.config", "<html>"), Ok(true)));
    }
}
