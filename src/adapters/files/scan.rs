//! One scan of the repository: folder → [`Index`].
//!
//! Regular files only: no symlink is followed, so nothing outside the tree can be served. A file whose
//! identity has not changed is not read again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use walkdir::WalkDir;

use super::beneath::{Folder, read_all};
use crate::core::app::parse_file;
use crate::core::digest::{sha256, sha256_of};
use crate::core::repository::{File, Index, Trouble, is_archive};
use crate::core::text::{LARGEST, decode, unmarked};
use crate::core::{config, names::Version};
use crate::ports::budget;

/// How many files are served; a tree with more is a mistake.
const MOST_FILES: usize = 200_000;
/// Folders in folders; more is nobody's.
const DEEPEST: usize = 64;

/// The folder that is served: `root`, or below it `nginx/`, as the tree of the old tutorial has it.
pub fn served(root: Folder) -> Folder {
    let has = |base: &Folder| ["apps", "config", "artefacts", "files"].iter().any(|name| base.folder(name).is_ok());
    match root.folder("nginx") {
        Ok(old) if !has(&root) && has(&old) => old,
        _ => root,
    }
}

/// Scans the tree. `before` is the last scan, whose hashes are used again.
pub fn scan(root: &Path, before: &Index) -> Index {
    let mut index = Index::default();
    let root = match Folder::open(root) {
        Ok(root) => served(root),
        Err(error) => {
            trouble(&mut index, ".", format!("cannot be read: {error}"), "check that the folder is there");
            return index;
        }
    };
    let ours = |name: &OsStr| name.to_string_lossy().starts_with(".platformer");
    let walk = WalkDir::new(root.path()).follow_links(false).max_depth(DEEPEST).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|e| e.depth() == 0 || !ours(e.file_name())) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().map(|p| relative(&root, p)).unwrap_or_default();
                trouble(&mut index, path, format!("cannot be read: {error}"), "check its permissions");
                continue;
            }
        };
        let path = relative(&root, entry.path());
        let kind = entry.file_type();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            let what = if kind.is_symlink() { "a symbolic link" } else { "no regular file" };
            trouble(&mut index, path, format!("it is {what}, which is not served"), "put the file itself there");
            continue;
        }
        if entry.path().to_str().is_none() {
            trouble(&mut index, path, "its name is not UTF-8, so that no URL leads to it", "rename it");
            continue;
        }
        if index.files.len() >= MOST_FILES {
            let reason = format!("there are more than {MOST_FILES} files; this one and those after it are not served");
            trouble(&mut index, path, reason, "delete old versions");
            break;
        }
        match file(&root, &path, before) {
            Ok(file) => _ = index.files.insert(file.path.clone(), file),
            // Removed between listing and reading: the next event brings a new scan.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => trouble(&mut index, path, format!("cannot be read: {error}"), "check its permissions"),
        }
    }
    read_apps(&root, &mut index);
    read_configs(&root, &mut index);
    check_artefacts(&root, &mut index);
    index
}

/// What tells whether a file is still the one that was hashed.
pub fn identity(meta: &Metadata) -> [i128; 4] {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    [
        i128::from(meta.dev()),
        i128::from(meta.ino()),
        nanos(meta.mtime(), meta.mtime_nsec()),
        nanos(meta.ctime(), meta.ctime_nsec()),
    ]
}

/// Describes one file, hashing it unless `before` has it unchanged.
fn file(root: &Folder, path: &str, before: &Index) -> io::Result<File> {
    let (mut handle, meta) = root.file(path)?;
    let identity = identity(&meta);
    if let Some(known) = before.files.get(path).filter(|known| known.identity == identity && known.size == meta.len()) {
        return Ok(known.clone());
    }
    if meta.len() > budget::LARGEST {
        return Err(io::Error::other(format!("it has more than {} GiB", budget::LARGEST >> 30)));
    }
    Ok(File {
        path: path.into(),
        identity,
        size: meta.len(),
        modified: Timestamp::try_from(meta.modified()?).unwrap_or(Timestamp::UNIX_EPOCH),
        // What is written on meanwhile has another identity at the next look.
        sha256: sha256_of(io::Read::take(&mut handle, meta.len()))?.into(),
    })
}

