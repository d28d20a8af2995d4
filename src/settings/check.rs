//! What the types of single settings cannot say: how they fit together.

use super::{Settings, SettingsError};
use crate::core::names::HostName;

/// Below the domain there are names such as `candidate.APP` and `_http._tcp.APP`; DNS allows 253 characters in all.
const LONGEST_DOMAIN: usize = 170;

impl Settings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.check_places()?;
        self.check_domain()?;
        self.check_network()
    }

    /// Folders and files whose names stand in other programs' configuration.
    fn check_places(&self) -> Result<(), SettingsError> {
        // Unix sockets below it must fit into sockaddr_un, 108 bytes.
        let length = self.state.as_os_str().len();
        if length > 70 {
            return fail(
                "state",
                format!(
                    "{} has {length} characters, 70 are allowed, since sockets are made below it",
                    self.state.display()
                ),
            );
        }
        for (place, path) in [("state", Some(&self.state)), ("services.ca", self.services.ca.as_ref())] {
            let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c);
            if let Some(path) = path.filter(|path| path.to_string_lossy().chars().any(is_odd)) {
                return fail(
                    place,
                    format!(
                        "{path:?} is written into nginx's configuration; only letters, digits, '/', '.', '_' and '-' are allowed"
                    ),
                );
            }
        }
        Ok(())
    }

    fn check_domain(&self) -> Result<(), SettingsError> {
        if self.domain.as_str() == "localhost" {
            return fail("domain", "localhost answers at every app already; choose another, such as platform".into());
        }
        if self.domain.as_str().len() > LONGEST_DOMAIN {
            return fail(
                "domain",
                format!("it has more than {LONGEST_DOMAIN} characters; names of apps would not fit below it"),
            );
        }
        if HostName::parse(self.domain.as_str()).is_ok_and(|name| name.is_address()) {
            return fail(
                "domain",
                format!("{} is an address and no name; choose another, such as platform", self.domain),
            );
        }
        let own = |host: &&HostName| {
            host.as_str() == "localhost"
                || host.as_str() == self.domain.as_str()
                || host.is_address()
                || host.reserved_under(&self.domain).is_some()
        };
        if let Some(own) = self.dns.extra.keys().find(own) {
            return fail(
                "dns.extra",
                format!("{own} is no name to give away: it is the platform's own, this machine, or an address"),
            );
        }
        Ok(())
    }

    fn check_network(&self) -> Result<(), SettingsError> {
        let (network, domain) = (self.docker.network.to_ascii_lowercase(), self.domain.as_str());
        let is_end_of =
            |long: &str, end: &str| long.strip_suffix(end).is_some_and(|r| r.is_empty() || r.ends_with('.'));
        if is_end_of(domain, &network) || is_end_of(&network, domain) {
            return fail(
                "docker.network",
                format!(
                    "{network:?} is like the domain {domain:?}: Docker itself answers NAME.{network} for every container \
                     there, so whoever is called repository would be repository.{domain}. Leave the setting out, or choose \
                     another name, such as {}; an older network of the platform is moved over by itself",
                    if domain.ends_with("platformer") { "platformer-net" } else { "platformer" }
                ),
            );
        }
        Ok(())
    }
}

fn fail(place: &str, reason: String) -> Result<(), SettingsError> {
    Err(SettingsError { place: place.into(), reason })
}
