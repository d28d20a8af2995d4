//! What tests leave behind, and its end.

use std::path::Path;
use std::process::{Child, Command};

/// A process that ends, with those that it started, when the test does.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

pub fn remove_containers(filters: &[&str]) {
    let list = |filter: &&str| {
        let output = Command::new("docker").args(["ps", "-aq", "--filter", filter]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let containers: Vec<String> = filters.iter().flat_map(list).collect();
    if !containers.is_empty() {
        let _ = Command::new("docker").args(["rm", "-f", "-v"]).args(containers).output();
    }
}

/// What was pulled from a test's own registry, by tag or by digest, is left with the engine under its address.
pub fn remove_images(repository: &str) {
    let output = Command::new("docker").args(["images", "-q", repository]).output().unwrap();
    let images = String::from_utf8_lossy(&output.stdout).into_owned();
    if !images.is_empty() {
        let _ = Command::new("docker").args(["rmi", "-f"]).args(images.split_whitespace()).output();
    }
}

/// Takes down a network with everything on it.
pub fn remove_network(name: &str) {
    remove_containers(&[&format!("network={name}")]);
    let _ = Command::new("docker").args(["network", "rm", name]).output();
}

/// Ends the workers of an nginx whose master was killed: they hold its log, and nobody else ends them.
pub fn end_orphans(log: &Path) {
    let holds_log = |pid: i32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|f| std::fs::read_link(f.path()).ok()).any(|target| target == log)
    };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|pid| holds_log(*pid)) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}
