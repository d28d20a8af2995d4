//! What others on this machine may do with our files: nothing, but for what nginx's workers have to reach.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use tokio::net::UnixListener;

/// What this process makes from now on is its own alone.
pub fn begin() {
    umask(Mode::from_bits_truncate(0o077));
}

/// Takes from everybody else what an older version left open in the state folder. Its own group is the operator's
/// choice. `passable` are those that nginx's workers pass through.
pub fn tighten(folder: &Path, passable: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, meta) = (entry.file_name(), entry.metadata()?);
        let is_passable = passable.iter().any(|passable| name == *passable);
        if !is_passable && !meta.is_symlink() && meta.permissions().mode() & 0o007 != 0 {
            fs::set_permissions(entry.path(), Permissions::from_mode(meta.permissions().mode() & 0o770))?;
        }
    }
    Ok(())
}

/// Lets the group of nginx's workers, and nobody else, pass through nginx's folder to their sockets and temporary
/// files.
pub fn let_through(nginx: &Path, group: Option<u32>) -> io::Result<()> {
    let mode = if group.is_some() { 0o710 } else { 0o700 };
    give(&nginx.join("tmp"), group, mode)?;
    give(nginx, group, mode)
}

/// A socket that the group of nginx's workers, and nobody else, may connect to: what comes over it is taken for what
/// nginx says.
pub fn listen(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    give(path, group, if group.is_some() { 0o660 } else { 0o600 })?;
    Ok(listener)
}

fn give(path: &Path, group: Option<u32>, mode: u32) -> io::Result<()> {
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_state_is_left_to_others_but_what_nginx_passes_through() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        for (name, mode) in [("kv.sqlite", 0o644), ("token", 0o640), ("nginx", 0o711)] {
            fs::write(folder.path().join(name), "").unwrap();
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        tighten(folder.path(), &["nginx"]).unwrap();
        assert_eq!((mode("kv.sqlite"), mode("token"), mode("nginx")), (0o640, 0o640, 0o711));
        assert_eq!(fs::metadata("/etc/passwd").unwrap().permissions().mode() & 0o004, 0o004, "links are not followed");
    }

    #[tokio::test]
    async fn the_socket_is_the_workers_and_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("supervisor.sock");
        let group = nix::unistd::getegid().as_raw();
        for (group, expected) in [(Some(group), 0o660), (None, 0o600)] {
            let _listener = listen(&path, group).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected);
        }
    }
}
