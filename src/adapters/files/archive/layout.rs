//! Where the members of an archive would be, and whether they can all be put there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Component, Path, PathBuf};

use crate::ports::budget::Budget;

/// What no file system takes (Linux: `PATH_MAX`, `NAME_MAX`).
const LONGEST_PATH: usize = 4096;
const LONGEST_NAME: usize = 255;

/// Members seen so far.
pub struct Layout<'a> {
    archive: &'a str,
    budget: &'a Budget,
    files: HashSet<u64>,
    folders: BTreeSet<PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
    is_empty: bool,
}

impl<'a> Layout<'a> {
    pub fn new(archive: &'a str, budget: &'a Budget) -> Self {
        Self {
            archive,
            budget,
            files: HashSet::new(),
            folders: BTreeSet::new(),
            links: BTreeMap::new(),
            is_empty: true,
        }
    }

    pub fn file(&mut self, path: &Path) -> Result<(), String> {
        let path = self.place(path)?;
        self.files.insert(hash(&path));
        Ok(())
    }

    pub fn folder(&mut self, path: &Path) -> Result<(), String> {
        let path = self.place(path)?;
        self.within(&path)
    }

    /// A symbolic link may point anywhere, as a virtual environment's `bin/python3` does; see [`Self::finish`].
    pub fn link(&mut self, path: &Path, target: &Path) -> Result<(), String> {
        let path = self.place(path)?;
        self.links.insert(path, target.to_owned());
        Ok(())
    }

    /// A second name for a file further up in the archive.
    pub fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), String> {
        let (path, first) = (self.place(path)?, self.clean(target)?);
        match self.links.get(&first).cloned() {
            Some(link) => _ = self.links.insert(path, link),
            None if self.files.contains(&hash(&first)) => _ = self.files.insert(hash(&path)),
            None => {
                let (target, path) = (target.display(), path.display());
                let archive = self.archive;
                return Err(format!("{archive} holds {path}, a hard link to {target}, which is not further up in it"));
            }
        }
        Ok(())
    }

    /// Nothing may be unpacked through a link: it would be put where the link points.
    pub fn finish(self) -> Result<(), String> {
        let archive = self.archive;
        if self.is_empty {
            return Err(format!("{archive} is empty"));
        }
        match self.links.iter().find(|(link, _)| self.folders.contains(*link)) {
            Some((link, target)) => {
                let (link, target) = (link.display(), target.display());
                Err(format!("{archive} holds files below {link}, which is a link to {target}: they would be put there"))
            }
            None => Ok(()),
        }
    }

    fn place(&mut self, path: &Path) -> Result<PathBuf, String> {
        let clean = self.clean(path)?;
        self.is_empty &= clean.as_os_str().is_empty();
        if let Some(above) = clean.parent() {
            self.within(above)?;
        }
        Ok(clean)
    }

    /// Notes a folder and those that it is in.
    fn within(&mut self, folder: &Path) -> Result<(), String> {
        for above in folder.ancestors().filter(|above| !above.as_os_str().is_empty()) {
            if !self.folders.insert(above.to_owned()) {
                break;
            }
            self.budget.member().map_err(|spent| format!("{} {spent}", self.archive))?;
        }
        Ok(())
    }

    fn clean(&self, path: &Path) -> Result<PathBuf, String> {
        let refuse = |why: &str| {
            let shown: String = path.display().to_string().chars().take(200).collect();
            Err(format!("{} holds {shown:?}, {why}", self.archive))
        };
        if path.as_os_str().len() > LONGEST_PATH {
            return refuse("a path that is too long for a file system");
        }
        let mut clean = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(name) if name.len() > LONGEST_NAME => {
                    return refuse("a name that is too long for a file system");
                }
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return refuse("which would be unpacked outside its folder; pack it with paths that stay inside");
                }
            }
        }
        Ok(clean)
    }
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
