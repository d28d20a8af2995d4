//! Checks of the machine: each with what was found and, if it is wrong, what mends it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{frame, places};
use crate::adapters::engine::docker::DockerEngine;
use crate::adapters::host::holder::holder;
use crate::adapters::host::resolv::Resolver;
use crate::adapters::nginx;
use crate::core::disk::Shortage;
use crate::core::names::ImageRef;
use crate::core::world::JobSpec;
use crate::ports::doctor::{Check, Doctor};
use crate::ports::engine::Engine;
use crate::settings::{Listen, Settings};

/// Below this many free bytes the next artefact or image may not fit.
const LITTLE_SPACE: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(2);

/// The machine that a platform with these settings runs on, or is to.
pub struct Machine(pub Arc<Settings>);

/// The command that starts the platform of a state folder again, as what started it last has left it there.
pub fn start_command(state: &Path) -> String {
    let left = std::fs::read_to_string(state.join("start-with")).unwrap_or_default();
    match left.trim() {
        "" => "platformer up".into(),
        command => command.into(),
    }
}

impl Machine {
    /// Whether this machine asks our DNS server.
    pub fn resolver(&self) -> Check {
        resolver(&self.0)
    }
}

#[async_trait::async_trait]
impl Doctor for Machine {
    async fn examine(&self) -> Vec<Check> {
        examine(&self.0).await
    }
}

fn ok(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, verdict: "ok", found: found.into(), remedy: None }
}

fn warning(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, verdict: "warning", found: found.into(), remedy: Some(remedy.into()) }
}

fn failed(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, verdict: "failed", found: found.into(), remedy: Some(remedy.into()) }
}

async fn examine(settings: &Settings) -> Vec<Check> {
    let running =
        std::fs::read_to_string(settings.state.join("supervisor.pid")).ok().and_then(|t| t.trim().parse::<u32>().ok());
    let running = running.filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let mut checks = vec![docker(settings).await, nginx(settings)];
    let balancer = frame::listens(settings);
    let balancer = balancer.into_iter().map(|address| ("port of the balancer", address, "tcp", "listen.http"));
    let listeners = balancer.chain([("port of the API", settings.listen.api, "tcp", "listen.api")]);
    let names = settings.listen.dns.iter().filter_map(|listen| match listen {
        Listen::Address(address) => Some(("port of DNS", *address, "udp", "listen.dns")),
        Listen::Network(_) => None,
    });
    checks.extend(
        listeners
            .chain(names)
            .map(|(name, address, protocol, setting)| port(name, address, protocol, setting, running)),
    );
    checks.push(resolution(settings, running.is_some()).await);
    checks.push(resolution_inside(settings, running.is_some()).await);
    checks.push(resolver(settings));
    checks.extend(
        [("disk of the state", &settings.state), ("disk of the repository", &settings.repository.path)]
            .map(|(name, path)| disk(name, path)),
    );
    checks.push(permissions(&settings.state));
    checks.push(clock(&settings.state));
    checks
}

async fn docker(settings: &Settings) -> Check {
    let engine = DockerEngine::new(&settings.docker.host, &settings.docker.network, None);
    match timeout(PATIENCE, engine.version()).await {
        Ok(Ok(version)) => {
            ok("Docker", format!("version {}, API {} at {}", version.version, version.api, settings.docker.host))
        }
        Ok(Err(error)) => {
            let rights = error.to_string().to_lowercase().contains("permission denied");
            let remedy = if rights {
                "run as root, or add your user to the group docker"
            } else {
                "start it (systemctl start docker), or set docker.host"
            };
            failed("Docker", error.to_string(), remedy)
        }
        Err(_) => failed(
            "Docker",
            format!("no answer within {PATIENCE:?} at {}", settings.docker.host),
            "see its log: journalctl -u docker",
        ),
    }
}

fn nginx(settings: &Settings) -> Check {
    match nginx::find(&settings.nginx.binary) {
        Ok(found) => match found.lacks() {
            None => ok("nginx", format!("{} at {}", found.version, found.binary.display())),
            Some(lack) => warning(
                "nginx",
                format!("{} at {}: {lack}", found.version, found.binary.display()),
                "install nginx 1.27.4 or newer, or run the platform image",
            ),
        },
        Err(reason) => failed("nginx", reason, "apt-get install nginx-light, or set nginx.binary"),
    }
}

fn port(name: &'static str, address: SocketAddr, protocol: &str, setting: &str, running: Option<u32>) -> Check {
    match (holder(address, protocol), running) {
        (None, None) => ok(name, format!("{address} is free")),
        (None, Some(pid)) => {
            warning(name, format!("nobody listens on {address} although supervisor {pid} runs"), "platformer status")
        }
        (Some(holder), Some(_)) => ok(name, format!("{address} is held by {holder}")),
        (Some(holder), None) => {
            failed(name, format!("{address} is held by {holder}"), format!("stop it, or move ours with {setting}"))
        }
    }
}

