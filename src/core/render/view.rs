//! What a template sees: plain values made from routes, nothing else.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::split::Split;
use super::upstream::upstream_name;
use crate::core::app::{Proxy, Size, StickyMode};
use crate::core::grants::own_hosts;
use crate::core::names::{AppName, Domain, HostName, PathPrefix, Version};
use crate::core::routes::{AppRoute, Outside, Routes};

/// What a generation stands in: the same for all generations of one supervisor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frame {
    pub domain: Domain,
    pub listen: Listeners,
    /// The socket on which nginx asks the supervisor; `None` in watch mode, which has none.
    pub supervisor: Option<String>,
    /// The socket on which nginx tells its generation; `None` for an nginx that somebody else runs.
    pub status: Option<String>,
    pub features: Features,
    pub folder: String,
    pub user: Option<String>,
    pub workers: String,
    pub open_files: u64,
    pub connections: u64,
    /// Whether the whole `http {}` is ours; in somebody else's nginx we add servers and nothing else.
    pub owns_http: bool,
    /// Requests that one address may have under way; 0: any number.
    pub each: u32,
    /// Networks of proxies that are believed what they say of their clients, such as `10.0.0.0/8`.
    pub trusted: Vec<String>,
    /// Whose signatures the certificates of registered services must have, if they are checked.
    pub services_ca: Option<String>,
}

impl Frame {
    /// Equal for equal frames, also over restarts of the same build.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listeners {
    pub http: Vec<SocketAddr>,
    /// Where registered services are found without the name of their host.
    pub services: Option<SocketAddr>,
}

/// What the nginx at hand understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Features {
    /// `keepalive_min_timeout`, from 1.27.4 on: no request is lost when idle connections close at a reload.
    pub keepalive_min_timeout: bool,
    /// `$request_port` and `$is_request_port`, from 1.29.3 on: the port that a request names, wherever it does so.
    pub request_port: bool,
}

/// Longer than this no container is waited for to accept a connection: after a second the kernel sends its first packet
/// again, and who has the address by then may be another.
const CONNECT: Duration = Duration::from_millis(900);
/// A request that fails within this may be passed on to another instance: a little more than connecting may take.
const PASSED_ON: Duration = Duration::from_millis(1500);

/// Requests with a large body that one address may have under way, and all together: nginx keeps each on the disk.
const LARGE_OF_ONE: u32 = 64;
const LARGE: u32 = 256;

/// Requests that one host may have under way: three quarters of all there is room for, of which each takes two
/// connections.
fn of_one_host(frame: &Frame) -> u64 {
    let workers = frame.workers.parse().unwrap_or(1);
    (frame.connections.saturating_mul(workers) * 3 / 8).max(1)
}

/// What apps are told of a request, as nginx expressions.
#[derive(Serialize)]
struct Sent {
    /// The authority that it was sent to.
    host: &'static str,
    /// Whom the connection is from.
    peer: &'static str,
    forwarded_for: &'static str,
    forwarded_host: &'static str,
    proto: &'static str,
    /// Headers that say the same as those above, or more, and that apps believe: nobody's word for it is passed on.
    dropped: [&'static str; 14],
}

/// What the three of `X-Forwarded-For`, `-Proto` and `-Host` say is said by these too, in other products' words: rack
/// reads `-Ssl` and `-Scheme` first, Spring `-Port` and `-Prefix`, Symfony `X-Original-URL`.
const DROPPED: [&str; 14] = [
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-Protocol",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Scheme",
    "X-Url-Scheme",
    "Front-End-Https",
    "X-Original-Host",
    "X-Original-URL",
    "X-Original-URI",
    "X-Rewrite-URL",
];

impl Sent {
    fn new(frame: &Frame) -> Self {
        let host = match frame.features.request_port {
            true => "$host$is_request_port$request_port",
            false => "$platformer_host",
        };
        let peer = if frame.owns_http { "$realip_remote_addr" } else { "$remote_addr" };
        match frame.trusted.is_empty() {
            true => {
                let forwarded_for = "$proxy_add_x_forwarded_for";
                Self { host, peer, forwarded_for, forwarded_host: host, proto: "$scheme", dropped: DROPPED }
            }
            false => Self {
                host,
                peer,
                forwarded_for: "$platformer_forwarded_for",
                forwarded_host: "$platformer_forwarded_host",
                proto: "$platformer_proto",
                dropped: DROPPED,
            },
        }
    }
}

#[derive(Serialize)]
pub(super) struct View<'a> {
    generation: u64,
    frame: &'a Frame,
    upstreams: Vec<Upstream<'a>>,
    splits: Vec<Split<'a>>,
    /// Whether any app knows its visitors again.
    visitors: bool,
    servers: Vec<Server<'a>>,
    sent: Sent,
    /// The largest head of a request that any app takes.
    max_head: String,
    passed_on_within_ms: u128,
    large_of_one: u32,
    large: u32,
    of_one_host: u64,
    /// Hosts at which there would be candidates.
    without_candidate: Vec<String>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    app: &'a AppName,
    name: String,
    servers: Vec<SocketAddr>,
    /// Each visitor stays with one instance.
    by_visitor: bool,
    keepalive: usize,
}

