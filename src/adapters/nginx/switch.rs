//! One generation replacing another, without losing a request.
//!
//! SIGHUP makes new workers within milliseconds, but the master then sleeps 100 ms before it tells the old
//! ones to quit, and until then the kernel prefers the old ones. So once a new worker accepts connections we tell the
//! old ones ourselves (DESIGN §6, *settle early*); what counts as reached is still only what a worker answers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::folder::Folder;
use super::log;
use super::process::{self, Master, Process, Program};
use super::status;
use crate::core::render::Rendered;
use crate::ports::balancer::{BalancerError, Generation};

/// A reload that shows neither new workers nor a refusal by then has failed. Parsing 3,000 hosts takes 0.4 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// An nginx that has neither new workers nor a verdict by then is asked for one.
const DOUBT: Duration = Duration::from_millis(700);
/// The shortest that the runtime's timers can wait.
const POLL: Duration = Duration::from_millis(1);
/// Connections tried at once: the kernel hands some of them to new workers while old ones still accept.
const ASKERS: usize = 4;
/// Within this nginx has told the replaced workers to quit by itself, if it ran at all: it does so 100 ms after it
/// made the new ones.
const OWN_WAY: Duration = Duration::from_millis(500);
/// A switch that began longer ago than this has made all workers that there are to be, or none yet.
const QUIET: Duration = Duration::from_millis(250);
/// How long an nginx that is adopted may need to take up the generation that it was told of last.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long a port may stay taken by workers that were just told to quit.
const PORT_PATIENCE: Duration = Duration::from_secs(2);

/// Makes the generation live. Returns the workers it replaces, already told to quit.
pub async fn reach(
    program: &Program,
    folder: &Folder,
    master: Option<Master>,
    generation: &Generation,
) -> Result<Vec<Process>, BalancerError> {
    folder.write(generation)?;
    let before = folder.make_current(generation.number)?;
    let reached = match master {
        Some(master) => reload(program, folder, master, generation.number).await,
        None => start(program, folder, generation.number).await.map(|()| Vec::new()),
    };
    if reached.is_err() {
        folder.restore(before)?;
    }
    reached
}

async fn reload(
    program: &Program,
    folder: &Folder,
    master: Master,
    number: u64,
) -> Result<Vec<Process>, BalancerError> {
    let old = master.staying_workers();
    let verdicts = folder.verdicts();
    let offset = log::end(&verdicts);
    if !master.process().signal(Signal::SIGHUP) {
        return Err(BalancerError::Trouble("nginx cannot be signalled; does it run as another user?".into()));
    }
    let began = Instant::now();
    let deadline = began + PATIENCE;
    let mut is_asked = false;
    loop {
        if let Some(refusal) = log::refusal(&verdicts, offset, master.pid()) {
            return Err(refusal);
        }
        if master.workers().any(|worker| !old.contains(&worker) && worker.accepts()) {
            break;
        }
        // What runs may log elsewhere: it was started by an older version, or from a template of one's own.
        if !is_asked && began.elapsed() > DOUBT {
            is_asked = true;
            run(program, folder, &folder.current_config(), &["-t", "-q"]).await?;
        }
        if !master.process().is_alive() {
            return Err(BalancerError::Trouble("nginx ended while it was reloading".into()));
        }
        if Instant::now() > deadline {
            return Err(BalancerError::Trouble(format!(
                "nginx did not take up generation {number} within {PATIENCE:?}"
            )));
        }
        sleep(POLL).await;
    }
    for worker in &old {
        // Where it may not be signalled the master tells it 100 ms later.
        worker.signal(Signal::SIGQUIT);
    }
    while !answers_with(folder, number).await {
        if Instant::now() > deadline {
            return Err(BalancerError::Trouble(format!("no worker of nginx answers with generation {number}")));
        }
        sleep(POLL).await;
    }
    Ok(old)
}

async fn answers_with(folder: &Folder, number: u64) -> bool {
    let socket = folder.status_socket();
    let answers = futures_util::future::join_all((0..ASKERS).map(|_| status::generation(&socket))).await;
    answers.contains(&Some(number))
}

