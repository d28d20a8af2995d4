//! The repository on disk, and what others may put into it.

use super::*;
use std::os::unix::fs::symlink;

fn tree() -> (tempfile::TempDir, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::open(&folder.path().join("repository"), &folder.path().join("kept"), Inbox::new().0).unwrap();
    (folder, tree)
}

fn names() -> (AppName, Version) {
    (AppName::parse("shop").unwrap(), Version::parse("1.0").unwrap())
}

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, "run", &b"x"[..]).unwrap();
    builder.into_inner().unwrap()
}

fn sent(tree: &Tree, bytes: &[u8]) -> Incoming {
    let upload = tree.incoming().unwrap();
    (&*upload.file).write_all(bytes).unwrap();
    upload
}

#[tokio::test]
async fn a_version_is_pushed_once_and_nothing_is_left_over() {
    let ((_folder, tree), (app, version)) = (tree(), names());
    let pushed = tree.push(&app, &version, "shop.tar", sent(&tree, &archive())).await.unwrap();
    assert!(!pushed.unchanged);
    let again = tree.push(&app, &version, "shop.tar", sent(&tree, &archive())).await.unwrap();
    assert!(again.unchanged && again.sha256 == pushed.sha256);
    let other = tree.push(&app, &version, "shop.tar", sent(&tree, &[archive(), vec![0; 512]].concat())).await;
    assert!(matches!(other, Err(LibraryError::Conflict(_))), "{other:?}");
    let broken = tree.push(&app, &version, "shop.tar", sent(&tree, b"no archive")).await;
    assert!(matches!(broken, Err(LibraryError::Bad(_))), "{broken:?}");
    drop(tree.incoming().unwrap());
    assert_eq!(fs::read_dir(tree.root.join(INCOMING)).unwrap().count(), 0);
    assert!(tree.verify().await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_leads_out_of_the_repository() {
    let ((folder, tree), (app, version)) = (tree(), names());
    let outside = folder.path().join("outside");
    fs::create_dir_all(outside.join("shop")).unwrap();
    fs::write(outside.join("shop/shop.config"), "KEY=secret").unwrap();
    for name in ["config", "artefacts", "apps", "files"] {
        symlink(&outside, tree.root.join(name)).unwrap();
    }
    let read = tree.read_config(&app).await.unwrap_err().to_string();
    assert!(read.contains("symbolic link") && !read.contains("secret"), "{read}");
    assert!(tree.write_config(&app, "A=1\n").await.is_err());
    assert!(tree.declare(&app, "port = 1\n").await.is_err());
    assert!(tree.delete(&app).await.is_err());
    assert!(tree.push(&app, &version, "shop.tar", sent(&tree, &archive())).await.is_err());
    assert_eq!(fs::read_to_string(outside.join("shop/shop.config")).unwrap(), "KEY=secret");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn a_config_that_is_no_file_answers_at_once_and_others_go_on() {
    let ((_folder, tree), (app, _)) = (tree(), names());
    let (fifo, zero) = (AppName::parse("fifo").unwrap(), AppName::parse("zero").unwrap());
    for name in [&app, &fifo, &zero] {
        fs::create_dir_all(tree.root.join(format!("config/{name}"))).unwrap();
    }
    nix::unistd::mkfifo(&tree.root.join("config/fifo/fifo.config"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", tree.root.join("config/zero/zero.config")).unwrap();
    // More than there are threads for what blocks.
    for _ in 0..600 {
        assert!(tree.read_config(&fifo).await.unwrap_err().to_string().contains("no regular file"));
    }
    assert!(tree.read_config(&zero).await.is_err());
    tree.write_config(&app, "A=1\n").await.unwrap();
    assert_eq!(tree.read_config(&app).await.unwrap(), "A=1\n");
    fs::write(tree.root.join("config/shop/shop.config"), b"\xff\xfeA\0").unwrap();
    assert!(tree.read_config(&app).await.unwrap_err().to_string().contains("UTF-16"));
}

#[tokio::test]
async fn what_replaced_an_indexed_file_is_not_served_for_it() {
    let ((folder, tree), (app, _)) = (tree(), names());
    tree.write_config(&app, "A=1\n").await.unwrap();
    let index = tree.last.lock().unwrap().clone();
    let file = index.config(&app).unwrap();
    assert!(tree.open(file).await.unwrap().is_some());
    let path = tree.root.join("config/shop/shop.config");
    fs::rename(&path, folder.path().join("same")).unwrap();
    symlink(folder.path().join("same"), &path).unwrap();
    assert!(tree.open(file).await.is_err(), "the very file, but through a link");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "A=2\n").unwrap();
    assert!(tree.open(file).await.unwrap().is_none());
}
