//! The frame that routes are rendered in, from settings and what nginx and this machine offer.

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
            http: http_addresses(settings, gateway),
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
        listen: Listeners { http: vec![settings.listen.http], services: None },
        supervisor: None,
        status: None,
        // It may run on another machine than we do.
        workers: settings.nginx.workers.to_string(),
        owns_http: full,
        ..own
    })
}

/// Where nginx listens: a wildcard address covers the network's gateway on the same port.
pub fn http_addresses(settings: &Settings, gateway: IpAddr) -> Vec<SocketAddr> {
    let http = settings.listen.http;
    let internal = settings.listen.internal.resolve(gateway);
    let covered = internal == http || (http.ip().is_unspecified() && http.port() == internal.port());
    if covered { vec![http] } else { vec![http, internal] }
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

    fn addresses(http: &str) -> Vec<String> {
        let mut settings = Settings::default();
        settings.listen.http = http.parse().unwrap();
        http_addresses(&settings, [172, 18, 0, 1].into()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn containers_reach_port_80_wherever_http_is_moved() {
        assert_eq!(addresses("0.0.0.0:80"), ["0.0.0.0:80"]);
        assert_eq!(addresses("0.0.0.0:8080"), ["0.0.0.0:8080", "172.18.0.1:80"]);
        assert_eq!(addresses("127.0.0.1:80"), ["127.0.0.1:80", "172.18.0.1:80"]);
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
