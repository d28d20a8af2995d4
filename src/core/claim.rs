//! What a container asks for: which app it belongs to, at which version, port, hosts and paths.
//!
//! In: a [`Container`] with unchecked labels. Out: a [`Claim`]. Labels request, they do not command: a wrong
//! one is a problem of that container alone, named with its label, and the container gets no route. What we
//! started ourselves is known by app and version, which our proof covers; nothing else on it is read.

use std::sync::Arc;

use super::container::{Container, Owner, label};
use super::names::{AppName, HostName, PathPrefix, Port, Version, nearest};

/// Hosts and paths that one container may ask for.
pub const MOST_HOSTS: usize = 2_048;
pub const MOST_PATHS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It asks for nothing: a name in DNS, no route.
    None,
    /// It belongs to another platform on this machine and is left alone.
    Foreign,
    Instance(Instance),
    /// It asks for a route and gets none. The text names the label and what to write.
    Refused {
        reason: String,
        remedy: String,
    },
}

impl Claim {
    /// What it asks for in vain, beside what it is given.
    pub fn unusable(&self) -> &[String] {
        match self {
            Self::Instance(instance) => &instance.unusable,
            Self::None | Self::Foreign | Self::Refused { .. } => &[],
        }
    }
}

/// A container that is, or wants to be, an instance of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub app: AppName,
    /// `None` where neither label nor name tells: then it joins the stable release.
    pub version: Option<Version>,
    pub port: Option<Port>,
    /// Shared by whoever looks at them: there may be thousands.
    pub hosts: Arc<[HostName]>,
    pub paths: Vec<PathPrefix>,
    /// Entries of its lists that ask for nothing, each with the reason, where others beside them do.
    pub unusable: Vec<String>,
    /// Started by this platform, which may therefore stop it.
    pub managed: bool,
}

/// Reads a container's wish. `is_ours` tells that this platform started it. `declared` tells whether an app of that name is declared: then a container
/// named exactly so is that app, and `web-2` can be an app of its own.
pub fn read(container: &Container, is_ours: bool, owner: &Owner, declared: impl Fn(&str) -> bool) -> Claim {
    if is_ours {
        return own(container);
    }
    match container.label(label::OWNER) {
        Some(other) if other != &*owner.0 => return Claim::Foreign,
        _ => {}
    }
    match read_wish(container, declared) {
        Ok(Some(instance)) => Claim::Instance(instance),
        Ok(None) => Claim::None,
        Err((reason, remedy)) => Claim::Refused { reason, remedy },
    }
}

/// What we wrote when we started it. A gate names no app: it is no instance.
fn own(container: &Container) -> Claim {
    let app = container.label(label::APP).and_then(|app| AppName::parse(app).ok());
    let version = container.label(label::VERSION).and_then(|version| Version::parse(version).ok());
    match (app, version) {
        (Some(app), Some(version)) => Claim::Instance(Instance {
            app,
            version: Some(version),
            port: None,
            hosts: Arc::default(),
            paths: Vec::new(),
            unusable: Vec::new(),
            managed: true,
        }),
        (None, _) | (_, None) => Claim::None,
    }
}

/// So many unknown labels of one container are told.
const UNKNOWN: usize = 8;

/// Labels below `platformer.` that mean nothing, each with the one that was probably meant.
pub fn unknown_labels(container: &Container) -> Vec<(String, Option<&'static str>)> {
    let ours = container.labels.iter().filter(|(k, _)| k.starts_with(label::PREFIX));
    ours.filter(|(k, _)| !label::ALL.contains(&k.as_str()))
        .take(UNKNOWN)
        .map(|(k, _)| k.chars().take(80).collect::<String>())
        .map(|k| (k.clone(), nearest(&k, label::ALL)))
        .collect()
}

type Refusal = (String, String);

