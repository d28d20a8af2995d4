//! nginx's processes, as `/proc` shows them.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::folder::Folder;

/// A process, told from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    started: u64,
}

impl Process {
    fn at(pid: i32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        (stat.state != 'Z').then_some(Self { pid, started: stat.started })
    }

    pub fn is_alive(&self) -> bool {
        Self::at(self.pid) == Some(*self)
    }

    /// Whether it may still accept connections: nginx renames a worker that no longer does.
    pub fn accepts(&self) -> bool {
        self.is_alive() && !title(self.pid).contains("shutting down")
    }

    /// Sends a signal; `false` where that is not allowed or the process is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// The master process of the nginx that runs from our folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Master(Process);

impl Master {
    pub fn find(folder: &Folder) -> Option<Self> {
        let pid: i32 = fs::read_to_string(folder.pid_file()).ok()?.trim().parse().ok()?;
        let config = folder.current_config();
        let title = title(pid);
        let ours = title.starts_with("nginx: master process") && title.contains(&*config.to_string_lossy());
        if ours { Process::at(pid).map(Self) } else { None }
    }

    pub fn pid(&self) -> i32 {
        self.0.pid
    }

    pub fn process(&self) -> Process {
        self.0
    }

    /// Workers that still accept connections.
    pub fn accepting_workers(&self) -> Vec<Process> {
        children(self.0.pid).into_iter().filter_map(Process::at).filter(Process::accepts).collect()
    }
}

/// Workers whose master was killed: they go on serving, and hold the ports.
pub fn orphans(folder: &Folder) -> Vec<Process> {
    // `/proc` names files by their real path, also where the state folder is a symlink.
    let log = folder.error_log();
    let log = fs::canonicalize(&log).unwrap_or(log);
    let holds_our_log = |pid: i32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|f| fs::read_link(f.path()).ok()).any(|target| target == log)
    };
    all_pids().filter(|pid| title(*pid).starts_with("nginx: ") && holds_our_log(*pid)).filter_map(Process::at).collect()
}

/// Whether this machine has an established TCP connection to the address. A container's own
/// connections are in its network namespace and do not count.
pub fn has_connection_to(address: SocketAddr) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .any(|table| table.lines().skip(1).any(|line| established_to(line) == Some(address)))
}

/// The remote address of a `/proc/net/tcp` line whose state is 01, ESTABLISHED (proc(5)).
fn established_to(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let remote = fields.next()?;
    if fields.next()? != "01" {
        return None;
    }
    let (address, port) = remote.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each group of 8 digits is one 32-bit word in this machine's byte order.
    let words: Vec<[u8; 4]> = (0..address.len() / 8)
        .filter_map(|i| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok())
        .map(u32::to_ne_bytes)
        .collect();
    let ip = match words.as_slice() {
        [v4] => IpAddr::from(*v4),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (slot, byte) in bytes.iter_mut().zip([a, b, c, d].into_iter().flatten()) {
                *slot = *byte;
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn children(pid: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(text) => text.split_ascii_whitespace().filter_map(|p| p.parse().ok()).collect(),
        // Kernels without CONFIG_PROC_CHILDREN.
        Err(_) => all_pids().filter(|child| Stat::of(*child).is_some_and(|s| s.parent == pid)).collect(),
    }
}

fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`: the fields behind the name, which itself may contain anything (proc(5)).
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read_from_the_kernels_table() {
        let line = "   1: 010012AC:C350 020012AC:1F90 01 00000000:00000000 00:00000000 00000000  0 0 1 1";
        assert_eq!(established_to(line), Some("172.18.0.2:8080".parse().unwrap()));
        assert_eq!(established_to(&line.replace(" 01 ", " 06 ")), None);
        let v6 = "0: 0000000000000000FFFF0000010012AC:C350 0000000000000000FFFF0000020012AC:1F90 01 0:0";
        assert_eq!(established_to(v6), Some("172.18.0.2:8080".parse().unwrap()));
    }

    #[test]
    fn an_open_connection_is_seen_and_a_closed_one_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!has_connection_to(address));
        let client = std::net::TcpStream::connect(address).unwrap();
        assert!(has_connection_to(address));
        drop(client);
        assert!(!has_connection_to(address));
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_is_not() {
        let own = Process::at(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }
}
