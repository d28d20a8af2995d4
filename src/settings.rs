//! Settings: file, then environment, then flags → one validated value. Nothing is opened or bound here.
//!
//! Every key has a default. `PLATFORMER_SECTION_KEY` overrides the file, flags override that. An unknown key
//! is an error with file, line and the nearest known one, so that a typing mistake never passes silently.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::core::app::Period;
use crate::core::names::{Domain, HostName, nearest};
use crate::core::toml_error;
use crate::core::zone::{Naming, Wildcard};

mod check;
mod environment;

mod proxy;
mod repository;
mod told;
mod values;

pub use proxy::Proxy;
pub use repository::Repository;
pub use told::Notify;
pub use values::{Cidr, Connections, HttpListens, Listen, PerAddress, Upstream, Wildcarded, Workers};

/// Where settings are looked for if none are named.
const PLACES: [&str; 2] = ["platformer.toml", "/etc/platformer/platformer.toml"];

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub domain: Domain,
    /// Ledger, token, nginx's folder. Must exist on this machine under the same path in a container.
    pub state: PathBuf,
    pub repository: Repository,
    /// Overrides built-in templates, file by file.
    pub templates: Option<PathBuf>,
    pub listen: Listens,
    pub docker: Docker,
    pub nginx: Nginx,
    pub dns: Dns,
    pub api: Api,
    pub proxy: Proxy,
    pub services: Services,
    pub webhooks: Webhooks,
    /// Servers that are told what happens.
    pub notify: Vec<Notify>,
    /// Totals of what others may make us hold, by the names of the table of limits.
    pub limits: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listens {
    pub http: HttpListens,
    /// Where containers reach the balancer when `http` is moved, so that their URLs need no port.
    pub internal: Listen,
    pub dns: Vec<Listen>,
    pub api: SocketAddr,
    /// A port of its own for registered services, at `/NAME/…`, and for registering them.
    pub services: Option<Listen>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// Whoever asks from this machine needs no token to use the registry, as older clients expect.
    pub open: bool,
    /// Certificates in PEM: what a service on https shows must be signed by one of them.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Docker Hub is told at the `callback_url` of its webhook that it was taken, if that is on Docker's own host.
    pub callback: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    pub host: String,
    pub network: String,
    pub subnet: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nginx {
    pub binary: PathBuf,
    /// A number, or `auto` for one per core.
    pub workers: Workers,
    /// Of each worker.
    pub connections: Connections,
    pub user: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    pub ttl: Period,
    /// Empty: the servers of this machine's own `resolv.conf`.
    pub upstream: Vec<Upstream>,
    /// That file; in a container, of the machine's own folders as they are mounted there.
    pub resolv_conf: PathBuf,
    pub wildcard: Wildcarded,
    pub naming: Naming,
    pub extra: BTreeMap<HostName, IpAddr>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    pub allowed_hosts: Vec<String>,
    pub trusted_origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: Domain::platform(),
            state: "/var/lib/platformer".into(),
            repository: Repository::default(),
            templates: None,
            listen: Listens::default(),
            docker: Docker::default(),
            nginx: Nginx::default(),
            dns: Dns::default(),
            api: Api::default(),
            proxy: Proxy::default(),
            services: Services::default(),
            webhooks: Webhooks::default(),
            notify: Vec::new(),
            limits: BTreeMap::new(),
        }
    }
}

impl Default for Listens {
    fn default() -> Self {
        Self {
            http: HttpListens::Everywhere,
            internal: Listen::Network(80),
            dns: vec![Listen::Address(SocketAddr::from(([127, 0, 0, 1], 53))), Listen::Network(53)],
            api: SocketAddr::from(([127, 0, 0, 1], 7700)),
            services: None,
        }
    }
}

impl Default for Docker {
    fn default() -> Self {
        Self { host: "unix:///var/run/docker.sock".into(), network: "platformer".into(), subnet: None }
    }
}

impl Default for Nginx {
    fn default() -> Self {
        Self { binary: "nginx".into(), workers: Workers::Auto, connections: Connections(4096), user: None }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            ttl: Period::seconds(0),
            upstream: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
            wildcard: Wildcarded(Wildcard::Off),
            naming: Naming::Standard,
            extra: BTreeMap::new(),
        }
    }
}

/// Settings that cannot be used: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct SettingsError {
    /// `platformer.toml:3`, `PLATFORMER_LISTEN_HTTP` or `--set`.
    pub place: String,
    pub reason: String,
}