fn read_wish(container: &Container, declared: impl Fn(&str) -> bool) -> Result<Option<Instance>, Refusal> {
    let is_routed = match container.label(label::ROUTE) {
        Some("true") => true,
        Some("false") | None => false,
        Some(other) => {
            let other: String = other.chars().take(80).collect();
            let reason = format!("label {} is {other:?}, it is true or false", label::ROUTE);
            return Err((reason, format!("correct the label {} and start the container again", label::ROUTE)));
        }
    };
    let named = match container.label(label::APP) {
        Some(app) => Some((parse(label::APP, app, AppName::parse)?, None)),
        None if is_routed => {
            if is_made_up(&container.name) {
                return Ok(None);
            }
            let (app, version) = split_name(&container.name, declared);
            let app = AppName::parse(&app).map_err(|e| {
                (e.to_string(), format!("rename the container, or say the app with the label {}", label::APP))
            })?;
            Some((app, version))
        }
        None => None,
    };
    let Some((app, named_version)) = named else {
        return Ok(None);
    };
    let version = match container.label(label::VERSION) {
        Some(text) => Some(parse(label::VERSION, text, Version::parse)?),
        None if container.label(label::APP).is_some() => suffix_of(&container.name, app.as_str()),
        None => named_version,
    };
    let (hosts, bad_hosts) =
        list(container, label::HOST, MOST_HOSTS, |text| HostName::parse(&text.to_ascii_lowercase()))?;
    let (paths, bad_paths) = list(container, label::PATH, MOST_PATHS, |text| PathPrefix::parse(without_slash(text)))?;
    Ok(Some(Instance {
        app,
        version,
        port: container.label(label::PORT).map(|text| parse(label::PORT, text, Port::parse)).transpose()?,
        hosts: hosts.into(),
        paths,
        unusable: [bad_hosts, bad_paths].concat().into_iter().take(UNKNOWN).collect(),
        managed: false,
    }))
}

fn parse<T>(label: &str, text: &str, parser: fn(&str) -> Result<T, super::names::NameError>) -> Result<T, Refusal> {
    parser(text).map_err(|e| {
        (format!("label {label}: {e}"), format!("correct the label {label} and start the container again"))
    })
}

/// A path covers what is below it, with and without the slash.
fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path)
}

/// The entries of a comma-separated label that can be used, and why the others cannot; no label is no entry. Where none
/// can be used the label is refused: what it was to narrow down would be left open.
fn list<T>(
    container: &Container,
    name: &str,
    most: usize,
    parser: impl Fn(&str) -> Result<T, super::names::NameError>,
) -> Result<(Vec<T>, Vec<String>), Refusal> {
    let Some(text) = container.label(name) else { return Ok((Vec::new(), Vec::new())) };
    if text.len() > 8192 {
        let reason = format!("label {name} has more than the 8192 characters that are allowed");
        return Err((reason, format!("shorten the label {name}")));
    }
    if text.split(',').count() > most {
        let reason = format!("label {name} names {}, {most} are allowed", text.split(',').count());
        return Err((reason, format!("shorten the label {name}, or declare the app")));
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match parser(entry) {
            Ok(entry) => good.push(entry),
            Err(error) => bad.push(format!("label {name}: {error}")),
        }
    }
    if good.is_empty() {
        let reason = bad.into_iter().next().unwrap_or_else(|| format!("label {name} is empty"));
        return Err((reason, format!("correct the label {name} and start the container again")));
    }
    Ok((good, bad))
}

/// What Compose calls a container while it puts another in its place: `0123456789ab_shop-web-1`.
fn is_made_up(name: &str) -> bool {
    let is_id = |id: &str| id.len() == 12 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.split_once('_').is_some_and(|(id, rest)| is_id(id) && !rest.is_empty())
}