async fn start(program: &Program, folder: &Folder, number: u64) -> Result<(), BalancerError> {
    for orphan in process::orphans(folder) {
        orphan.signal(Signal::SIGQUIT);
    }
    // Left by an nginx that was killed, it would be "in use".
    let _ = std::fs::remove_file(folder.status_socket());
    let deadline = Instant::now() + PORT_PATIENCE;
    loop {
        match run(program, folder, &folder.current_config(), &[]).await {
            Ok(()) => break,
            Err(BalancerError::Trouble(_)) if Instant::now() < deadline && !process::orphans(folder).is_empty() => {
                sleep(POLL * 20).await
            }
            Err(error) => return Err(error),
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while !answers_with(folder, number).await {
        if Instant::now() > deadline {
            return Err(BalancerError::Trouble(format!(
                "nginx was started and does not answer within {PATIENCE:?}; see {}",
                folder.verdicts().display()
            )));
        }
        sleep(POLL * 5).await;
    }
    Ok(())
}

/// Returns once none of the replaced workers accepts connections and all new ones are there: one that is only about
/// to be made would be taken for a worker of the next generation, and go on with this one's routes.
pub async fn settle(replaced: &[Process], master: Option<Master>, workers: usize) -> Result<(), BalancerError> {
    let began = Instant::now();
    while replaced.iter().any(Process::stays) {
        if began.elapsed() > PATIENCE {
            return Err(BalancerError::Trouble("old workers of nginx go on accepting connections".into()));
        }
        sleep(POLL).await;
    }
    // A template of one's own may ask for another number.
    while !has_all(master, workers) && began.elapsed() < OWN_WAY {
        sleep(POLL).await;
    }
    Ok(())
}

fn has_all(master: Option<Master>, workers: usize) -> bool {
    master.is_none_or(|master| master.staying_workers().len() == workers)
}

/// The generation that a running nginx serves, by all its workers: who was killed in the middle of a switch finds
/// some of the one before and some of the one after it, or none of it yet. `None` where no worker answers.
pub async fn served(folder: &Folder, master: Master, workers: usize) -> Option<u64> {
    let began = Instant::now();
    loop {
        let answer = status::generation(&folder.status_socket()).await;
        let is_current = |(number, age)| answer == Some(number) && age >= QUIET;
        let is_over = folder.current().is_none_or(is_current) && has_all(Some(master), workers);
        if is_over || began.elapsed() > UNDER_WAY || !master.process().is_alive() {
            return answer;
        }
        sleep(POLL * 10).await;
    }
}

/// Has nginx read the text without serving it.
pub async fn check(program: &Program, folder: &Folder, rendered: &Rendered) -> Result<(), BalancerError> {
    let written = folder.write_check(rendered)?;
    run(program, folder, &written.join("nginx.conf"), &["-t", "-q"]).await
}

/// Ends nginx: gracefully, after `limit` at once.
pub async fn quit(folder: &Folder, master: Option<Master>, limit: Duration) {
    let workers: Vec<Process> = process::orphans(folder);
    for (signal, patience) in
        [(Signal::SIGQUIT, limit), (Signal::SIGTERM, Duration::from_secs(2)), (Signal::SIGKILL, Duration::from_secs(1))]
    {
        let all = || master.iter().map(Master::process).chain(workers.iter().copied());
        match master {
            // The master passes the first two on to its workers.
            Some(master) if signal != Signal::SIGKILL => _ = master.process().signal(signal),
            _ => all().for_each(|process| _ = process.signal(signal)),
        }
        let deadline = Instant::now() + patience;
        while all().any(|p| p.is_alive()) && Instant::now() < deadline {
            sleep(POLL * 10).await;
        }
    }
}

/// Runs nginx until it has read the configuration: `-t` then ends it, otherwise it goes to the background.
async fn run(program: &Program, folder: &Folder, config: &Path, arguments: &[&str]) -> Result<(), BalancerError> {
    let mut command = Command::new(&program.binary);
    command
        .args(arguments)
        .arg("-p")
        .arg(folder.root())
        .arg("-e")
        .arg(folder.verdicts())
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let not_run = |e| BalancerError::Trouble(format!("{} does not run: {e}", program.binary.display()));
    let nginx = process::with_memory(program.memory, || command.spawn()).map_err(not_run)?;
    let output = nginx.wait_with_output().await.map_err(not_run)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(log::parse(&text)
        .unwrap_or_else(|| BalancerError::Trouble(format!("nginx ended with {}: {}", output.status, text.trim()))))
}
