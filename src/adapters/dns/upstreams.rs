//! Which servers are asked for names outside the domain: those of the settings, else those that this machine asks.
//!
//! This machine's own change while we run, with a VPN, a network, a lease: whoever manages them writes the file in
//! place, or puts another in its place, or points a link elsewhere. So it is looked at again every second, by its path.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::Names;

const LOOK: Duration = Duration::from_secs(1);
/// Octets of the file that are read; and servers that are asked, since each may take its time.
const LONGEST: u64 = 64 << 10;
const MOST: usize = 8;
/// Links that lead to the file, one after the other.
const LINKS: usize = 16;
/// systemd-resolved's own servers, which would send our domain back to us; its real ones are in this file.
const STUBS: [IpAddr; 2] = [ip(53), ip(54)];
const BEHIND_STUB: &str = "run/systemd/resolve/resolv.conf";

const fn ip(last: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, last))
}

/// Where the servers are read from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// By the settings; if there are any, no file is read.
    pub configured: Vec<SocketAddr>,
    /// `/etc/resolv.conf`, or that of the machine whose folders are mounted here: of `ROOT/etc/resolv.conf`, links
    /// are followed below ROOT.
    pub resolv_conf: PathBuf,
    /// Where we listen: never asked.
    pub own: Vec<SocketAddr>,
}

impl Sources {
    /// The servers as they are named now.
    pub async fn read(&self) -> Vec<SocketAddr> {
        let mut servers = self.configured.clone();
        if servers.is_empty() {
            servers = self.of_machine().await;
        }
        servers.retain(|server| !self.own.iter().any(|own| is_same(own, server)));
        let mut seen = Vec::new();
        servers.retain(|server| {
            !seen.contains(server) && {
                seen.push(*server);
                true
            }
        });
        servers.truncate(MOST);
        servers
    }

    async fn of_machine(&self) -> Vec<SocketAddr> {
        let root = root_of(&self.resolv_conf);
        let named = name_servers(&text_of(&root, &self.resolv_conf).await);
        if named.iter().any(|server| !STUBS.contains(&server.ip())) {
            return named;
        }
        let behind = name_servers(&text_of(&root, &root.join(BEHIND_STUB)).await);
        if behind.is_empty() { named } else { behind }
    }
}

/// Has the servers asked that are named, for ever: looks every second, and uses what is new at once. While none is
/// named, the last ones are: a file that is being written may be empty.
pub async fn follow(sources: Sources, names: Names) -> String {
    let mut last = Vec::new();
    loop {
        let servers = sources.read().await;
        if servers != last && !servers.is_empty() {
            tracing::info!(?servers, "names outside the domain are asked elsewhere");
            names.ask(&servers);
            last = servers;
        }
        sleep(LOOK).await;
    }
}

/// The folder that the links of a machine's files are meant from.
fn root_of(resolv_conf: &Path) -> PathBuf {
    let root = resolv_conf.ends_with("etc/resolv.conf").then(|| resolv_conf.ancestors().nth(2)).flatten();
    root.unwrap_or(Path::new("/")).to_owned()
}

/// What a file below `root` says; nothing if there is none.
async fn text_of(root: &Path, file: &Path) -> String {
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(resolved(root, file)).await;
    match file {
        Ok(file) if file.metadata().await.is_ok_and(|found| found.is_file()) => {
            // What was read before an error counts as well.
            let _ = file.take(LONGEST).read_to_end(&mut bytes).await;
        }
        Ok(_) | Err(_) => {}
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Follows a file's own links, and not those of its folders, as the machine would to whom `root` is `/`.
fn resolved(root: &Path, file: &Path) -> PathBuf {
    let mut path = file.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = std::fs::read_link(&path) else { break };
        let from = if target.is_absolute() { root } else { path.parent().unwrap_or(root) };
        path = from.to_owned();
        for part in target.components() {
            match part {
                Component::Normal(name) => path.push(name),
                Component::ParentDir if path != root => _ = path.pop(),
                Component::ParentDir | Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }
    path
}

/// The `nameserver` lines, in order. Those with our mark are us.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter(|line| !line.contains("# platformer"));
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| address(words.next()?)).flatten()
    };
    lines.filter_map(server).collect()
}

