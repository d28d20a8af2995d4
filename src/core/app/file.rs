//! The TOML of an app file, key by key, and the errors people see for it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{App, Canary, Deploy, Gate, Health, Limits, Proxy, Source, Sticky, Volume};
use crate::core::names::{AppName, EnvName, HostName, ImageRef, PathPrefix, Port};
use crate::core::split::Percent;
use crate::core::toml_error;

/// An app file that cannot be used: which, at which line, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {reason}", line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct AppFileError {
    pub file: String,
    pub line: Option<usize>,
    pub reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AppFile {
    image: ImageRef,
    hosts: Vec<HostName>,
    paths: Vec<PathPrefix>,
    open: bool,
    strip_prefix: bool,
    port: Port,
    replicas: u16,
    command: Vec<String>,
    source: Option<Source>,
    deploy: Deploy,
    health: Health,
    gate: Option<Gate>,
    canary: Canary,
    sticky: Sticky,
    proxy: Proxy,
    env: BTreeMap<EnvName, String>,
    volumes: Vec<Volume>,
    limits: Limits,
}

impl Default for AppFile {
    fn default() -> Self {
        Self {
            image: ImageRef::base(),
            hosts: Vec::new(),
            paths: Vec::new(),
            open: false,
            strip_prefix: false,
            port: Port::APP,
            replicas: 1,
            command: Vec::new(),
            source: None,
            deploy: Deploy::default(),
            health: Health::default(),
            gate: None,
            canary: Canary::default(),
            sticky: Sticky::default(),
            proxy: Proxy::default(),
            env: BTreeMap::new(),
            volumes: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Each pair of host and path costs nginx a kilobyte in each of its processes.
const MOST_PAIRS: usize = 10_000;

impl App {
    /// The app that a bare name declares: the base image, every default.
    pub fn named(name: AppName) -> Self {
        AppFile::default().into_app(name)
    }
}

impl AppFile {
    fn into_app(self, name: AppName) -> App {
        let paths = if self.paths.is_empty() { vec![PathPrefix::root()] } else { self.paths };
        App {
            name,
            image: match (&self.image, self.source.as_ref().and_then(|s| s.image.clone())) {
                (image, Some(of_source)) if *image == ImageRef::base() => of_source,
                (image, _) => image.clone(),
            },
            hosts: self.hosts,
            paths,
            open: self.open,
            strip_prefix: self.strip_prefix,
            port: self.port,
            replicas: self.replicas,
            command: self.command,
            source: self.source,
            deploy: self.deploy,
            health: self.health,
            gate: self.gate,
            canary: self.canary,
            sticky: self.sticky,
            proxy: self.proxy,
            env: self.env,
            volumes: self.volumes,
            limits: self.limits,
        }
    }

    /// What the types cannot say: ranges across values.
    fn check(&self) -> Result<(), String> {
        let (hosts, paths) = (self.hosts.len(), self.paths.len());
        if hosts.max(1).saturating_mul(paths.max(1)) > MOST_PAIRS {
            return Err(format!(
                "{hosts} hosts with {paths} paths each: {MOST_PAIRS} pairs of host and path are the most; \
                 ask for a path above them, or declare another app for some of the hosts"
            ));
        }
        if self.replicas > 100 {
            return Err(format!("replicas = {}: 100 is the most", self.replicas));
        }
        self.source.as_ref().map_or(Ok(()), Source::check)?;
        if self.deploy.surge == 0 {
            return Err("deploy.surge = 0: at least 1, or strategy = \"recreate\"".into());
        }
        if let Some(bad) = self.canary.steps.iter().find(|s| [Percent::NONE, Percent::ALL].contains(s)) {
            return Err(format!("canary.steps: {bad} is not between 0 and 100"));
        }
        if self.canary.steps.windows(2).any(|w| w[0] >= w[1]) {
            return Err("canary.steps must rise".into());
        }
        if self.health.interval.is_some_and(|i| i.get().is_zero()) || self.health.timeout.get().is_zero() {
            return Err("health.interval and health.timeout must be longer than 0".into());
        }
        let head = self.proxy.max_head.bytes();
        if !(4 << 10..=1 << 20).contains(&head) {
            return Err(format!("proxy.max_head = {}: write 4k to 1m", self.proxy.max_head));
        }
        if self.limits.cpus.is_some_and(|cpus| !(cpus > 0.0 && cpus <= 1024.0)) {
            return Err("limits.cpus must be above 0".into());
        }
        Ok(())
    }
}

/// Parses the text of `apps/APP.toml`. `file` is the path as users know it; its stem is the app's name.
pub fn parse_file(file: &str, text: &str) -> Result<App, AppFileError> {
    let fail = |line, reason: String| AppFileError { file: file.to_owned(), line, reason };
    let stem = file.rsplit('/').next().and_then(|f| f.strip_suffix(".toml")).unwrap_or(file);
    let name = AppName::parse(stem).map_err(|e| fail(None, format!("the file's name is the app's: {e}")))?;
    let parsed: AppFile = toml::from_str(text).map_err(|e| {
        let explained = toml_error::explain(text, &e);
        fail(explained.line, explained.reason)
    })?;
    parsed.check().map_err(|reason| fail(None, reason))?;
    Ok(parsed.into_app(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::Strategy;

    #[test]
    fn an_empty_file_declares_the_defaults() {
        let app = parse_file("apps/web.toml", "").unwrap();
        assert_eq!((app.name.as_str(), app.port.get(), app.replicas), ("web", 8080, 1));
        assert!(app.boots_from_repository() && app.paths == [PathPrefix::root()]);
        assert_eq!(app.deploy.strategy, Strategy::Rolling);
    }

    #[test]
    fn a_file_cannot_ask_for_more_pairs_of_host_and_path_than_nginx_can_hold() {
        let list = |count: usize, form: fn(usize) -> String| (0..count).map(form).collect::<Vec<_>>().join(", ");
        let asked = |hosts, paths| {
            let hosts = list(hosts, |n| format!("\"h{n}.example\""));
            let paths = list(paths, |n| format!("\"/p{n}\""));
            parse_file("apps/web.toml", &format!("hosts = [{hosts}]\npaths = [{paths}]")).map(drop)
        };
        assert!(asked(100, 100).is_ok());
        for (hosts, paths) in [(8_000, 8_000), (0, 10_001), (10_001, 0), (101, 100)] {
            let refused = asked(hosts, paths).unwrap_err().to_string();
            assert!(refused.contains("apps/web.toml") && refused.contains("10000 pairs"), "{refused}");
        }
    }

    #[test]
    fn the_documented_file_parses() {
        let text = r#"
            image = "platformer/app-base"
            hosts = ["hello-world.platform"]
            paths = ["/"]
            open = true
            port = 8080
            replicas = 2
            [deploy]
            strategy = "blue-green"
            ready_timeout = "2m"
            [health]
            path = "/health"
            [gate]
            image = "tests:1"
            [canary]
            steps = [5, 25, 50]
            [sticky]
            mode = "visitor"
            [env]
            GREETING = "hello"
            [limits]
            memory = "64m"
        "#;
        let app = parse_file("apps/hello-world.toml", text).unwrap();
        assert_eq!((app.deploy.strategy, app.canary.steps.len()), (Strategy::BlueGreen, 3));
    }

    #[test]
    fn errors_name_file_line_and_the_way_out() {
        for (text, expected) in [
            ("\nimgae = \"x\"", "apps/web.toml:2: unknown key `imgae`, did you mean `image`?"),
            ("port = \"x\"", "apps/web.toml:1:"),
            ("port = 65536", "1 to 65535"),
            ("port = 0", "1 to 65535"),
            ("hosts = [\"a;b\"]", "is not allowed"),
            ("hosts = [\"Shop.platform\"]", "lower case"),
            ("replicas = -1", "apps/web.toml:1:"),
            ("replicas = 1000", "100 is the most"),
            ("[health]\ninterval = \"soon\"", "apps/web.toml:2:"),
            ("[canary]\nsteps = [50, 5]", "must rise"),
            ("[proxy]\nmax_head = \"2k\"", "4k to 1m"),
            ("[proxy]\nmax_head = \"0\"", "4k to 1m"),
            ("[health]\nhost = \"a b\"", "is not allowed"),
            ("[env]\nPATH = \"x\"", "set it in the image"),
            ("image = \"half", "apps/web.toml:1:"),
        ] {
            let error = parse_file("apps/web.toml", text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?} gave {error}");
        }
        let error = parse_file("apps/Web.toml", "").unwrap_err().to_string();
        assert!(error.contains("lower case"), "{error}");
    }
}
