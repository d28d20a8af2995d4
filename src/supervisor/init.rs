//! Process 1 of the platform's container: a tiny init that reaps, passes signals on, and restarts the
//! supervisor, so that a killed supervisor takes neither nginx nor the container with it.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Set for the supervisor that init starts, which then is no init itself.
pub const SUPERVISED: &str = "PLATFORMER_SUPERVISED";
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const STABLE: Duration = Duration::from_secs(10);

/// Whether this process has to be the init of its container.
pub fn is_init() -> bool {
    std::process::id() == 1 && std::env::var_os(SUPERVISED).is_none()
}

/// Runs the same command line as a child, for as long as it ends by being killed or by dying of itself.
pub fn run() -> ExitCode {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD]);
    if let Err(error) = signals.thread_block() {
        eprintln!("error: init cannot block signals: {error}");
        return ExitCode::FAILURE;
    }
    let mut pause = FIRST_PAUSE;
    let mut stopping = false;
    loop {
        let began = Instant::now();
        let child = match start() {
            Ok(pid) => pid,
            Err(error) => {
                eprintln!("error: init cannot start the supervisor: {error}");
                return ExitCode::FAILURE;
            }
        };
        let end = wait(&signals, child, &mut stopping);
        let first = began.elapsed() < STABLE;
        match end {
            // Docker's restart policy tells by this code that it was no `down`: after a reboot it starts us again.
            End::Code(0) if stopping => return ExitCode::from(TERMINATED),
            // Ended by itself with a code: stopped on purpose, or it cannot boot, which a restart does not mend.
            End::Code(code) if stopping || code == 0 || (code != DIED && first) => return ExitCode::from(code),
            End::Code(_) | End::Killed if stopping => return ExitCode::FAILURE,
            End::Code(_) | End::Killed => {}
        }
        if !first {
            pause = FIRST_PAUSE;
        }
        eprintln!("init: the supervisor ended ({end:?}) and is started again in {pause:?}");
        rest(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// 128 + SIGTERM, as a shell has it.
const TERMINATED: u8 = 143;
/// The exit code of a supervisor that died in operation: it is to be started again.
pub const DIED: u8 = 70;

/// Init has one thread and no runtime, so nothing else is kept waiting.
#[allow(clippy::disallowed_methods)]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Code(u8),
    Killed,
}

fn start() -> std::io::Result<Pid> {
    // It begins with our signals blocked, as std leaves them, until `hear_signals`.
    let child =
        Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(SUPERVISED, "1").spawn()?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(std::io::Error::other)
}

/// Unblocks what init blocked for itself: what came meanwhile is delivered now.
pub fn hear_signals() {
    if std::env::var_os(SUPERVISED).is_some()
        && let Err(error) = SigSet::all().thread_unblock()
    {
        eprintln!("error: signals stay blocked: {error}");
    }
}

/// Waits for signals: passes them on, reaps whoever has ended, returns when the supervisor has.
fn wait(signals: &SigSet, supervisor: Pid, stopping: &mut bool) -> End {
    loop {
        if let Some(end) = reap(supervisor) {
            return end;
        }
        match signals.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                *stopping |= signal != Signal::SIGHUP;
                // It may have ended just now, which the next turn finds.
                let _ = kill(supervisor, signal);
            }
        }
    }
}

fn reap(supervisor: Pid) -> Option<End> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == supervisor => {
                return Some(End::Code(u8::try_from(code).unwrap_or(1)));
            }
            Ok(WaitStatus::Signaled(pid, ..)) if pid == supervisor => return Some(End::Killed),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Err(Errno::EINTR) | Ok(_) => {}
            Err(_) => return None,
        }
    }
}