/// `fe80::1%eth0` is what a router that announces itself is written as.
fn address(text: &str) -> Option<SocketAddr> {
    let Some((ip, interface)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, 53));
    };
    let number = interface.parse().or_else(|_| nix::net::if_::if_nametoindex(interface)).ok()?;
    Some(SocketAddrV6::new(ip.parse().ok()?, 53, 0, number).into())
}

/// Whether a question to `upstream` would arrive at the listener `own`.
fn is_same(own: &SocketAddr, upstream: &SocketAddr) -> bool {
    own.port() == upstream.port()
        && (own.ip() == upstream.ip() || own.ip().is_unspecified() && is_of_this_machine(upstream.ip()))
}

/// Only own addresses can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    /// A machine's `etc` and `run`, and where its servers are read from.
    fn machine() -> (tempfile::TempDir, Sources) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::create_dir_all(root.path().join("run/systemd/resolve")).unwrap();
        let resolv_conf = root.path().join("etc/resolv.conf");
        let sources = Sources { configured: Vec::new(), resolv_conf, own: addresses(&["127.0.0.1:53"]) };
        (root, sources)
    }

    #[tokio::test]
    async fn a_question_is_never_passed_on_to_ourselves() {
        let (_root, mut sources) = machine();
        sources.own = addresses(&["127.0.0.1:53", "172.18.0.1:53"]);
        let text = "search x\nnameserver 127.0.0.1 # platformer\nnameserver 127.0.0.1\nnameserver 9.9.9.9\n\
            nameserver 172.18.0.1\nnameserver 9.9.9.9\n";
        fs::write(&sources.resolv_conf, text).unwrap();
        assert_eq!(sources.read().await, addresses(&["9.9.9.9:53"]));
        sources.own = addresses(&["0.0.0.0:53"]);
        fs::write(&sources.resolv_conf, "nameserver 127.0.0.53").unwrap();
        assert_eq!(sources.read().await, [], "any loopback address is ours");
        assert!(!is_same(&sources.own[0], &addresses(&["192.0.2.1:53"])[0]));
        sources.configured = addresses(&["127.0.0.1:53", "127.0.0.1:5353"]);
        assert_eq!(sources.read().await, addresses(&["127.0.0.1:5353"]));
    }

    #[tokio::test]
    async fn what_the_machine_asks_is_read_wherever_its_links_lead() {
        let (root, sources) = machine();
        assert_eq!(sources.read().await, [], "there is none yet");
        fs::write(&sources.resolv_conf, "").unwrap();
        assert_eq!(sources.read().await, []);
        fs::write(root.path().join("new"), "nameserver 192.0.2.1\n").unwrap();
        fs::rename(root.path().join("new"), &sources.resolv_conf).unwrap();
        assert_eq!(sources.read().await, addresses(&["192.0.2.1:53"]));
        for target in ["/run/resolvconf", "../run/resolvconf", "../../../../run/resolvconf"] {
            fs::write(root.path().join("run/resolvconf"), format!("nameserver 192.0.2.2 {target}\n")).unwrap();
            fs::remove_file(&sources.resolv_conf).unwrap();
            std::os::unix::fs::symlink(target, &sources.resolv_conf).unwrap();
            assert_eq!(sources.read().await, addresses(&["192.0.2.2:53"]), "{target}");
        }
        fs::remove_file(&sources.resolv_conf).unwrap();
        std::os::unix::fs::symlink("resolv.conf", &sources.resolv_conf).unwrap();
        assert_eq!(sources.read().await, [], "a link to itself");
    }

    #[tokio::test]
    async fn behind_the_stub_of_systemd_resolved_its_real_servers_are_asked() {
        let (root, sources) = machine();
        fs::write(&sources.resolv_conf, "nameserver 127.0.0.53\noptions edns0\n").unwrap();
        assert_eq!(sources.read().await, addresses(&["127.0.0.53:53"]), "as long as none are known");
        fs::write(root.path().join(BEHIND_STUB), "nameserver fe80::1%lo\nnameserver 192.0.2.1\n").unwrap();
        assert_eq!(sources.read().await, addresses(&["[fe80::1%1]:53", "192.0.2.1:53"]));
        fs::write(&sources.resolv_conf, "nameserver 192.0.2.9\n").unwrap();
        assert_eq!(sources.read().await, addresses(&["192.0.2.9:53"]), "the machine asks no stub");
    }
}