/// A settings file that was found, with its text.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// Finds the settings file: the one named, else `PLATFORMER_CONFIG`, else the usual places.
pub fn find(named: Option<&Path>) -> Result<Option<Source>, SettingsError> {
    let read = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) => Ok(Source { path: path.to_owned(), text }),
        Err(error) => {
            Err(SettingsError { place: path.display().to_string(), reason: format!("cannot be read: {error}") })
        }
    };
    let named = named.map(Path::to_owned).or_else(|| std::env::var_os("PLATFORMER_CONFIG").map(PathBuf::from));
    match named {
        Some(path) => read(&path).map(Some),
        None => PLACES.iter().map(Path::new).find(|path| path.is_file()).map(read).transpose(),
    }
}

/// Puts file, environment and flags (`section.key`, value) together.
pub fn load(
    source: Option<&Source>,
    environment: &[(String, String)],
    flags: &[(String, String)],
) -> Result<Settings, SettingsError> {
    let mut table = toml::Table::new();
    if let Some(source) = source {
        let fail = |error: &toml::de::Error| {
            let explained = toml_error::explain(&source.text, error);
            let line = explained.line.map(|l| format!(":{l}")).unwrap_or_default();
            SettingsError { place: format!("{}{line}", source.path.display()), reason: explained.reason }
        };
        // Checked on its own first, so that an error points at its line.
        toml::from_str::<Settings>(&source.text).map_err(|e| fail(&e))?;
        table = toml::from_str(&source.text).map_err(|e| fail(&e))?;
    }
    let variables = environment.iter().filter_map(|(name, value)| Some((environment::key_of(name)?, name, value)));
    for (key, name, value) in variables {
        environment::put(&mut table, key, value).map_err(|reason| SettingsError { place: name.clone(), reason })?;
    }
    for (key, value) in flags {
        let known = environment::KEYS.iter().find(|known| **known == key);
        let unknown = || {
            let near =
                nearest(key, environment::KEYS).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            SettingsError { place: "--set".into(), reason: format!("unknown key {key}{near}") }
        };
        environment::put(&mut table, known.ok_or_else(unknown)?, value)
            .map_err(|reason| SettingsError { place: format!("--set {key}"), reason })?;
    }
    let settings: Settings = table
        .try_into()
        .map_err(|e: toml::de::Error| SettingsError { place: "settings".into(), reason: e.message().to_owned() })?;
    settings.check()?;
    Ok(settings)
}

/// Refuses variables that look like settings and are none.
pub fn check_environment(environment: &[(String, String)]) -> Result<(), SettingsError> {
    match environment::unknown(environment) {
        Some((name, near)) => Err(SettingsError {
            place: name.clone(),
            reason: near.map_or("unknown setting".into(), |near| format!("unknown setting, did you mean {near}?")),
        }),
        None => Ok(()),
    }
}

impl Settings {
    /// Makes relative paths absolute, so that they mean the same wherever they are used.
    pub fn absolute(mut self, base: &Path) -> Self {
        self.state = base.join(&self.state).components().collect();
        self.repository.path = base.join(&self.repository.path).components().collect();
        self.templates = self.templates.map(|t| base.join(t).components().collect());
        self.dns.resolv_conf = base.join(&self.dns.resolv_conf).components().collect();
        self.services.ca = self.services.ca.map(|file| base.join(file).components().collect());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
        let pairs =
            |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let source = Source { path: "platformer.toml".into(), text: text.into() };
        check_environment(&pairs(environment)).map_err(|e| e.to_string())?;
        load(Some(&source), &pairs(environment), &pairs(flags)).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let text = "domain = \"file\"\n[docker]\nnetwork = \"file\"\n[listen]\nhttp = \"0.0.0.0:1\"";
        let settings = from(
            text,
            &[("PLATFORMER_DOMAIN", "env"), ("PLATFORMER_LISTEN_HTTP", "0.0.0.0:2")],
            &[("listen.http", "0.0.0.0:3")],
        )
        .unwrap();
        assert_eq!(
            (settings.domain.as_str(), settings.docker.network.as_str(), settings.listen.http.addresses(true)),
            ("env", "file", vec!["0.0.0.0:3".parse().unwrap()])
        );
    }

