//! A platform behind ssh: the system's own ssh carries the API, with whatever its owner configured there.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Url;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::output::Failure;

const PATIENCE: Duration = Duration::from_secs(20);

/// An open connection; it ends when this is dropped.
pub struct Tunnel {
    _ssh: Child,
    /// Nobody else can look into it; it is removed with its socket.
    _folder: TempDir,
    /// Where the API is found on this machine.
    pub socket: PathBuf,
}

/// What an `ssh://` address says: `?api=ADDRESS` and `?state=FOLDER` where the platform there is not set up as usual.
struct Place {
    host: String,
    port: Option<u16>,
    api: String,
    state: String,
}

impl Place {
    fn read(url: &Url) -> Self {
        let asked = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let host = url.host_str().unwrap_or_default();
        Self {
            host: if url.username().is_empty() { host.to_owned() } else { format!("{}@{host}", url.username()) },
            port: url.port(),
            api: asked("api").unwrap_or_else(|| "127.0.0.1:7700".into()),
            state: asked("state").unwrap_or_else(|| "/var/lib/platformer".into()),
        }
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]).kill_on_drop(true).stdin(Stdio::null());
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        command
    }
}

/// Opens the way to the API.
pub async fn open(url: &Url) -> Result<Tunnel, Failure> {
    let place = Place::read(url);
    let folder = tempfile::Builder::new().prefix("platformer-").tempdir()?;
    let socket = folder.path().join("api");
    let forward = format!("{}:{}", socket.display(), place.api);
    let mut command = place.ssh();
    command.args(["-N", "-o", "ExitOnForwardFailure=yes", "-L", &forward, "--", &place.host]);
    let mut ssh = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(|e| no_ssh(&e))?;
    let end = Instant::now() + PATIENCE;
    // The file is there before anybody listens at it.
    while UnixStream::connect(&socket).await.is_err() {
        if let Ok(Some(_)) = ssh.try_wait() {
            let output = ssh.wait_with_output().await.map_err(|e| no_ssh(&e))?;
            return Err(unreachable(&place, &String::from_utf8_lossy(&output.stderr)));
        }
        if Instant::now() > end {
            return Err(unreachable(&place, "it did not answer in time"));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(Tunnel { _ssh: ssh, _folder: folder, socket })
}

/// The token in the state folder there, for who may read it.
pub async fn token(url: &Url) -> Result<String, Failure> {
    let place = Place::read(url);
    let mut command = place.ssh();
    let file = format!("{}/token", place.state);
    // The other side's shell reads it again.
    let quoted = format!("'{}'", file.replace('\'', r"'\''"));
    let output = command.args(["--", &place.host, &format!("cat {quoted}")]).output().await.map_err(|e| no_ssh(&e))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !text.is_empty() {
        return Ok(text);
    }
    Err(unreachable(&place, &String::from_utf8_lossy(&output.stderr))
        .with_remedy("add the context anew with --token-file, or let that user read the token there"))
}

fn no_ssh(error: &std::io::Error) -> Failure {
    Failure::failed(format!("ssh cannot be run: {error}")).with_remedy("install OpenSSH's client, or use https://")
}

fn unreachable(place: &Place, said: &str) -> Failure {
    let reason = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    Failure::unreachable(format!("ssh {}: {}", place.host, if reason.is_empty() { "it ended" } else { &reason }))
        .with_remedy(format!(
            "try `ssh {}` by hand; the platform there may listen elsewhere: ssh://…?api=IP:PORT",
            place.host
        ))
}
