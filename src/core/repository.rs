//! What is in the repository, as an immutable index: which file is served under which URL path.
//!
//! Files are served by looking their URL up here, never by joining a URL to a folder, so that no path leads
//! outside the tree. The index is made by an adapter; the choices in it are made here.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::app::App;
use super::names::{AppName, Version};

/// One regular file of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Below the repository's root, with `/` between its parts; also the URL path without the leading `/`.
    pub path: Arc<str>,
    /// Device, inode, modification and change time in nanoseconds: another file, or other contents, differ.
    #[serde(skip)]
    pub identity: [i128; 4],
    /// In bytes.
    pub size: u64,
    pub modified: Timestamp,
    /// SHA-256 of the contents, 64 hex digits.
    pub sha256: Arc<str>,
}

/// Something in the repository that cannot be used, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    pub path: String,
    pub reason: String,
    pub remedy: String,
}

/// One scan of the tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    pub files: BTreeMap<Arc<str>, File>,
    /// The app files that parse, by app.
    pub apps: BTreeMap<AppName, Arc<App>>,
    pub troubles: Vec<Trouble>,
}

/// Endings of the archives that `startup.sh` unpacks.
const ARCHIVES: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip"];

pub fn is_archive(file: &str) -> bool {
    ARCHIVES.iter().any(|ending| file.ends_with(ending))
}

impl Index {
    /// The versions of an app that have an artefact, oldest first, each with it.
    pub fn versions(&self, app: &AppName) -> BTreeMap<Version, &File> {
        let prefix = format!("artefacts/{app}/");
        let mut found: BTreeMap<Version, &File> = BTreeMap::new();
        for file in self.below(&prefix) {
            let Some((version, name)) = file.path[prefix.len()..].split_once('/') else { continue };
            let Ok(version) = Version::parse(version) else { continue };
            if name.contains('/') || !is_archive(name) {
                continue;
            }
            let named_after_app = name.split('.').next() == Some(app.as_str());
            // Of two folders that spell the same version the first counts; the other is a trouble.
            let is_better = |known: &&File| named_after_app && folder_of(&known.path) == folder_of(&file.path);
            if found.get(&version).is_none_or(is_better) {
                found.insert(version, file);
            }
        }
        found
    }

    pub fn config(&self, app: &AppName) -> Option<&File> {
        self.files.get(format!("config/{app}/{app}.config").as_str())
    }

    /// The file behind a URL path without its leading `/`. `stable` tells an app's stable version, for
    /// those who keep the old path `files/APP/APP.tgz`.
    pub fn lookup(&self, path: &str, stable: impl Fn(&AppName) -> Option<Version>) -> Option<&File> {
        let folder = path.split('/').next()?;
        if !matches!(folder, "config" | "artefacts" | "files") {
            return None;
        }
        self.files.get(path).or_else(|| {
            let (app, name) = path.strip_prefix("files/")?.split_once('/')?;
            let app = AppName::parse(app).ok()?;
            if name.strip_suffix(".tgz") != Some(app.as_str()) {
                return None;
            }
            let mut versions = self.versions(&app);
            match stable(&app) {
                Some(version) => versions.remove(&version),
                None => versions.pop_last().map(|(_, file)| file),
            }
        })
    }

    fn below<'a, 'p: 'p>(&'a self, prefix: &'p str) -> impl Iterator<Item = &'a File> + use<'a, 'p> {
        let range = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.files.range::<str, _>(range).map(|(_, file)| file).take_while(move |f| f.path.starts_with(prefix))
    }
}

/// The path without its last part.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(paths: &[&str]) -> Index {
        let file = |path: &str| File {
            path: path.into(),
            identity: [0; 4],
            size: 1,
            modified: Timestamp::UNIX_EPOCH,
            sha256: "0".into(),
        };
        Index { files: paths.iter().map(|p| (Arc::from(*p), file(p))).collect(), ..Index::default() }
    }

    fn lookup<'a>(index: &'a Index, path: &str, stable: Option<&str>) -> Option<&'a str> {
        index.lookup(path, |_| stable.map(|v| Version::parse(v).unwrap())).map(|f| &*f.path)
    }

    #[test]
    fn a_version_is_a_folder_with_an_archive() {
        let app = AppName::parse("shop").unwrap();
        let index = index(&[
            "artefacts/shop/1.0.0/a.tgz",
            "artefacts/shop/1.0.0/shop.tar.gz",
            "artefacts/shop/1.0.0/SHA256SUMS",
            "artefacts/shop/v1.0.0/shop.tar.gz",
            "artefacts/shop/10.0.0/x.zip",
            "artefacts/shop/2.0.0/readme.txt",
            "artefacts/shop/3.0.0/sub/x.zip",
            "artefacts/shopping/4.0.0/x.zip",
        ]);
        let versions: Vec<_> =
            index.versions(&app).into_iter().map(|(v, f)| (v.to_string(), f.path.to_string())).collect();
        assert_eq!(
            versions,
            [
                ("1.0.0".to_owned(), "artefacts/shop/1.0.0/shop.tar.gz".to_owned()),
                ("10.0.0".to_owned(), "artefacts/shop/10.0.0/x.zip".to_owned()),
            ]
        );
    }

    #[test]
    fn the_old_path_is_the_file_of_that_name_else_the_stable_version() {
        let index = index(&["artefacts/shop/1.0.0/s.tgz", "artefacts/shop/2.0.0/s.tgz", "files/old/old.tgz"]);
        assert_eq!(lookup(&index, "files/old/old.tgz", None), Some("files/old/old.tgz"));
        assert_eq!(lookup(&index, "files/shop/shop.tgz", Some("1.0.0")), Some("artefacts/shop/1.0.0/s.tgz"));
        assert_eq!(lookup(&index, "files/shop/shop.tgz", None), Some("artefacts/shop/2.0.0/s.tgz"));
        assert_eq!(lookup(&index, "files/shop/other.tgz", None), None);
    }

    #[test]
    fn only_served_folders_are_looked_up() {
        let index = index(&["apps/shop.toml", "config/shop/shop.config"]);
        assert_eq!(lookup(&index, "apps/shop.toml", None), None);
        assert_eq!(lookup(&index, "config/../apps/shop.toml", None), None);
        assert!(lookup(&index, "config/shop/shop.config", None).is_some());
    }
}