/// Asks our own server for a name it always has.
async fn resolution(settings: &Settings, running: bool) -> Check {
    let name = "DNS answers";
    let address = settings.listen.dns.iter().find_map(|l| match l {
        Listen::Address(address) => Some(*address),
        Listen::Network(_) => None,
    });
    let Some(address) = address.filter(|_| running) else {
        let remedy = start_command(&settings.state);
        return warning(name, "the platform is not running, so it was not asked", remedy);
    };
    match timeout(PATIENCE, ask(address, &format!("repository.{}", settings.domain))).await {
        Ok(Ok(0)) => ok(name, format!("repository.{} at {address}", settings.domain)),
        Ok(Ok(code)) => {
            failed(name, format!("{address} answers with code {code}"), "platformer dns lists the names there are")
        }
        Ok(Err(error)) => failed(name, format!("{address}: {error}"), "platformer status"),
        Err(_) => failed(
            name,
            format!("no answer within {PATIENCE:?} from {address}"),
            "is a firewall between? platformer status",
        ),
    }
}

/// Has a container ask for the same name, the way that every instance asks.
async fn resolution_inside(settings: &Settings, running: bool) -> Check {
    let name = "DNS in a container";
    if !running {
        let remedy = start_command(&settings.state);
        return warning(name, "the platform is not running, so it was not asked", remedy);
    }
    let engine = DockerEngine::new(&settings.docker.host, &settings.docker.network, None);
    let host = format!("repository.{}", settings.domain);
    let job = JobSpec {
        name: format!("platformer-doctor-{}", std::process::id()),
        image: ImageRef::base(),
        entrypoint: vec!["getent".into()],
        command: vec!["hosts".into(), host.clone()],
        env: Default::default(),
        labels: [("platformer.route".to_owned(), "false".to_owned())].into(),
        hosts: Vec::new(),
        timeout: PATIENCE * 3,
    };
    // Also tells the engine which address containers are to ask.
    let network = engine.ensure_network(&settings.docker.network, &places::owner(settings), None).await;
    let result = match network {
        Ok(_) => engine.job(&job).await,
        Err(error) => Err(error),
    };
    let remedy = "is a firewall between the containers' network and this machine? listen.dns has to have network:53";
    match result {
        Ok(end) if end.passed() => ok(name, end.log.join(" ")),
        Ok(end) => {
            failed(name, format!("{host} is not found: {}", end.error.unwrap_or_else(|| end.log.join(" "))), remedy)
        }
        Err(error) => warning(name, format!("not asked: {error}"), "scripts/bootstrap builds the image it needs"),
    }
}

/// Sends one A query (RFC 1035 §4.1) and returns the response code.
async fn ask(server: SocketAddr, name: &str) -> std::io::Result<u8> {
    let mut query = vec![0x70, 0x66, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await?;
    if length < 12 { Err(std::io::Error::other("the answer is cut off")) } else { Ok(answer[3] & 0x0f) }
}

fn resolver(settings: &Settings) -> Check {
    let resolver = Resolver::new(Path::new("/"), &settings.domain);
    match resolver.is_installed() {
        true => ok("host resolver", format!("asks us, by {}", resolver.file().display())),
        false => warning(
            "host resolver",
            format!(
                "does not ask us: names under .{} work in containers, and APP.localhost works here",
                settings.domain
            ),
            "platformer resolver install",
        ),
    }
}

fn disk(name: &'static str, path: &Path) -> Check {
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or(path);
    let Some(found) = crate::supervisor::disk::disk("", existing) else {
        return failed(name, format!("{} cannot be asked", existing.display()), "check that the folder can be reached");
    };
    let said = format!("{} MiB free at {}", found.free >> 20, existing.display());
    let remedy = "docker system prune frees some, and so does platformer repository remove APP VERSION";
    match found.shortage() {
        Some(Shortage::Full) => failed(name, format!("full: {said}"), remedy),
        Some(Shortage::Little) => warning(name, said, remedy),
        None if found.free < LITTLE_SPACE && found.free < found.total / 5 => warning(name, said, remedy),
        None => ok(name, said),
    }
}

fn permissions(state: &Path) -> Check {
    use std::os::unix::fs::MetadataExt;
    let name = "permissions";
    let token = state.join("token");
    match std::fs::metadata(&token) {
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            failed(name, format!("{} can be read by others", token.display()), format!("chmod 600 {}", token.display()))
        }
        Ok(_) => ok(name, format!("{} is its owner's alone", token.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ok(name, "there is no token yet: the first `platformer up` makes it")
        }
        Err(error) => failed(name, format!("{}: {error}", token.display()), "run as the user that runs the platform"),
    }
}

/// A clock behind the files it wrote has been set back: pauses and ages then mislead.
fn clock(state: &Path) -> Check {
    let newest = std::fs::read_dir(state)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.metadata().ok()?.modified().ok())
        .max();
    match newest {
        Some(newest) if newest > SystemTime::now() + Duration::from_secs(5) => warning(
            "clock",
            "it is behind the time at which state was last written",
            "set the clock, for example with an NTP client",
        ),
        _ => ok("clock", format!("{:.0}", jiff::Timestamp::now())),
    }
}