    #[test]
    fn lists_and_tables_come_from_variables_too() {
        let environment = [
            ("PLATFORMER_LISTEN_DNS", "127.0.0.1:5300,network:53"),
            ("PLATFORMER_DNS_UPSTREAM", "9.9.9.9, 1.1.1.1:5353"),
            ("PLATFORMER_DNS_EXTRA", "db.corp=10.0.0.5 web.corp=10.0.0.6"),
            ("PLATFORMER_DNS_WILDCARD", "balancer"),
            ("PLATFORMER_LISTEN_HTTP", "[::]:8080,127.0.0.1:81"),
            ("PLATFORMER_PROXY_TRUSTED", "10.0.0.0/8 fd00::/8"),
            ("PLATFORMER_PROXY_PER_ADDRESS", "7"),
        ];
        let settings = from("", &environment, &[]).unwrap();
        assert_eq!(settings.listen.dns, [Listen::Address("127.0.0.1:5300".parse().unwrap()), Listen::Network(53)]);
        let texts: Vec<String> = settings.listen.http.addresses(true).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["[::]:8080", "127.0.0.1:81", "0.0.0.0:8080"], "[::] is every address");
        assert_eq!((settings.proxy.trusted.len(), settings.proxy.per_address), (2, PerAddress(7)));
        assert_eq!(Listens::default().http.addresses(false).len(), 1);
        assert_eq!(settings.dns.upstream.len(), 2);
        assert_eq!(settings.dns.extra.len(), 2);
        assert_eq!(settings.dns.wildcard, Wildcarded(Wildcard::Balancer));
    }

    #[test]
    fn the_repository_is_a_folder_or_a_table_with_one() {
        let open = |text, environment: &[(&str, &str)], flags: &[(&str, &str)]| {
            let settings = from(text, environment, flags).unwrap();
            (
                settings.repository.path.display().to_string(),
                settings.repository.open,
                settings.repository.require_token,
            )
        };
        assert_eq!(open("", &[], &[]), ("./repository".into(), false, false));
        assert_eq!(open("repository = \"/srv/r\"", &[], &[]), ("/srv/r".into(), false, false));
        assert_eq!(open("[repository]\npath = \"/srv/r\"\nopen = true", &[], &[]), ("/srv/r".into(), true, false));
        let variables = [("PLATFORMER_REPOSITORY", "/srv/v"), ("PLATFORMER_REPOSITORY_OPEN", "true")];
        assert_eq!(open("repository = \"/srv/r\"", &variables, &[]), ("/srv/v".into(), true, false));
        let flags = [("repository.require_token", "true"), ("repository", "/srv/f")];
        assert_eq!(open("[repository]\nopen = true", &[], &flags), ("/srv/f".into(), true, true));
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_the_nearest_key() {
        for (text, expected) in [
            ("\n[listen]\nhtpp = \"0.0.0.0:80\"", "platformer.toml:3: unknown key `htpp`, did you mean `http`?"),
            ("domian = \"x\"", "did you mean `domain`?"),
            ("domain = \"Up\"", "lower case"),
            ("domain = \"localhost\"", "choose another"),
            ("domain = \"10.0.0.1\"", "an address"),
            ("[docker]\nnetwork = \"platform\"", "docker.network: \"platform\" is like the domain"),
            ("[docker]\nnetwork = \"Platform\"", "Leave the setting out"),
            ("domain = \"a.corp\"\n[docker]\nnetwork = \"corp\"", "repository.a.corp"),
            ("[docker]\nnetwork = \"shop.platform\"", "is like the domain"),
            ("domain = \"platformer\"", "such as platformer-net"),
            ("[dns.extra]\n\"repository.platform\" = \"10.0.0.1\"", "the platform's own"),
            ("[dns.extra]\nlocalhost = \"10.0.0.1\"", "this machine"),
            ("[listen]\nhttp = \"80\"", "platformer.toml:2:"),
            ("[listen]\nhttp = []", "platformer.toml:2:"),
            ("[listen]\nhttp = [\"0.0.0.0:80\", 5]", "write IP:PORT"),
            ("[proxy]\ntrusted = [\"10.0.0.0/33\"]", "10.0.0.0/8"),
            ("[proxy]\nper_address = -1", "platformer.toml:2:"),
            ("state = \"/tmp/a b\"", "only letters"),
            ("[dns]\nnaming = \"devdn\"", "did you mean `devdns`?"),
            ("[repository]\nopne = true", "did you mean `open`?"),
            ("repository = 5", "a folder"),
        ] {
            let error = from(text, &[], &[]).unwrap_err();
            assert!(error.contains(expected), "{text:?} gave {error}");
        }
        let error = from("", &[("PLATFORMER_LISTEN_HTPP", "x")], &[]).unwrap_err();
        assert_eq!(error, "PLATFORMER_LISTEN_HTPP: unknown setting, did you mean PLATFORMER_LISTEN_HTTP?");
        assert!(from("", &[("PLATFORMER_LISTEN_HTTP", "x")], &[]).is_err());
        assert!(from("", &[], &[("listen.htpp", "x")]).unwrap_err().contains("did you mean listen.http?"));
    }
}