/// One nginx `server {}`: hosts that share the same locations.
#[derive(Serialize)]
struct Server<'a> {
    hosts: Vec<String>,
    locations: Vec<Location<'a>>,
    /// The host of the registry, with a location per service.
    is_registry: bool,
    /// No location covers `/`: what is left over is a 404.
    needs_root: bool,
}

#[derive(Clone, Serialize)]
struct Location<'a> {
    app: &'a AppName,
    path: &'a PathPrefix,
    /// What goes between `location` and `{`: a prefix covers whole segments only.
    matches: Vec<String>,
    /// The prefix as a regular expression, where the app does not want to see it.
    strip: Option<String>,
    /// An upstream's name, or the variable that holds it; `None`: no instance is ready.
    upstream: Option<String>,
    /// The variable with the cookie that a new visitor is given.
    cookie: Option<String>,
    maintenance: bool,
    /// Whether its requests are counted for the release: those to the app's own hosts are.
    counted: bool,
    max_body: &'a str,
    connect_timeout_ms: u128,
    read_timeout_ms: u128,
    buffering: bool,
    max_head: &'a str,
    /// A registered service is asked for its own host, perhaps over TLS.
    outside: Option<&'a Outside>,
}

impl<'a> Location<'a> {
    /// A path of an app with nothing behind it yet.
    fn new(app: &'a AppName, route: &'a AppRoute, path: &'a PathPrefix, strip: bool) -> Self {
        Self {
            app,
            path,
            matches: match path.is_root() {
                true => vec!["/".to_owned()],
                false => vec![format!("= {path}"), format!("{path}/")],
            },
            // Of the characters that a prefix may have only the dot means something else there.
            strip: (strip && !path.is_root()).then(|| path.as_str().replace('.', "\\.")),
            upstream: None,
            cookie: None,
            maintenance: false,
            counted: false,
            max_body: route.proxy.max_body.as_str(),
            connect_timeout_ms: match route.outside {
                Some(_) => route.proxy.connect_timeout,
                None => route.proxy.connect_timeout.min(CONNECT),
            }
            .as_millis(),
            read_timeout_ms: route.proxy.read_timeout.as_millis(),
            buffering: route.proxy.buffering,
            max_head: route.proxy.max_head.as_str(),
            outside: route.outside.as_ref(),
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn new(generation: u64, frame: &'a Frame, routes: &'a Routes) -> Self {
        let splits: Vec<_> = routes.apps.iter().filter_map(|(app, route)| Split::new(app, route)).collect();
        let upstreams = upstreams(routes);
        let visitors = splits.iter().any(|s| s.visitor_cookie) || upstreams.iter().any(|u| u.by_visitor);
        let heads = routes.apps.values().map(|route| route.proxy.max_head.clone());
        let largest = heads.chain([Proxy::default().max_head]).max_by_key(Size::bytes);
        Self {
            generation,
            frame,
            sent: Sent::new(frame),
            max_head: largest.map(|size| size.to_string()).unwrap_or_default(),
            passed_on_within_ms: PASSED_ON.as_millis(),
            large_of_one: LARGE_OF_ONE,
            large: LARGE,
            of_one_host: of_one_host(frame),
            visitors,
            upstreams,
            splits,
            servers: servers(routes, frame),
            without_candidate: without_candidate(routes),
        }
    }
}

fn upstreams(routes: &Routes) -> Vec<Upstream<'_>> {
    let mut upstreams = Vec::new();
    for (app, route) in &routes.apps {
        let by_visitor = route.sticky.mode == StickyMode::Instance;
        let mut add = |name: String, servers: Vec<SocketAddr>| {
            if !servers.is_empty() {
                // Idle connections kept per worker: with fewer than are open under load the gain is lost.
                let keepalive = (servers.len() * 32).clamp(64, 512);
                upstreams.push(Upstream { app, name, by_visitor: by_visitor && servers.len() > 1, servers, keepalive });
            }
        };
        for (version, servers) in &route.releases {
            add(upstream_name(app, version), servers.clone());
        }
        if route.shared {
            add(shared_name(app), route.main());
        }
    }
    upstreams
}

/// The release behind an upstream's name; `None` for what is none.
pub fn release_of(upstream: &str) -> Option<(AppName, Version)> {
    let (app, version) = upstream.strip_prefix("app.")?.split_once('.')?;
    let mut text = String::with_capacity(version.len());
    let mut rest = version.chars();
    while let Some(c) = rest.next() {
        match c {
            '_' => text.extend(rest.next().map(|c| c.to_ascii_uppercase())),
            c => text.push(c),
        }
    }
    Some((AppName::parse(app).ok()?, Version::parse(&text).ok()?))
}

fn shared_name(app: &AppName) -> String {
    format!("app.{app}")
}

fn servers<'a>(routes: &'a Routes, frame: &Frame) -> Vec<Server<'a>> {
    let registry = own_hosts("services", &frame.domain);
    let mut by_host: BTreeMap<HostName, Vec<Location<'a>>> = BTreeMap::new();
    for (app, route) in &routes.apps {
        let split = Split::new(app, route);
        let main = main_upstream(app, route);
        for (host, upstream, is_main) in addresses(app, route, main.as_ref()) {
            // Where nothing is chosen between, stable's address is one more host of the app.
            let is_like_main = is_main || (split.is_none() && !route.maintenance && upstream == main);
            let choice = split.as_ref().filter(|_| is_main && upstream.is_some());
            let upstream = choice.map(Split::chosen).or(upstream);
            let locations = route.granted.paths().iter().map(|path| Location {
                upstream: upstream.clone(),
                cookie: choice.and_then(|s| s.cookie.clone()).or_else(|| {
                    let several = route.releases.values().any(|instances| instances.len() > 1);
                    let sticky = route.sticky.mode == StickyMode::Instance && several && is_main && upstream.is_some();
                    sticky.then(|| "platformer_new_visitor".to_owned())
                }),
                maintenance: route.maintenance && is_main,
                counted: is_like_main,
                ..Location::new(app, route, path, route.strip_prefix)
            });
            by_host.entry(host.clone()).or_default().extend(locations);
        }
    }
    if frame.supervisor.is_some() {
        let below = of_registry(routes);
        by_host.extend(registry.iter().map(|host| (host.clone(), below.clone())));
    }
    let mut servers: Vec<Server<'a>> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    for (host, locations) in by_host {
        let key = locations
            .iter()
            .map(|l| format!("{}{}{:?}{:?}{}{}", l.app, l.path, l.upstream, l.cookie, l.counted, l.maintenance))
            .collect::<Vec<_>>()
            .join("\0");
        match index.get(&key) {
            Some(at) => servers[*at].hosts.push(host.to_string()),
            None => {
                index.insert(key, servers.len());
                let is_registry = registry.contains(&host);
                let needs_root = !is_registry && !locations.iter().any(|l| l.path.is_root());
                servers.push(Server { hosts: vec![host.to_string()], locations, is_registry, needs_root });
            }
        }
    }
    servers
}

