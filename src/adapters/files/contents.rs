//! Contents that releases are made of, kept by their SHA-256 apart from the repository.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::scan;
use crate::core::digest::sha256_of;
use crate::core::release::Blob;
use crate::core::repository::File;
use crate::ports::library::LibraryError;

/// One folder with a file per digest. A file is written beside its place and renamed, so it is whole.
#[derive(Clone)]
pub struct Contents {
    folder: PathBuf,
}

impl Contents {
    /// The folder is made with the first file.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Copies a file of the repository, if it is what it was when it was indexed. One that is kept already is not
    /// looked for again.
    pub fn keep(&self, source: &Path, blob: &Blob) -> Result<(), LibraryError> {
        let place = self.place(blob);
        if place.exists() {
            return Ok(());
        }
        let trouble = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => LibraryError::Missing(format!("{} is no longer in the repository", blob.path)),
            _ => LibraryError::Trouble(format!("{}: {e}", blob.path)),
        };
        let temporary = place.with_extension("new");
        fs::create_dir_all(&self.folder).map_err(trouble)?;
        let copied = copy(source, &temporary).and_then(|()| fs::File::open(&temporary).and_then(sha256_of));
        let renamed = copied.map_err(trouble).and_then(|digest| match *digest == *blob.sha256 {
            true => fs::rename(&temporary, &place).map_err(trouble),
            false => Err(LibraryError::Conflict(format!(
                "{} was altered while it was being released; push a new version",
                blob.path
            ))),
        });
        if renamed.is_err() {
            // A leftover is of no use; that it cannot be removed changes nothing.
            let _ = fs::remove_file(&temporary);
        }
        renamed
    }

    /// The kept file, described as one of the repository.
    pub fn file(&self, blob: &Blob) -> Option<File> {
        let location = self.place(blob);
        let meta = fs::metadata(&location).ok()?;
        Some(File {
            path: blob.path.clone(),
            identity: scan::identity(&meta),
            size: meta.len(),
            modified: Timestamp::try_from(meta.modified().ok()?).unwrap_or(Timestamp::UNIX_EPOCH),
            sha256: blob.sha256.clone(),
            location,
        })
    }

    pub fn forget_all_but(&self, digests: &BTreeSet<Arc<str>>) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !digests.contains(name.as_str()) && !name.ends_with(".new") {
                // What cannot be removed now is tried again when the next release goes.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn place(&self, blob: &Blob) -> PathBuf {
        self.folder.join(&*blob.sha256)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut source, mut target) = (fs::File::open(from)?, fs::File::create(to)?);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer)? {
            0 => return target.sync_all(),
            n => target.write_all(&buffer[..n])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_outlive_their_source_and_an_altered_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a.tgz");
        fs::write(&source, "one").unwrap();
        let blob = Blob { path: "artefacts/a/1.0/a.tgz".into(), sha256: sha256_of(&b"one"[..]).unwrap().into() };
        let contents = Contents::new(&folder.path().join("kept"));
        contents.keep(&source, &blob).unwrap();
        fs::write(&source, "two").unwrap();
        contents.keep(&source, &blob).unwrap();
        assert_eq!(fs::read_to_string(contents.file(&blob).unwrap().location).unwrap(), "one");
        let other = Blob { sha256: sha256_of(&b"three"[..]).unwrap().into(), ..blob.clone() };
        assert!(matches!(contents.keep(&source, &other), Err(LibraryError::Conflict(_))));
        contents.forget_all_but(&BTreeSet::new());
        assert!(contents.file(&blob).is_none());
    }
}