fn relative(root: &Folder, path: &Path) -> String {
    path.strip_prefix(root.path()).unwrap_or(path).to_string_lossy().into_owned()
}

fn trouble(index: &mut Index, path: impl Into<String>, reason: impl Into<String>, remedy: &str) {
    index.troubles.push(Trouble { path: path.into(), reason: reason.into(), remedy: remedy.into() });
}

/// The text that was indexed; what is read is what was hashed.
fn text_of(root: &Folder, file: &File) -> Result<String, String> {
    let bytes = root.file(&*file.path).and_then(|(handle, _)| read_all(handle, LARGEST)).map_err(|e| e.to_string())?;
    match sha256(&bytes) == *file.sha256 {
        true => decode(bytes),
        false => Err("it is being written".into()),
    }
}

fn read_apps(root: &Folder, index: &mut Index) {
    let files: Vec<File> =
        index.files.values().filter(|f| f.path.starts_with("apps/") && f.path.ends_with(".toml")).cloned().collect();
    for file in files.iter().filter(|f| f.path.matches('/').count() == 1) {
        let parsed =
            text_of(root, file).and_then(|text| parse_file(&file.path, unmarked(&text)).map_err(|e| e.to_string()));
        match parsed {
            Ok(app) => _ = index.apps.insert(app.name.clone(), Arc::new(app)),
            Err(reason) => {
                trouble(index, &*file.path, reason, "mend the file; until then the app goes on as it was last declared")
            }
        }
    }
}

fn read_configs(root: &Folder, index: &mut Index) {
    let files: Vec<File> = index
        .files
        .values()
        .filter(|f| f.path.starts_with("config/") && f.path.ends_with(".config"))
        .cloned()
        .collect();
    for file in files {
        let parsed = text_of(root, &file).and_then(|text| config::parse(&text).map(drop).map_err(|e| e.to_string()));
        if let Err(reason) = parsed {
            let remedy = "mend it, or take it away with `platformer config remove`; apps cannot start with this config";
            trouble(index, &*file.path, reason, remedy);
        }
    }
}