/// Every registered service below its own prefix.
fn of_registry(routes: &Routes) -> Vec<Location<'_>> {
    let services = routes.apps.iter().filter_map(|(name, route)| Some((name, route, route.outside.as_ref()?)));
    services
        .map(|(app, route, outside)| Location {
            upstream: (!route.releases.is_empty()).then(|| shared_name(app)),
            ..Location::new(app, route, &outside.prefix, true)
        })
        .collect()
}

/// Every host that an app was given with the upstream behind it, and whether it is one of its own: else it is the
/// address of a single release.
fn addresses<'r>(
    app: &AppName,
    route: &'r AppRoute,
    main: Option<&String>,
) -> impl Iterator<Item = (&'r HostName, Option<String>, bool)> {
    let single = |hosts: &'r [HostName], version: Option<&Version>| {
        let upstream = upstream_of(app, route, version);
        hosts.iter().map(move |host| (host, upstream.clone(), false))
    };
    let candidate = if route.candidate.is_some() { route.granted.candidate() } else { &[] };
    let own = route.granted.hosts().iter().map(|host| (host, main.cloned(), true));
    let stable = single(route.granted.stable(), route.stable.as_ref());
    own.chain(stable).chain(single(candidate, route.candidate.as_ref())).collect::<Vec<_>>().into_iter()
}

/// The addresses at which there would be candidates. One server answers at all of them: each that nginx has to read
/// makes every switch slower.
fn without_candidate(routes: &Routes) -> Vec<String> {
    let without = routes.apps.values().filter(|route| route.candidate.is_none());
    without.flat_map(|route| route.granted.candidate()).map(HostName::to_string).collect()
}

fn main_upstream(app: &AppName, route: &AppRoute) -> Option<String> {
    match route.shared {
        true => (!route.releases.is_empty()).then(|| shared_name(app)),
        false => route.split.carriers().find_map(|(version, _)| upstream_of(app, route, Some(version))),
    }
}

fn upstream_of(app: &AppName, route: &AppRoute, version: Option<&Version>) -> Option<String> {
    let version = version.filter(|v| route.releases.contains_key(*v))?;
    Some(upstream_name(app, version))
}
