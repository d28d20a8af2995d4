//! The one way to open a file in a folder that others can write: beneath it, through no link, regular files only,
//! never waiting for a peer, and no more of it than is wanted.
//!
//! A path is walked part by part, each opened in the one before it and none of them a link, so that what is checked
//! is what is used whoever renames meanwhile. Writing goes the same way.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// Deeper trees are nobody's app.
const DEEPEST: usize = 128;

/// An open folder.
#[derive(Debug, Clone)]
pub struct Folder {
    handle: Arc<OwnedFd>,
    /// Where it was when it was opened.
    path: PathBuf,
}

impl Folder {
    /// The operator's own folder: links on the way to it are his.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let handle = nix::fcntl::open(path, flags, Mode::empty())?;
        Ok(Self { handle: Arc::new(handle), path: path.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder beneath this one.
    pub fn folder(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        self.walk(path.as_ref(), None)
    }

    /// The same, made where it is missing.
    pub fn made(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        self.walk(path.as_ref(), Some(Mode::from_bits_truncate(mode as _)))
    }

    /// Whether nobody else may write here.
    pub fn is_own(&self) -> io::Result<bool> {
        let meta = File::from(self.handle.try_clone()?).metadata()?;
        Ok(meta.uid() == geteuid().as_raw() && meta.mode() & 0o022 == 0)
    }

    /// A regular file beneath this folder, to read.
    pub fn file(&self, path: impl AsRef<Path>) -> io::Result<(File, Metadata)> {
        let (above, name) = self.parent_of(path.as_ref())?;
        // A FIFO would wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = File::from(openat(&*above.handle, &*name, flags, Mode::empty()).map_err(explained)?);
        let meta = file.metadata()?;
        match meta.is_file() {
            true => Ok((file, meta)),
            false => Err(io::Error::other("it is no regular file")),
        }
    }

    /// All of a regular file, if it has no more than `most` bytes.
    pub fn read(&self, path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        let (file, _) = self.file(path)?;
        read_all(file, most)
    }

    /// A new file of ours in this folder.
    pub fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&*self.handle, name, flags, Mode::from_bits_truncate(mode as _))?.into())
    }

    /// Moves what is called `name` here into another folder; on the disk when it returns. A link or file that has the
    /// name there is replaced, never followed.
    pub fn rename(&self, name: &str, to: &Self, as_name: impl AsRef<OsStr>) -> io::Result<()> {
        renameat(&*self.handle, name, &*to.handle, as_name.as_ref())?;
        File::from(to.handle.try_clone()?).sync_all()
    }

    /// Removes a file, or a folder with all that is in it. What is reached through a link stays.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (above, name) = self.parent_of(path.as_ref())?;
        remove(&above.handle, &name, 0)
    }

    /// Moves what is beneath this folder into another one.
    pub fn hand_over(&self, path: impl AsRef<Path>, to: &Self, as_name: &str) -> io::Result<()> {
        let (above, name) = self.parent_of(path.as_ref())?;
        Ok(renameat(&*above.handle, &*name, &*to.handle, as_name)?)
    }

    /// Removes a folder that is empty.
    pub fn remove_empty(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (above, name) = self.parent_of(path.as_ref())?;
        Ok(unlinkat(&*above.handle, &*name, UnlinkatFlags::RemoveDir)?)
    }

    /// The folder that a file is in, and its name there; missing folders are made.
    pub fn parent_made(&self, path: &Path, mode: u32) -> io::Result<(Self, OsString)> {
        let (above, name) = split(path)?;
        Ok((self.made(above, mode)?, name))
    }

    fn parent_of(&self, path: &Path) -> io::Result<(Self, OsString)> {
        let (above, name) = split(path)?;
        Ok((self.folder(above)?, name))
    }

    fn walk(&self, path: &Path, make: Option<Mode>) -> io::Result<Self> {
        let mut at = self.clone();
        for part in path.components() {
            let Component::Normal(part) = part else { return Err(outside()) };
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let open = || openat(&*at.handle, part, flags, Mode::empty());
            let opened = match (open(), make) {
                (Err(Errno::ENOENT), Some(mode)) => {
                    // Another one may have made it meanwhile.
                    match mkdirat(&*at.handle, part, mode) {
                        Ok(()) | Err(Errno::EEXIST) => open(),
                        Err(error) => Err(error),
                    }
                }
                (opened, _) => opened,
            };
            at = Self { handle: Arc::new(opened.map_err(explained)?), path: at.path.join(part) };
        }
        Ok(at)
    }
}

