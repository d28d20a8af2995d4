//! nginx's processes, as `/proc` shows them.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::folder::Folder;
#[cfg(target_os = "linux")]
use {
    rustix::event::{PollFd, PollFlags, poll},
    rustix::io::Errno,
    rustix::process::{PidfdFlags, pidfd_open},
    tokio::sync::oneshot,
};

const POLL: Duration = Duration::from_millis(100);

/// nginx as it is run.
#[derive(Debug, Clone)]
pub struct Program {
    pub binary: PathBuf,
    /// Bytes that each of its processes may have of its own (getrlimit(2), RLIMIT_DATA).
    pub memory: u64,
}

/// A worker gets this much for each connection, more than one takes with heads of 32 kB, and this much at least.
/// nginx 1.30 keeps what comes before an answer (103, without end) for as long as it comes; where there is no more to
/// be had it gives that request up, and no other.
const MEMORY_OF_CONNECTION: u64 = 256 << 10;
const LEAST_MEMORY: u64 = 1 << 30;

impl Program {
    pub fn new(binary: PathBuf, connections: u64) -> Self {
        Self { binary, memory: connections.saturating_mul(MEMORY_OF_CONNECTION).max(LEAST_MEMORY) }
    }
}

/// Has `start` start a process that may have so much memory of its own. A process takes its limits from who starts it,
/// and another user's cannot be set later: we have them for as long as that takes.
pub fn with_memory<T>(bytes: u64, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // Another in between would take what the first has set for what there was.
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (soft, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    setrlimit(Resource::RLIMIT_DATA, bytes.min(hard), hard)?;
    let started = start();
    setrlimit(Resource::RLIMIT_DATA, soft, hard)?;
    started
}

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

    /// When it was started, in the kernel's ticks since the machine was.
    pub fn started(&self) -> u64 {
        self.started
    }

    #[cfg(test)]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn is_alive(&self) -> bool {
        Self::at(self.pid) == Some(*self)
    }

    /// Whether it accepts connections: nginx names a process a worker once that has the sockets in its event loop.
    pub fn accepts(&self) -> bool {
        title(self.pid).starts_with("nginx: worker process") && self.stays()
    }

    /// Whether it accepts connections or is about to: nginx renames a worker that no longer does.
    pub fn stays(&self) -> bool {
        self.is_alive() && !title(self.pid).contains("shutting down")
    }

    /// The inodes of its sockets, or `None` where it may not be looked into. A process that is gone has none.
    pub fn sockets(&self) -> Option<Vec<u64>> {
        let Some(files) = open_files(self.pid) else { return (!self.is_alive()).then(Vec::new) };
        let inode = |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        Some(files.into_iter().filter_map(inode).collect())
    }

    /// Returns once it has ended. The kernel tells where it can (pidfd_open(2), Linux 5.3); else it is looked at.
    pub async fn ended(&self) {
        #[cfg(target_os = "linux")]
        if let Some(end) = end_of(self.pid)
            // Else its number may have been given to another before it was opened.
            && self.is_alive()
        {
            let _ = end.await;
        }
        while self.is_alive() {
            sleep(POLL).await;
        }
    }

    /// Sends a signal; `false` where that is not allowed or the process is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// Resolves when the process ends: a thread of its own waits for that, since the runtime can wait for no such file
/// without unsafe code.
#[cfg(target_os = "linux")]
fn end_of(pid: i32) -> Option<oneshot::Receiver<()>> {
    let process = pidfd_open(rustix::process::Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let (ended, told) = oneshot::channel();
    let wait = move || {
        while poll(&mut [PollFd::new(&process, PollFlags::IN)], None).is_err_and(|error| error == Errno::INTR) {}
        // Who wanted to know may have gone.
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("end of nginx".into()).spawn(wait).ok()?;
    Some(told)
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

    /// Workers that have not been told to quit.
    pub fn staying_workers(&self) -> Vec<Process> {
        self.workers().filter(Process::stays).collect()
    }

    /// Workers of earlier generations, which finish what they have.
    pub fn leaving_workers(&self) -> Vec<Process> {
        self.workers().filter(|worker| !worker.stays()).collect()
    }

    pub fn workers(&self) -> impl Iterator<Item = Process> {
        children(self.0.pid).into_iter().filter_map(Process::at)
    }
}

/// Workers whose master was killed: they go on serving, and hold the ports.
pub fn orphans(folder: &Folder) -> Vec<Process> {
    // `/proc` names files by their real path, also where the state folder is a symlink.
    let log = folder.error_log();
    let log = fs::canonicalize(&log).unwrap_or(log);
    // Where no process but ours can be seen, one that may not be looked into is ours all the same.
    let alone = is_namespace_ours();
    let is_ours = |pid: i32| open_files(pid).map_or(alone, |files| files.contains(&log));
    all_pids().filter(|pid| title(*pid).starts_with("nginx: ") && is_ours(*pid)).filter_map(Process::at).collect()
}

/// Whether process 1 is this program too: then we are in a container of our own.
fn is_namespace_ours() -> bool {
    fs::read_link("/proc/1/exe").ok().is_some_and(|init| fs::read_link("/proc/self/exe").is_ok_and(|own| own == init))
}

/// What a process has open, or `None` where it may not be looked into (proc(5): its links need CAP_SYS_PTRACE if it
/// is another user's, which its folder alone does not) or is gone.
fn open_files(pid: i32) -> Option<Vec<PathBuf>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().map(|file| fs::read_link(file.path()));
    let mut files = Vec::new();
    for link in links {
        match link {
            Ok(file) => files.push(file),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
            // Closed in between.
            Err(_) => {}
        }
    }
    Some(files)
}

pub(super) fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

pub(super) fn children(pid: i32) -> Vec<i32> {
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
    fn an_open_socket_is_among_those_of_its_process() {
        let own = Process::at(std::process::id() as i32).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&listener))).unwrap();
        let inode: u64 = link.to_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!(own.sockets().unwrap().contains(&inode));
        drop(listener);
        assert!(!own.sockets().unwrap().contains(&inode));
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_told() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::at(child.id() as i32).unwrap();
        let told = tokio::spawn(async move { process.ended().await });
        tokio::task::yield_now().await;
        assert!(!told.is_finished());
        child.kill().unwrap();
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
        // Not reaped yet, but gone.
        assert!(!process.is_alive());
        child.wait().unwrap();
        process.ended().await;
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_is_not() {
        let own = Process::at(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }
}
