//! The frame that routes are rendered in, from settings and what nginx and this machine offer.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Uid;

use crate::core::render::{Features, Frame, Listeners};
use crate::settings::Settings;

/// Users that distributions run nginx's workers as, in the order they are looked for.
const USERS: [&str; 3] = ["nginx", "www-data", "nobody"];

/// The frame of our own nginx.
pub fn own(
    settings: &Settings,
    features: Features,
    folder: &Path,
    supervisor: &Path,
    gateway: IpAddr,
) -> Result<Frame, String> {
    let open_files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard).min(65_536);
    Ok(Frame {
        domain: settings.domain.clone(),
        listen: Listeners {
            http: with_internal(settings, listens(settings), gateway),
            services: settings.listen.services.map(|listen| listen.resolve(gateway)),
        },
        supervisor: Some(supervisor.display().to_string()),
        status: Some(folder.join("status.sock").display().to_string()),
        features,
        folder: folder.display().to_string(),
        user: user(settings.nginx.user.as_deref())?,
        workers: settings.nginx.workers.count().to_string(),
        open_files,
        connections: settings.nginx.connections.0.min(open_files),
        owns_http: true,
        each: settings.proxy.per_address.0,
        trusted: settings.proxy.trusted.iter().map(|network| network.as_str().to_owned()).collect(),
        services_ca: settings.services.ca.as_deref().map(authorities).transpose()?,
    })
}

/// nginx takes a file without certificates for one that it cannot read, and refuses the whole configuration.
fn authorities(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("services.ca: {}: {e}", file.display()))?;
    match text.contains("-----BEGIN CERTIFICATE-----") {
        true => Ok(file.display().to_string()),
        false => Err(format!("services.ca: {} has no certificate in PEM", file.display())),
    }
}

/// The frame for an nginx that somebody else runs: servers and upstreams, and with `full` the rest.
pub fn foreign(settings: &Settings, features: Features, folder: &Path, full: bool) -> Result<Frame, String> {
    let own = own(settings, features, folder, Path::new(""), IpAddr::from([127, 0, 0, 1]))?;
    Ok(Frame {
        // The file is read by an nginx that may be older than the one beside us.
        features: Features { request_port: false, ..features },
        listen: Listeners { http: settings.listen.http.addresses(false), services: None },
        supervisor: None,
        status: None,
        // It may run on another machine than we do.
        workers: settings.nginx.workers.to_string(),
        owns_http: full,
        ..own
    })
}

/// Where nginx listens for everybody. That nobody has asked for IPv6 is no reason to fail where port 80 of it is taken.
pub fn listens(settings: &Settings) -> Vec<SocketAddr> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let is_taken = read("/proc/net/tcp6").lines().any(listens_on_port_80);
    let ours = fs::read_to_string(settings.state.join("nginx/current/platformer.conf")).unwrap_or_default();
    let is_free = !is_taken || ours.contains("listen [::]:80 ");
    settings.listen.http.addresses(!read("/proc/net/if_inet6").is_empty() && is_free)
}

/// A line of `/proc/net/tcp6` (proc(5)) for `[::]:80` in state LISTEN.
fn listens_on_port_80(line: &str) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    fields.next() == Some("00000000000000000000000000000000:0050") && fields.nth(1) == Some("0A")
}

/// Adds where containers reach the balancer: a wildcard address covers the network's gateway on the same port.
fn with_internal(settings: &Settings, mut http: Vec<SocketAddr>, gateway: IpAddr) -> Vec<SocketAddr> {
    let internal = settings.listen.internal.resolve(gateway);
    let covers = |listen: &SocketAddr| {
        let is_all = listen.ip().is_unspecified() && listen.is_ipv4() == internal.is_ipv4();
        *listen == internal || (is_all && listen.port() == internal.port())
    };
    if !http.iter().any(covers) {
        http.push(internal);
    }
    http
}

/// Who the workers run as: only root can choose, everybody else is who he is.
fn user(configured: Option<&str>) -> Result<Option<String>, String> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    let groups = std::fs::read_to_string("/etc/group").map_err(|e| format!("/etc/group: {e}"))?;
    let found = |name: &str| user_and_group(name, &passwd, &groups);
    match configured {
        Some(name) => {
            found(name).map(Some).ok_or_else(|| format!("nginx.user: there is no user {name:?} on this machine"))
        }
        None => Ok(USERS.into_iter().find_map(found)),
    }
}

/// The group of nginx's workers, from its `user` directive; `None` where they are who we are.
pub fn workers_group(frame: &Frame) -> Option<u32> {
    let name = frame.user.as_ref()?.split(' ').nth(1)?.to_owned();
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.split(':').next() == Some(&name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// `user group` as nginx's `user` directive wants it. Read from the files themselves: the C library would load
/// modules for it, which a static binary cannot.
fn user_and_group(name: &str, passwd: &str, groups: &str) -> Option<String> {
    let entry = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let gid = entry.split(':').nth(3)?;
    let group = groups.lines().find(|line| line.split(':').nth(2) == Some(gid))?.split(':').next()?;
    Some(format!("{name} {group}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::HttpListens;

    fn addresses(http: &str) -> Vec<String> {
        let mut settings = Settings::default();
        settings.listen.http = HttpListens::At(http.split(' ').map(|a| a.parse().unwrap()).collect());
        let http = settings.listen.http.addresses(true);
        with_internal(&settings, http, [172, 18, 0, 1].into()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn containers_reach_port_80_wherever_http_is_moved() {
        assert_eq!(addresses("0.0.0.0:80"), ["0.0.0.0:80"]);
        assert_eq!(addresses("0.0.0.0:8080"), ["0.0.0.0:8080", "172.18.0.1:80"]);
        assert_eq!(addresses("127.0.0.1:80"), ["127.0.0.1:80", "172.18.0.1:80"]);
        assert_eq!(addresses("0.0.0.0:80 [::1]:80"), ["0.0.0.0:80", "[::1]:80"]);
        assert_eq!(addresses("[::]:80"), ["[::]:80", "0.0.0.0:80"]);
    }

    #[test]
    fn who_listens_on_port_80_of_ipv6_is_seen() {
        let line = |port: &str, state: &str| {
            format!("  1: {}:{port} {}:0000 {state} 0 0 0 0 0 77", "0".repeat(32), "0".repeat(32))
        };
        assert!(listens_on_port_80(&line("0050", "0A")));
        assert!(!listens_on_port_80(&line("0051", "0A")) && !listens_on_port_80(&line("0050", "01")));
    }

    #[test]
    fn the_group_is_the_users_own() {
        let (passwd, groups) = ("root:x:0:0::/:\nnobody:x:65534:65534::/:\n", "root:x:0:\nnogroup:x:65534:\n");
        assert_eq!(user_and_group("nobody", passwd, groups).as_deref(), Some("nobody nogroup"));
        assert_eq!(user_and_group("nginx", passwd, groups), None);
    }

    #[test]
    fn a_user_that_does_not_exist_is_named() {
        if Uid::effective().is_root() {
            assert!(user(Some("no-such-user")).unwrap_err().contains("no-such-user"));
        }
    }
}