/// All of a file from where it stands, if that is no more than `most` bytes.
pub fn read_all(file: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

fn split(path: &Path) -> io::Result<(&Path, OsString)> {
    match (path.parent(), path.components().next_back()) {
        (Some(above), Some(Component::Normal(name))) => Ok((above, name.to_owned())),
        _ => Err(outside()),
    }
}

fn outside() -> io::Error {
    io::Error::other("its path leads out of the folder")
}

/// A link in the place of a file or of a folder on the way gives one of these two.
fn explained(error: Errno) -> io::Error {
    match error {
        Errno::ELOOP | Errno::EMLINK => io::Error::other("it is a symbolic link, which is not followed"),
        Errno::ENOTDIR => io::Error::other("a folder on the way to it is a file or a symbolic link"),
        Errno::ENXIO => io::Error::other("it is no regular file"),
        error => error.into(),
    }
}

fn remove(above: &OwnedFd, name: &OsStr, depth: usize) -> io::Result<()> {
    match unlinkat(above, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => return Ok(()),
        // Linux and POSIX name it differently.
        Err(Errno::EISDIR | Errno::EPERM) if depth < DEEPEST => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = openat(above, name, flags, Mode::empty())?;
    let mut listing = Dir::from_fd(folder.try_clone()?)?;
    let names: Vec<OsString> = listing
        .iter()
        .map(|entry| entry.map(|e| OsString::from_vec(e.file_name().to_bytes().to_vec())))
        .collect::<Result<_, _>>()?;
    for entry in names.iter().filter(|entry| !matches!(entry.as_bytes(), b"." | b"..")) {
        remove(&folder, entry, depth + 1)?;
    }
    Ok(unlinkat(above, name, UnlinkatFlags::RemoveDir)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_regular_files_beneath_are_opened_and_nothing_blocks() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let at = |name: &str| inside.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("folder/good"), "good").unwrap();
        symlink(outside.path().join("secret"), at("link")).unwrap();
        symlink(outside.path(), at("way")).unwrap();
        symlink("folder", at("near")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        assert_eq!(folder.read("folder/good", 4).unwrap(), b"good");
        assert!(folder.read("folder/good", 3).unwrap_err().to_string().contains("more than 3 bytes"));
        for (path, reason) in [
            ("link", "symbolic link"),
            ("zero", "symbolic link"),
            ("way/secret", "symbolic link"),
            ("near/good", "symbolic link"),
            ("fifo", "no regular file"),
            ("socket", "no regular file"),
            ("folder", "no regular file"),
            ("../x", "leads out"),
            ("folder/../../x", "leads out"),
            ("/etc/passwd", "leads out"),
            ("", "leads out"),
            ("folder/good/x", "a folder on the way"),
        ] {
            let error = folder.read(path, 99).unwrap_err().to_string();
            assert!(error.contains(reason), "{path}: {error}");
        }
        assert_eq!(folder.read("missing", 9).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nothing_is_written_or_removed_through_a_link() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(outside.path().join("app")).unwrap();
        fs::write(outside.path().join("app/file"), "kept").unwrap();
        symlink(outside.path(), inside.path().join("config")).unwrap();
        symlink(outside.path().join("app/file"), inside.path().join("taken")).unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        assert!(folder.made("config/new", 0o755).is_err() && folder.remove("config/app").is_err());
        assert_eq!(folder.create("taken", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::write(inside.path().join("new"), "new").unwrap();
        folder.rename("new", &folder, "taken").unwrap();
        fs::create_dir_all(inside.path().join("tree/a/b")).unwrap();
        symlink(outside.path().join("app"), inside.path().join("tree/a/link")).unwrap();
        fs::write(inside.path().join("tree/a/b/c"), "").unwrap();
        folder.remove("tree").unwrap();
        assert!(!inside.path().join("tree").exists());
        assert_eq!(fs::read_to_string(outside.path().join("app/file")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(inside.path().join("taken")).unwrap(), "new");
    }
}
