//! Making this machine ask our DNS server, and always putting back what was there.
//!
//! Three ways, by what the machine uses: a drop-in of systemd-resolved, a tagged line in `/etc/resolv.conf`,
//! or macOS' `/etc/resolver`. Whatever we add carries our mark, so that removing needs no memory: it works after
//! a crash too, and leaves alone what others changed meanwhile.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::core::names::Domain;

const MARK: &str = "# platformer";

/// What the machine's own resolver reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    SystemdResolved,
    ResolvConf,
    MacResolver,
}

impl Way {
    pub fn word(self) -> &'static str {
        match self {
            Self::SystemdResolved => "systemd-resolved",
            Self::ResolvConf => "resolv-conf",
            Self::MacResolver => "mac-resolver",
        }
    }
}

/// The files of a machine, below a root that tests replace.
pub struct Resolver {
    root: PathBuf,
    domain: Domain,
}

#[derive(Debug, thiserror::Error)]
pub enum ResolvError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("/etc/resolv.conf can name only port 53, our DNS listens on {0}; set listen.dns to 127.0.0.1:53")]
    Port(SocketAddr),
}

impl Resolver {
    pub fn new(root: &Path, domain: &Domain) -> Self {
        Self { root: root.to_owned(), domain: domain.clone() }
    }

    pub fn way(&self) -> Way {
        if cfg!(target_os = "macos") {
            Way::MacResolver
        } else if self.root.join("run/systemd/resolve/io.systemd.Resolve").exists() {
            Way::SystemdResolved
        } else {
            Way::ResolvConf
        }
    }

    /// The file that the way changes.
    pub fn file(&self) -> PathBuf {
        match self.way() {
            Way::SystemdResolved => {
                self.root.join(format!("etc/systemd/resolved.conf.d/platformer-{}.conf", self.domain))
            }
            Way::ResolvConf => self.root.join("etc/resolv.conf"),
            Way::MacResolver => self.root.join(format!("etc/resolver/{}", self.domain)),
        }
    }

    pub fn is_installed(&self) -> bool {
        fs::read_to_string(self.file()).is_ok_and(|text| text.contains(&self.mark()))
    }

    /// Has this machine ask `server` for the domain (with `resolv.conf`: for everything, first).
    pub fn install(&self, server: SocketAddr) -> Result<(), ResolvError> {
        let mark = self.mark();
        let text = match self.way() {
            Way::SystemdResolved => format!("{mark}\n[Resolve]\nDNS={server}\nDomains=~{}\n", self.domain),
            Way::MacResolver => format!("{mark}\nnameserver {}\nport {}\n", server.ip(), server.port()),
            Way::ResolvConf if server.port() != 53 => return Err(ResolvError::Port(server)),
            Way::ResolvConf => format!("nameserver {} {mark}\n{}", server.ip(), self.without_ours()?),
        };
        self.write(&text)
    }

    /// Takes away what `install` added, and nothing else. Doing it twice is fine.
    pub fn uninstall(&self) -> Result<(), ResolvError> {
        if !self.is_installed() {
            return Ok(());
        }
        match self.way() {
            Way::ResolvConf => self.write(&self.without_ours()?),
            Way::SystemdResolved | Way::MacResolver => fs::remove_file(self.file()).map_err(|e| self.error(e)),
        }
    }

    fn without_ours(&self) -> Result<String, ResolvError> {
        let text = match fs::read_to_string(self.file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|e| self.error(e))?,
        };
        Ok(text.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(&self.mark())).collect())
    }

    /// In place and not by rename: in containers, `/etc/resolv.conf` is a mount that cannot be replaced.
    fn write(&self, text: &str) -> Result<(), ResolvError> {
        let file = self.file();
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|e| self.error(e))?;
        }
        fs::write(&file, text).map_err(|e| self.error(e))
    }

    fn error(&self, source: io::Error) -> ResolvError {
        ResolvError::File { path: self.file(), source }
    }

    fn mark(&self) -> String {
        format!("{MARK} {}", self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(resolv_conf: &str) -> (tempfile::TempDir, Resolver) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/resolv.conf"), resolv_conf).unwrap();
        let resolver = Resolver::new(root.path(), &Domain::platform());
        (root, resolver)
    }

    fn ours() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 53))
    }

    #[test]
    fn what_was_there_is_put_back_byte_by_byte_also_after_a_crash() {
        for text in ["nameserver 9.9.9.9\noptions ndots:2\n", "", "# by hand\nnameserver 1.1.1.1"] {
            let (_root, resolver) = machine(text);
            resolver.install(ours()).unwrap();
            // Installed twice, as after a crash without uninstall.
            resolver.install(ours()).unwrap();
            let installed = fs::read_to_string(resolver.file()).unwrap();
            assert_eq!(installed.matches("nameserver 127.0.0.1 # platformer platform\n").count(), 1);
            assert!(installed.starts_with("nameserver 127.0.0.1"));
            resolver.uninstall().unwrap();
            resolver.uninstall().unwrap();
            assert_eq!(fs::read_to_string(resolver.file()).unwrap(), text);
        }
    }

    #[test]
    fn what_others_changed_meanwhile_stays() {
        let (_root, resolver) = machine("nameserver 9.9.9.9\n");
        resolver.install(ours()).unwrap();
        let changed = fs::read_to_string(resolver.file()).unwrap() + "nameserver 8.8.8.8\n";
        fs::write(resolver.file(), changed).unwrap();
        resolver.uninstall().unwrap();
        assert_eq!(fs::read_to_string(resolver.file()).unwrap(), "nameserver 9.9.9.9\nnameserver 8.8.8.8\n");
    }

    #[test]
    fn systemd_resolved_gets_a_drop_in_for_our_domain_only() {
        let (root, resolver) = machine("nameserver 127.0.0.53\n");
        let socket = root.path().join("run/systemd/resolve/io.systemd.Resolve");
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        fs::write(socket, "").unwrap();
        resolver.install("127.0.0.1:5300".parse().unwrap()).unwrap();
        let text =
            fs::read_to_string(root.path().join("etc/systemd/resolved.conf.d/platformer-platform.conf")).unwrap();
        assert!(text.contains("DNS=127.0.0.1:5300\nDomains=~platform\n"));
        assert_eq!(fs::read_to_string(root.path().join("etc/resolv.conf")).unwrap(), "nameserver 127.0.0.53\n");
        resolver.uninstall().unwrap();
        assert!(!resolver.is_installed() && !resolver.file().exists());
    }

    #[test]
    fn resolv_conf_cannot_name_a_port() {
        let (_root, resolver) = machine("");
        assert!(matches!(resolver.install("127.0.0.1:5300".parse().unwrap()), Err(ResolvError::Port(_))));
    }
}