/// Compares every archive with the `SHA256SUMS` beside it, and finds version folders without an archive.
fn check_artefacts(root: &Folder, index: &mut Index) {
    let mut versions: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for file in index.files.values().filter(|f| f.path.starts_with("artefacts/")) {
        if let Some((folder, _)) = file.path.rsplit_once('/') {
            versions.entry(folder.to_owned()).or_default().push(file.clone());
        }
    }
    let mut first: BTreeMap<(String, Version), String> = BTreeMap::new();
    for (folder, files) in versions {
        let parts: Vec<&str> = folder.split('/').collect();
        let [_, app, version] = parts.as_slice() else { continue };
        let version = match Version::parse(version) {
            Ok(version) => version,
            Err(error) => {
                trouble(index, &folder, error.to_string(), "rename the folder");
                continue;
            }
        };
        if let Some(other) = first.get(&((*app).to_owned(), version.clone())) {
            trouble(
                index,
                &folder,
                format!("it is the same version as {other}, which counts"),
                "delete one of the two",
            );
            continue;
        }
        first.insert(((*app).to_owned(), version), folder.clone());
        if !files.iter().any(|f| is_archive(&f.path)) {
            trouble(
                index,
                &folder,
                "it holds no archive (tar, tar.gz, tgz, tar.zst or zip)",
                "put the app's archive there",
            );
        }
        let sums = files
            .iter()
            .find(|f| f.path.ends_with("/SHA256SUMS"))
            .and_then(|f| text_of(root, f).ok())
            .unwrap_or_default();
        for line in sums.lines() {
            let Some((sum, name)) = line.split_once(char::is_whitespace) else { continue };
            let name = name.trim().trim_start_matches('*');
            match files.iter().find(|f| f.path.rsplit('/').next() == Some(name)) {
                Some(file) if file.sha256.eq_ignore_ascii_case(sum) => {}
                Some(file) => trouble(
                    index,
                    &*file.path,
                    "it differs from its SHA256SUMS",
                    "push the version again under another number",
                ),
                None => trouble(
                    index,
                    format!("{folder}/SHA256SUMS"),
                    format!("it names {name}, which is not there"),
                    "complete the folder",
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn put(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    fn troubles(index: &Index) -> Vec<(&str, &str)> {
        index.troubles.iter().map(|t| (t.path.as_str(), t.reason.as_str())).collect()
    }

    #[test]
    fn what_is_no_regular_file_is_not_indexed() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "config/shop/shop.config", "A=1\n");
        symlink("/etc/passwd", root.path().join("config/shop/passwd")).unwrap();
        symlink("/etc", root.path().join("config/etc")).unwrap();
        nix::unistd::mkfifo(&root.path().join("config/shop/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let index = scan(root.path(), &Index::default());
        assert_eq!(index.files.keys().map(|k| &**k).collect::<Vec<_>>(), ["config/shop/shop.config"]);
        assert_eq!(index.troubles.len(), 3, "{:?}", troubles(&index));
    }

    #[test]
    fn a_folder_that_is_a_link_and_a_file_that_is_none_are_one_trouble_each() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(outside.path(), "leak/leak.config", "A=secret\n");
        symlink(outside.path(), root.path().join("config")).unwrap();
        put(root.path(), "apps/good.toml", "port = 1\n");
        fs::create_dir(root.path().join("apps/folder.toml")).unwrap();
        symlink("/dev/zero", root.path().join("apps/endless.toml")).unwrap();
        put(root.path(), "apps/marked.toml", "\u{feff}port = 1\n");
        fs::write(root.path().join("apps/wide.toml"), b"\xff\xfea\0=\0").unwrap();
        fs::write(root.path().join("apps").join(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff")), "")
            .unwrap();
        fs::File::create(root.path().join("apps/huge")).unwrap().set_len(budget::LARGEST + 1).unwrap();
        fs::File::create(root.path().join("apps/large.toml")).unwrap().set_len(LARGEST + 1).unwrap();
        let index = scan(root.path(), &Index::default());
        assert_eq!(index.apps.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["good", "marked"]);
        let reasons: BTreeMap<_, _> = troubles(&index).into_iter().collect();
        for (path, reason) in [
            ("config", "symbolic link"),
            ("apps/endless.toml", "symbolic link"),
            ("apps/wide.toml", "UTF-16"),
            ("apps/\u{fffd}", "not UTF-8"),
            ("apps/huge", "more than 16 GiB"),
            ("apps/large.toml", "more than 1048576 bytes"),
        ] {
            assert!(reasons[path].contains(reason), "{path}: {}", reasons[path]);
        }
        assert_eq!(reasons.len(), 6, "{reasons:?}");
    }

    #[test]
    fn a_broken_file_is_trouble_of_its_own_and_of_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "apps/good.toml", "port = 1\n");
        put(root.path(), "apps/bad.toml", "prot = 1\n");
        put(root.path(), "config/bad/bad.config", "A=$(id)\n");
        put(root.path(), "artefacts/bad/1.0/readme", "");
        put(root.path(), "artefacts/bad/-x/a.tgz", "");
        put(root.path(), "artefacts/good/1.0/a.tgz", "x");
        put(root.path(), "artefacts/good/1.0/SHA256SUMS", "00  a.tgz\n");
        let index = scan(root.path(), &Index::default());
        assert_eq!(index.apps.len(), 1);
        let paths: Vec<_> = index.troubles.iter().map(|t| t.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "apps/bad.toml",
                "config/bad/bad.config",
                "artefacts/bad/-x",
                "artefacts/bad/1.0",
                "artefacts/good/1.0/a.tgz"
            ]
        );
    }

    #[test]
    fn a_replaced_file_is_hashed_again_and_an_untouched_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "files/a/a.tgz", "one");
        let first = scan(root.path(), &Index::default());
        put(root.path(), "files/a/new", "two");
        fs::rename(root.path().join("files/a/new"), root.path().join("files/a/a.tgz")).unwrap();
        let second = scan(root.path(), &first);
        assert_ne!(first.files["files/a/a.tgz"].sha256, second.files["files/a/a.tgz"].sha256);
        assert_eq!(scan(root.path(), &second), second);
    }

    #[test]
    fn the_old_tutorials_tree_is_served_from_its_nginx_folder() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "nginx/config/hello-world/hello-world.config", "STARTUP_COMMAND=\"./gradlew bootRun\"\n");
        put(root.path(), "nginx/index.html", "");
        let index = scan(root.path(), &Index::default());
        assert!(index.files.contains_key("config/hello-world/hello-world.config"));
    }
}