/// Splits a container's name into app and version: `shop-1.0.1` is `shop` at `1.0.1`, `shop-2` is `shop`.
/// Names are read in lower case with `_` as `-`, so that Compose's `shop_1` means the same.
fn split_name(name: &str, declared: impl Fn(&str) -> bool) -> (String, Option<Version>) {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    if declared(&plain) {
        return (plain, None);
    }
    // From the left, so that a version keeps its pre-release part: `shop-1.0.0-rc1`.
    for (at, _) in plain.match_indices('-') {
        let (app, suffix) = (&plain[..at], &plain[at + 1..]);
        let is_ordinal = !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_digit());
        if is_ordinal {
            return (app.to_owned(), None);
        }
        if Version::looks_like_version(suffix) {
            return (app.to_owned(), Version::parse(suffix).ok());
        }
    }
    (plain, None)
}

/// The version in a container's name where its app is known from a label.
fn suffix_of(name: &str, app: &str) -> Option<Version> {
    let suffix = name.strip_prefix(app)?.strip_prefix('-')?;
    Version::looks_like_version(suffix).then(|| Version::parse(suffix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::container;

    fn owner() -> Owner {
        Owner("me".into())
    }

    fn claim(name: &str, labels: &[(&str, &str)]) -> Claim {
        read(&container(name, labels), false, &owner(), |app| app == "web-2")
    }

    fn instance(name: &str, labels: &[(&str, &str)]) -> (String, Option<String>) {
        match claim(name, labels) {
            Claim::Instance(i) => (i.app.to_string(), i.version.map(|v| v.to_string())),
            other => panic!("{name} {labels:?} gave {other:?}"),
        }
    }

    #[test]
    fn a_name_tells_app_and_version() {
        let route = [(label::ROUTE, "true")];
        for (name, app, version) in [
            ("hello-world", "hello-world", None),
            ("hello-world-2", "hello-world", None),
            ("hello-world-1.0.1", "hello-world", Some("1.0.1")),
            ("hello-world-v2.0", "hello-world", Some("v2.0")),
            ("Proj_Web_1", "proj-web", None),
            ("web-2", "web-2", None),
            ("web-2-1", "web-2", None),
        ] {
            assert_eq!(instance(name, &route), (app.into(), version.map(str::to_owned)), "{name}");
        }
    }

    #[test]
    fn whether_it_is_routed_is_true_or_false() {
        assert_eq!(claim("shop", &[(label::ROUTE, "false")]), Claim::None);
        for other in ["", "True", "1", "yes", " true", "maybe"] {
            let Claim::Refused { reason, remedy } = claim("shop", &[(label::ROUTE, other)]) else {
                panic!("{other:?} is taken");
            };
            assert!(reason.contains(&format!("{other:?}")) && remedy.contains(label::ROUTE), "{reason}; {remedy}");
        }
    }

    #[test]
    fn labels_win_over_the_name() {
        assert_eq!(instance("x", &[(label::APP, "shop")]), ("shop".into(), None));
        assert_eq!(instance("shop-1.0", &[(label::APP, "shop")]), ("shop".into(), Some("1.0".into())));
        assert_eq!(
            instance("shop-1.0", &[(label::APP, "shop"), (label::VERSION, "2.0")]),
            ("shop".into(), Some("2.0".into()))
        );
    }

    #[test]
    fn without_a_label_nothing_is_asked_and_another_owner_is_left_alone() {
        assert_eq!(claim("db", &[]), Claim::None);
        assert_eq!(claim("db", &[(label::ROUTE, "false")]), Claim::None);
        assert_eq!(claim("0123456789ab_shop-web-1", &[(label::ROUTE, "true")]), Claim::None, "a name of Compose's");
        assert_eq!(instance("0123456789ab", &[(label::ROUTE, "true")]).0, "0123456789ab");
        assert_eq!(claim("a", &[(label::APP, "a"), (label::OWNER, "other")]), Claim::Foreign);
    }

    #[test]
    fn a_bad_label_is_refused_by_its_name() {
        let mega = "a".repeat(1 << 20);
        let (hosts, paths) = (vec!["a"; MOST_HOSTS + 1].join(","), vec!["/a"; MOST_PATHS + 1].join(","));
        for (name, value) in [
            (label::APP, ""),
            (label::APP, "Shop"),
            (label::APP, "a;b"),
            (label::APP, "repository"),
            (label::APP, mega.as_str()),
            (label::PORT, "0"),
            (label::PORT, "65536"),
            (label::PORT, "80;"),
            (label::VERSION, "../x"),
            (label::HOST, ","),
            (label::HOST, "a b"),
            (label::HOST, mega.as_str()),
            (label::HOST, hosts.as_str()),
            (label::PATH, paths.as_str()),
            (label::PATH, "/a b"),
            (label::PATH, "api"),
        ] {
            let labels =
                if name == label::APP { vec![(name, value)] } else { vec![(label::APP, "shop"), (name, value)] };
            match claim("c", &labels) {
                Claim::Refused { reason, .. } => {
                    assert!(
                        reason.contains(name) && reason.len() < 500,
                        "{name}: {}",
                        &reason[..reason.len().min(200)]
                    );
                }
                other => panic!("{name}={} gave {other:?}", &value[..value.len().min(20)]),
            }
        }
    }

    #[test]
    fn what_can_be_used_of_a_list_is_used_and_the_rest_is_told() {
        let labels = [
            (label::APP, "shop"),
            (label::HOST, "A.Example.com, b.example,,d.example:8080,"),
            (label::PATH, "/v2/,/a b"),
        ];
        let Claim::Instance(instance) = claim("c", &labels) else { panic!("it is refused") };
        let hosts: Vec<_> = instance.hosts.iter().map(HostName::as_str).collect();
        assert_eq!(
            (hosts, instance.paths),
            (vec!["a.example.com", "b.example"], vec![PathPrefix::parse("/v2").unwrap()])
        );
        assert_eq!(instance.unusable.len(), 2, "{:?}", instance.unusable);
        assert!(instance.unusable[0].contains("d.example:8080"), "{:?}", instance.unusable);
    }

    #[test]
    fn what_we_started_is_known_by_app_and_version_whatever_else_is_written_on_it() {
        let own = [(label::APP, "shop"), (label::VERSION, "1.0"), (label::OWNER, "me")];
        let bad = [(label::PORT, "http"), (label::HOST, "a b"), (label::PATH, "x"), (label::ROUTE, "?")];
        for name in ["shop-1.0-1", "renamed", "0123456789ab_shop-1.0-1"] {
            let labels: Vec<_> = own.into_iter().chain(bad).collect();
            match read(&container(name, &labels), true, &owner(), |_| false) {
                Claim::Instance(Instance { app, version, port: None, managed: true, .. }) => {
                    assert_eq!((app.as_str(), version.as_ref().map(Version::as_str)), ("shop", Some("1.0")));
                }
                other => panic!("{name} gave {other:?}"),
            }
        }
    }

    #[test]
    fn who_knows_our_owner_label_is_not_ours_by_that() {
        match claim("shop-1.0-9", &[(label::APP, "shop"), (label::VERSION, "1.0"), (label::OWNER, "me")]) {
            Claim::Instance(instance) => assert!(!instance.managed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_that_compose_made_up_is_no_app() {
        let route = [(label::ROUTE, "true")];
        assert_eq!(claim("0a1b2c3d4e5f_shop_web_1", &route), Claim::None);
        assert_eq!(instance("0a1b2c3d4e5f_shop_web_1", &[(label::APP, "shop")]), ("shop".into(), None));
        assert_eq!(instance("decade_shop_1", &route), ("decade-shop".into(), None));
    }

    #[test]
    fn an_unknown_label_finds_the_one_that_was_meant() {
        let c = container("c", &[("platformer.hots", "x"), ("other", "y")]);
        assert_eq!(unknown_labels(&c), [("platformer.hots".to_owned(), Some(label::HOST))]);
    }
}
