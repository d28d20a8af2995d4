//! A platform to test with, and small clients to ask it.

mod http;
mod leftovers;
mod load;
mod observe;
mod platform;
mod slot;

pub use http::{Answer, bearer, request, request_with};
pub use leftovers::Running;
pub use load::Load;
pub use observe::app_of;
pub use platform::Platform;

use std::process::Command;
use std::time::Duration;

pub const BINARY: &str = env!("CARGO_BIN_EXE_platformer");
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Whether Docker can be used. In CI it must be there; on a laptop the test skips, visibly.
pub fn docker_or_skip() -> bool {
    let answers = Command::new("docker")
        .args(["image", "inspect", "platformer/app-base"])
        .output()
        .is_ok_and(|o| o.status.success());
    let root = nix::unistd::Uid::effective().is_root();
    if answers && root {
        return true;
    }
    let missing = if root { "Docker, or the image platformer/app-base" } else { "root" };
    assert!(std::env::var_os("CI").is_none(), "this test needs {missing}; scripts/test provides it");
    eprintln!("SKIPPED: this test needs {missing}; scripts/test provides it");
    false
}

pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
