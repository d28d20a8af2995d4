//! One scan of the repository: folder → [`Index`].
//!
//! Regular files only: no symlink is followed, so nothing outside the tree can be served. A file whose
//! identity has not changed is not read again.

use std::collections::BTreeMap;
use std::fs::{self, File as Handle, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use walkdir::WalkDir;

use crate::core::app::parse_file;
use crate::core::digest::sha256_of;
use crate::core::repository::{File, Index, Trouble, is_archive};
use crate::core::{config, names::Version};

/// Text files larger than this are nobody's config.
const LARGEST_TEXT: u64 = 1 << 20;

/// The folder that is served: `root`, or below it `nginx/`, as the tree of the old tutorial has it.
pub fn served_root(root: &Path) -> PathBuf {
    let has = |base: &Path| ["apps", "config", "artefacts", "files"].iter().any(|folder| base.join(folder).is_dir());
    let old = root.join("nginx");
    if !has(root) && has(&old) { old } else { root.to_owned() }
}

/// Scans the tree. `before` is the last scan, whose hashes are used again.
pub fn scan(root: &Path, before: &Index) -> Index {
    let root = served_root(root);
    let mut index = Index::default();
    let walk = WalkDir::new(&root).follow_links(false).sort_by_file_name();
    for entry in
        walk.into_iter().filter_entry(|e| e.depth() == 0 || !e.file_name().to_string_lossy().starts_with(".platformer"))
    {
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
        match file(entry.path(), &path, before) {
            Ok(file) => _ = index.files.insert(file.path.clone(), file),
            // Removed between listing and reading: the next event brings a new scan.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => trouble(&mut index, path, format!("cannot be read: {error}"), "check its permissions"),
        }
    }
    read_apps(&mut index);
    read_configs(&mut index);
    check_artefacts(&mut index);
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
pub fn file(location: &Path, path: &str, before: &Index) -> io::Result<File> {
    let handle = Handle::open(location)?;
    let meta = handle.metadata()?;
    let identity = identity(&meta);
    if let Some(known) = before.files.get(path).filter(|known| known.identity == identity && known.size == meta.len()) {
        return Ok(known.clone());
    }
    Ok(File {
        path: path.into(),
        location: location.to_owned(),
        identity,
        size: meta.len(),
        modified: Timestamp::try_from(meta.modified()?).unwrap_or(Timestamp::UNIX_EPOCH),
        sha256: sha256_of(handle)?.into(),
    })
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn trouble(index: &mut Index, path: impl Into<String>, reason: impl Into<String>, remedy: &str) {
    index.troubles.push(Trouble { path: path.into(), reason: reason.into(), remedy: remedy.into() });
}

fn text_of(file: &File) -> Result<String, String> {
    if file.size > LARGEST_TEXT {
        return Err(format!("it has {} bytes, {LARGEST_TEXT} are the most", file.size));
    }
    fs::read_to_string(&file.location).map_err(|e| e.to_string())
}

fn read_apps(index: &mut Index) {
    let files: Vec<File> =
        index.files.values().filter(|f| f.path.starts_with("apps/") && f.path.ends_with(".toml")).cloned().collect();
    for file in files.iter().filter(|f| f.path.matches('/').count() == 1) {
        let parsed = text_of(file).and_then(|text| parse_file(&file.path, &text).map_err(|e| e.to_string()));
        match parsed {
            Ok(app) => _ = index.apps.insert(app.name.clone(), Arc::new(app)),
            Err(reason) => {
                trouble(index, &*file.path, reason, "mend the file; until then the app goes on as it was last declared")
            }
        }
    }
}

fn read_configs(index: &mut Index) {
    let files: Vec<File> = index
        .files
        .values()
        .filter(|f| f.path.starts_with("config/") && f.path.ends_with(".config"))
        .cloned()
        .collect();
    for file in files {
        let parsed = text_of(&file).and_then(|text| config::parse(&text).map(drop).map_err(|e| e.to_string()));
        if let Err(reason) = parsed {
            trouble(index, &*file.path, reason, "mend the line; apps cannot start with this config");
        }
    }
}

/// Compares every archive with the `SHA256SUMS` beside it, and finds version folders without an archive.
fn check_artefacts(index: &mut Index) {
    let mut versions: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for file in index.files.values().filter(|f| f.path.starts_with("artefacts/")) {
        if let Some((folder, _)) = file.path.rsplit_once('/') {
            versions.entry(folder.to_owned()).or_default().push(file.clone());
        }
    }
    for (folder, files) in versions {
        let parts: Vec<&str> = folder.split('/').collect();
        let [_, _, version] = parts.as_slice() else { continue };
        if let Err(error) = Version::parse(version) {
            trouble(index, &folder, error.to_string(), "rename the folder");
            continue;
        }
        if !files.iter().any(|f| is_archive(&f.path)) {
            trouble(
                index,
                &folder,
                "it holds no archive (tar, tar.gz, tgz, tar.zst or zip)",
                "put the app's archive there",
            );
        }
        let sums =
            files.iter().find(|f| f.path.ends_with("/SHA256SUMS")).and_then(|f| text_of(f).ok()).unwrap_or_default();
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
