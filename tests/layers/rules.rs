//! What the house does not allow.

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::names::Index;
use crate::source::Source;

/// Floors from the ground up; a floor may import itself and what is below it.
pub const FLOORS: [&str; 5] = ["core", "ports", "adapters", "supervisor", "cli"];
/// Stands beside the floors: may import core, is imported by supervisor and cli.
const SETTINGS: &str = "settings";
const LONGEST: usize = 400;
/// The only room of the supervisor that knows adapters.
const JOINS: &str = "supervisor/boot/";

/// Crates that may be named only below the given places.
const CRATES: [(&str, &[&str]); 31] = [
    ("hyper", &["adapters/http"]),
    ("hyper_util", &["adapters/http"]),
    ("tokio", &["ports", "adapters", "supervisor", "cli"]),
    ("tera", &["core/render", "adapters/http/page.rs"]),
    ("plotters", &["adapters/http/dashboard/chart.rs"]),
    ("bollard", &["adapters/engine/docker"]),
    ("hickory_server", &["adapters/dns"]),
    ("socket2", &["adapters/dns"]),
    ("moka", &["adapters/dns"]),
    ("axum", &["adapters/http"]),
    ("http_range_header", &["adapters/http"]),
    ("prometheus_client", &["adapters/http"]),
    ("utoipa", &["adapters/http"]),
    ("base64", &["adapters/http", "adapters/seal.rs"]),
    ("ring", &["adapters/seal.rs"]),
    ("rusqlite", &["adapters/store"]),
    ("notify", &["adapters/files"]),
    ("walkdir", &["adapters/files"]),
    ("oci_client", &["adapters/sources"]),
    ("docker_credential", &["adapters/sources", "adapters/engine/docker"]),
    ("url", &["core/service.rs", "adapters/http/consul", "adapters/http/webhooks"]),
    ("reqwest", &["adapters/notices.rs", "adapters/sources", "adapters/http/webhooks", "cli"]),
    ("rustls", &["cli/command.rs"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("rpassword", &["cli/verbs/config.rs"]),
    ("nix", &["adapters", "supervisor", "cli/verbs/up.rs"]),
    ("tempfile", &["adapters", "supervisor", "cli"]),
    ("rustix", &["adapters/nginx/process.rs"]),
    ("sha2", &["core/digest.rs"]),
    ("tracing", &["adapters", "supervisor", "cli"]),
];

/// What core may not do: it has no clock, no file, no socket, no environment.
const NOT_IN_CORE: [&str; 7] =
    ["Timestamp::now", "Instant", "SystemTime", "std::fs", "std::env", "std::process", "TcpStream"];

/// Each with the file, what it does and why that is refused.
pub fn violations(sources: &[Source]) -> Vec<String> {
    let index = Index::new(sources);
    let (mut found, mut files, mut rooms) = (Vec::new(), Graph::default(), Graph::default());
    for source in sources.iter().filter(|source| !source.is_test) {
        found.extend(alone(source));
        let crates = index.crates(source);
        for (name, places) in CRATES {
            if crates.contains(name) && !places.iter().any(|place| source.path.starts_with(place)) {
                found.push(format!("{} names the crate {name}, which belongs to {}", source.path, places.join(", ")));
            }
        }
        for (target, what) in index.needs(source) {
            found.extend(imports(&source.path, target));
            files.add(&source.path, target, what);
            if floor(&source.path).is_some() && floor(target).is_some() {
                rooms.add(&room(&source.path), &room(target), what);
            }
        }
    }
    found.extend(rooms.circles().iter().map(|circle| format!("modules in a circle: {circle}")));
    found.extend(files.circles().iter().map(|circle| format!("files in a circle: {circle}")));
    found
}

/// What can be seen in a file alone.
fn alone(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut found = Vec::new();
    if source.lines > LONGEST {
        found.push(format!("{path} has {} lines, {LONGEST} are allowed", source.lines));
    }
    for (name, lines) in &source.long {
        found.push(format!("{path}: {name} has {lines} lines and no comment that says why"));
    }
    let code = source.code.replace(' ', "");
    for forbidden in [".unwrap()", "todo!", "unimplemented!", "dbg!"] {
        if code.contains(forbidden) {
            found.push(format!("{path} uses {forbidden} outside tests"));
        }
    }
    if path.starts_with("core/") {
        let named = NOT_IN_CORE.iter().filter(|name| is_named(source, name));
        found.extend(named.map(|name| format!("{path} names {name}: core only thinks")));
    }
    found
}

/// Whether an import or a path in the code has these names in a row.
fn is_named(source: &Source, names: &str) -> bool {
    let names: Vec<&str> = names.split("::").collect();
    let mut all = source.modules.iter().flat_map(|m| m.imports.iter().map(|import| &import.path).chain(&m.paths));
    all.any(|path| path.windows(names.len()).any(|window| window == names))
}

fn imports(path: &str, target: &str) -> Option<String> {
    let refuse = |why: &str| Some(format!("{path} imports {target}: {why}"));
    if target.starts_with(SETTINGS) {
        let allowed = ["supervisor/", "cli/", SETTINGS].iter().any(|place| path.starts_with(place));
        return if allowed { None } else { refuse("settings are for supervisor and cli; hand values down") };
    }
    if path.starts_with(SETTINGS) && !target.starts_with("core/") {
        return refuse("settings know only core");
    }
    let (from, to) = (floor(path)?, floor(target)?);
    if to > from {
        return refuse("imports go down only");
    }
    match (FLOORS[from], FLOORS[to]) {
        ("adapters", "adapters") if room(path) != room(target) => {
            refuse("siblings never import each other; supervisor::boot joins them")
        }
        ("supervisor", "adapters") if !path.starts_with(JOINS) => refuse("only boot builds adapters"),
        ("cli", "adapters") => refuse("cli talks to the API, or to the supervisor"),
        _ => None,
    }
}

fn floor(path: &str) -> Option<usize> {
    let (top, _) = path.split_once('/')?;
    FLOORS.iter().position(|floor| *floor == top)
}

/// The first two names of a file's module: `core/plan/zone.rs` is part of `core/plan`.
pub fn room(path: &str) -> String {
    let parts = path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod");
    parts.take(2).collect::<Vec<_>>().join("/")
}

/// What ARCHITECTURE.md's table of floors says and the folders do not, and the other way round.
pub fn untold(architecture: &str, sources: &[Source]) -> Vec<String> {
    let rooms: BTreeSet<String> = sources
        .iter()
        .filter(|source| !source.is_test && floor(&source.path).is_some())
        .map(|source| room(&source.path))
        .filter(|room| room.contains('/'))
        .collect();
    let mut found = Vec::new();
    for floor in FLOORS {
        let Some(row) = architecture.lines().find(|line| line.starts_with(&format!("| `{floor}` |"))) else {
            found.push(format!("ARCHITECTURE.md's table has no row for {floor}"));
            continue;
        };
        let told: BTreeSet<&str> = row.split('`').skip(3).step_by(2).collect();
        let below = format!("{floor}/");
        let named = |told: &str| told.trim_end_matches("::").split(['/', ':']).next().unwrap_or_default().to_owned();
        // One file a verb, or a trait: those speak for themselves.
        if floor != "cli" && floor != "ports" {
            let there = rooms.iter().filter_map(|room| room.strip_prefix(&below));
            let missing = there.filter(|room| !told.iter().any(|name| named(name) == *room));
            found.extend(missing.map(|room| format!("ARCHITECTURE.md does not tell of {floor}/{room}")));
        }
        for name in told
            .iter()
            .filter(|name| !name.starts_with("src/") && name.chars().all(|c| c.is_lowercase() || c == '_' || c == '/'))
        {
            let stands = |source: &&Source| {
                let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
                path == format!("{floor}/{name}") || path.starts_with(&below) && path.ends_with(&format!("/{name}"))
            };
            if !sources.iter().any(|source| stands(&source)) {
                found.push(format!("ARCHITECTURE.md tells of {floor}/{name}, which is not there"));
            }
        }
    }
    found
}
