//! Where things are: the gateway, the upstream servers, the sockets; and why one of them cannot be had.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::progress::{BootError, Progress};
use crate::adapters::host::holder::holder;
use crate::adapters::{dns, files};
use crate::core::container::Owner;
use crate::core::decide::Seed;
use crate::core::digest::sha256;
use crate::core::names::HostName;
use crate::core::render::Listeners;
use crate::core::templates::Templates;
use crate::core::zone::DnsOptions;
use crate::ports::engine::{Engine, EngineError, PlatformNetwork};
use crate::settings::{Listen, Settings, Upstream};
use crate::supervisor::lock;
use crate::supervisor::tasks::Tasks;

/// More than all limits together.
const OPEN_FILES: u64 = 65_536;

/// Finds the network's gateway and those of older networks of ours, by asking the engine; while that is away, from the
/// last run.
pub async fn network(
    settings: &Settings,
    engine: &dyn Engine,
    progress: &dyn Progress,
) -> Result<PlatformNetwork, BootError> {
    let began = Instant::now();
    let (memory, memory_of_older) = (settings.state.join("gateway"), settings.state.join("older-gateways"));
    match engine.ensure_network(&settings.docker.network, &owner(settings), settings.docker.subnet.as_deref()).await {
        Ok(network) => {
            // Needed only where the engine is away at the next start.
            let older: Vec<String> = network.older.iter().map(IpAddr::to_string).collect();
            for (file, text) in [(&memory, network.gateway.to_string()), (&memory_of_older, older.join("\n"))] {
                if let Err(error) = fs::write(file, text) {
                    progress.warn(&format!("{}: {error}", file.display()));
                }
            }
            let version = engine.version().await?;
            let detail = format!(
                "version {}, API {}, network {} ({})",
                version.version, version.api, settings.docker.network, network.gateway
            );
            progress.done("Docker", &detail, began.elapsed());
            Ok(network)
        }
        Err(error @ EngineError::Unreachable { .. }) => {
            match fs::read_to_string(&memory).ok().and_then(|t| t.trim().parse().ok()) {
                Some(gateway) => {
                    progress.warn(&format!("{error}; what ran before goes on, nothing is started until it answers"));
                    let older = fs::read_to_string(&memory_of_older).unwrap_or_default();
                    Ok(PlatformNetwork { gateway, older: older.lines().filter_map(|l| l.parse().ok()).collect() })
                }
                None => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Where DNS listens. Who was started on an older network of ours asks at that one's gateway.
pub fn dns_addresses(settings: &Settings, network: &PlatformNetwork) -> Vec<SocketAddr> {
    let older = |listen: &Listen| match *listen {
        Listen::Network(port) => network.older.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
        Listen::Address(_) => Vec::new(),
    };
    let dns = &settings.listen.dns;
    dns.iter().map(|l| l.resolve(network.gateway)).chain(dns.iter().flat_map(older)).collect()
}

/// Has names outside the domain asked of the servers that the settings or this machine name, now and when they change;
/// `own` are the addresses that we listen on.
pub async fn follow_upstreams(
    tasks: &mut Tasks,
    settings: &Settings,
    own: &[SocketAddr],
    names: &dns::Names,
    progress: &dyn Progress,
) {
    let configured = settings.dns.upstream.iter().map(|Upstream(address)| *address).collect();
    let sources = dns::Sources { configured, resolv_conf: settings.dns.resolv_conf.clone(), own: own.to_vec() };
    let servers = sources.read().await;
    if servers.is_empty() {
        let file = sources.resolv_conf.display();
        progress.warn(&format!(
            "no DNS server is known; names outside the domain are refused until {file} or dns.upstream names one"
        ));
    }
    names.ask(&servers);
    let names = names.clone();
    tasks.renewed("follow this machine's DNS servers", move || dns::follow(sources.clone(), names.clone()));
}

/// Each connection that others hold is an open file, and so is each question that we pass on: a shell's usual 1024 are
/// fewer than the limits allow.
pub fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(OPEN_FILES);
        if soft < wanted
            && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
        {
            tracing::warn!(%error, soft, "the number of open files cannot be raised");
        }
    }
}

/// Every address that we listen on.
pub fn listeners(nginx: &Listeners, dns: &[SocketAddr], api: SocketAddr) -> Vec<SocketAddr> {
    nginx.http.iter().chain(&nginx.services).chain(dns).chain([&api]).copied().collect()
}

pub fn dns_options(settings: &Settings) -> DnsOptions {
    let dns = &settings.dns;
    DnsOptions { ttl: dns.ttl.get(), wildcard: dns.wildcard.0, naming: dns.naming, extra: dns.extra.clone() }
}

/// What this machine is called, and where its dashboard is asked for: no app may have these names, since a browser
/// sends the dashboard's cookie to every port of them.
pub fn machine_names(settings: &Settings) -> BTreeSet<HostName> {
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim().to_owned();
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let asked = settings.api.allowed_hosts.iter().map(String::as_str);
    called(&own, &hosts).into_iter().chain(asked).filter_map(host_name).collect()
}

/// A machine's own name, what is in front of its first dot, and all that `/etc/hosts` has on the same line.
fn called<'a>(own: &'a str, hosts: &'a str) -> Vec<&'a str> {
    let short = own.split('.').next().unwrap_or_default();
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace().skip(1));
    let same = lines.map(Iterator::collect::<Vec<_>>).filter(|names| names.contains(&own)).flatten();
    [own, short].into_iter().chain(same).collect()
}

fn host_name(text: &str) -> Option<HostName> {
    HostName::parse(text.split(':').next()?.trim_end_matches('.').to_ascii_lowercase().as_str()).ok()
}

pub fn load_templates(folder: Option<&Path>) -> Result<Templates, String> {
    match folder {
        None => Ok(Templates::built_in()),
        Some(folder) => files::load_templates(folder).map_err(|e| format!("templates in {}: {e}", folder.display())),
    }
}

/// The same for the same state folder, also if that was emptied: by it the platforms of one machine tell each other's
/// containers and networks. It is no secret and proves nothing.
pub fn owner(settings: &Settings) -> Owner {
    let short: String = sha256(settings.state.as_os_str().as_encoded_bytes()).chars().take(8).collect();
    Owner(format!("{}-{short}", settings.domain).into())
}

pub async fn check_free(addresses: &[SocketAddr]) -> Result<(), BootError> {
    for &address in addresses {
        drop(TcpListener::bind(address).await.map_err(|e| taken(address, "listen.http", "tcp", e))?);
    }
    Ok(())
}

pub fn taken(address: SocketAddr, setting: &'static str, protocol: &str, error: std::io::Error) -> BootError {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            BootError::Taken { address, setting, holder: holder(address, protocol).or_else(|| holder(address, "tcp")) }
        }
        std::io::ErrorKind::PermissionDenied => BootError::Other(format!(
            "{address} ({setting}) needs root, or the capability CAP_NET_BIND_SERVICE; or set {setting} to a port above 1023"
        )),
        _ => BootError::Other(format!("{address} ({setting}): {error}")),
    }
}

/// What secrets in decisions are made of.
pub fn random_seed() -> Result<Seed, BootError> {
    lock::secret().map(Seed::new).map_err(|e| BootError::Other(format!("no random numbers: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_all_its_names_and_not_by_what_else_leads_to_it() {
        let hosts = "127.0.0.1 localhost shop.test\n127.0.1.1\tBox.corp box # old.corp\n";
        assert_eq!(called("box", hosts), ["box", "box", "Box.corp", "box"]);
        assert_eq!(host_name("Admin.Corp.:7700").map(|h| h.to_string()).as_deref(), Some("admin.corp"));
    }
}
