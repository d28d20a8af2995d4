//! The floors of the house: reads `src/` and refuses what would knot it.
//!
//! An import that goes up, a sibling import between adapters, a cycle between modules, a crate named on a floor
//! where it does not belong, a clock or a socket in core, a file over 400 lines, `unwrap` outside tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Floors from the ground up; a floor may import itself and what is below it.
const FLOORS: [&str; 5] = ["core", "ports", "adapters", "supervisor", "cli"];
/// Stands beside the floors: may import core, is imported by supervisor and cli.
const SETTINGS: &str = "settings";
const LONGEST: usize = 400;
/// Whole files behind `#[cfg(test)]`.
const TESTS: [&str; 11] = [
    "core/hostile.rs",
    "adapters/dns/tests.rs",
    "adapters/files/archive/tests.rs",
    "adapters/files/library/tests.rs",
    "adapters/http/images/archive/tests.rs",
    "adapters/nginx/tests.rs",
    "core/grants/tests.rs",
    "core/plan/routes/tests.rs",
    "core/simulation.rs",
    "core/testing.rs",
    "supervisor/fakes.rs",
];

/// Crates that may be named only below the given folders.
const CRATES: [(&str, &[&str]); 31] = [
    ("hyper", &["adapters/http"]),
    ("hyper_util", &["adapters/http"]),
    ("tokio", &["ports", "adapters", "supervisor", "cli"]),
    ("tera", &["core/render", "adapters/http/dashboard"]),
    ("plotters", &["adapters/http/dashboard/chart.rs"]),
    ("bollard", &["adapters/engine/docker"]),
    ("hickory_server", &["adapters/dns"]),
    ("socket2", &["adapters/dns"]),
    ("moka", &["adapters/dns"]),
    ("axum", &["adapters/http", "supervisor/boot.rs"]),
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
    ("url", &["core/service.rs", "adapters/http/consul", "adapters/http/webhooks.rs"]),
    ("reqwest", &["adapters/notices.rs", "adapters/sources", "adapters/http/callback.rs", "cli"]),
    ("rustls", &["cli/mod.rs"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("rpassword", &["cli/config.rs"]),
    ("nix", &["adapters", "supervisor", "cli/up.rs"]),
    ("tempfile", &["adapters", "supervisor", "cli"]),
    ("rustix", &["adapters/nginx/process.rs"]),
    ("sha2", &["core/digest.rs"]),
    ("tracing", &["adapters", "supervisor", "cli"]),
];

/// What core may not do: it has no clock, no file, no socket, no environment.
const NOT_IN_CORE: [&str; 7] =
    ["Timestamp::now", "Instant", "SystemTime", "std::fs", "std::env", "std::process", "TcpStream"];

struct Source {
    /// Below `src/`, such as `core/plan/zone.rs`.
    path: String,
    /// Without comments and without the `#[cfg(test)]` module at its end.
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.iter().map(|file| read(&root, file)).filter(|source| !TESTS.contains(&source.path.as_str())).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

fn read(root: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap();
    let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String = code.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    Source { path, code, lines: text.lines().count() }
}

/// The module of a file or import: the first two names, or three below `adapters/engine`.
fn module(path: &str) -> String {
    let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').filter(|p| *p != "mod").collect();
    parts.iter().take(2).copied().collect::<Vec<_>>().join("/")
}

/// Every `crate::a::b` in the code, as `a/b`; grouped imports count each member.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
        let parts: Vec<&str> = path.split("::").filter(|p| !p.is_empty()).collect();
        if path.ends_with("::") && parts.len() == 1 && rest[path.len()..].starts_with('{') {
            let group = rest[path.len() + 1..].split('}').next().unwrap_or_default();
            for member in group.split(',').map(str::trim).filter(|m| !m.is_empty()) {
                found.insert(format!("{}/{}", parts[0], member.split("::").next().unwrap_or_default()));
            }
        } else if !parts.is_empty() {
            found.insert(parts.iter().take(2).copied().collect::<Vec<_>>().join("/"));
        }
    }
    found
}

fn floor(path: &str) -> Option<usize> {
    let top = path.split('/').next().unwrap_or_default();
    FLOORS.iter().position(|f| *f == top)
}

/// Whether the code names a path into the crate; `String::new` names no crate `ring`.
fn names(code: &str, krate: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(&format!("{krate}::")).any(|(at, _)| !code[..at].ends_with(is_part))
}

fn violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        if source.lines > LONGEST {
            found.push(format!("{} has {} lines, {LONGEST} are allowed", source.path, source.lines));
        }
        for forbidden in [".unwrap()", "todo!", "unimplemented!", "dbg!"] {
            if source.code.contains(forbidden) {
                found.push(format!("{} uses {forbidden} outside tests", source.path));
            }
        }
        if source.path.starts_with("core/") {
            found.extend(
                NOT_IN_CORE
                    .iter()
                    .filter(|f| source.code.contains(**f))
                    .map(|f| format!("{} names {f}: core only thinks", source.path)),
            );
        }
        for (name, places) in CRATES {
            let named = names(&source.code, name) || source.code.contains(&format!("use {name};"));
            let qualified = source.code.contains(&format!("::{name}::"));
            if named && !qualified && !places.iter().any(|place| source.path.starts_with(place)) {
                found.push(format!("{} names the crate {name}, which belongs to {}", source.path, places.join(", ")));
            }
        }
        for import in imports(&source.code) {
            found.extend(check_import(&source.path, &import));
        }
    }
    found.extend(cycles(sources));
    found
}

fn check_import(path: &str, import: &str) -> Option<String> {
    let (own, target) = (module(path), import.to_owned());
    let refuse = |why: &str| Some(format!("{path} imports {target}: {why}"));
    if target.starts_with(SETTINGS) {
        let allowed = path.starts_with("supervisor/") || path.starts_with("cli/") || path.starts_with(SETTINGS);
        return if allowed { None } else { refuse("settings are for supervisor and cli; hand values down") };
    }
    if path.starts_with(SETTINGS) && !target.starts_with("core/") {
        return refuse("settings know only core");
    }
    let (Some(from), Some(to)) = (floor(path), floor(&target)) else { return None };
    if to > from {
        return refuse("imports go down only");
    }
    if FLOORS[from] == "adapters" && FLOORS[to] == "adapters" && own != target {
        return refuse("siblings never import each other; supervisor::boot joins them");
    }
    let joins = [
        "supervisor/boot.rs",
        "supervisor/watch.rs",
        "supervisor/doctor.rs",
        "supervisor/mod.rs",
        "supervisor/places.rs",
    ];
    if FLOORS[from] == "supervisor" && FLOORS[to] == "adapters" && !joins.contains(&path) {
        return refuse("only boot, watch and doctor build adapters");
    }
    if FLOORS[from] == "cli" && FLOORS[to] == "adapters" {
        return refuse("cli talks to the API, or to the supervisor");
    }
    None
}

/// Cycles between the second-level modules of each floor but core's mutually defined world and plan.
fn cycles(sources: &[Source]) -> Vec<String> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|s| floor(&s.path).is_some()) {
        let own = module(&source.path);
        let targets: Vec<_> = imports(&source.code).into_iter().filter(|t| *t != own && floor(t).is_some()).collect();
        graph.entry(own).or_default().extend(targets);
    }
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(at) = todo.pop() {
            for next in graph.get(&at).into_iter().flatten() {
                if next == to {
                    return true;
                }
                if seen.insert(next.clone()) {
                    todo.push(next.clone());
                }
            }
        }
        false
    };
    graph.keys().filter(|m| reaches(m, m)).map(|m| format!("{m} is part of an import cycle")).collect()
}

#[test]
fn the_floors_hold() {
    let found = violations(&sources());
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn planted_violations_are_found() {
    let source = |path: &str, code: &str| Source { path: path.into(), code: code.into(), lines: 1 };
    for (path, code, expected) in [
        ("core/app.rs", "use crate::ports::engine::Engine;", "imports go down only"),
        ("ports/kv.rs", "use crate::adapters::store::Store;", "imports go down only"),
        ("adapters/http/mod.rs", "use crate::adapters::dns::Names;", "siblings"),
        ("supervisor/reconcile.rs", "use crate::adapters::nginx::Nginx;", "only boot"),
        ("core/plan/x.rs", "let now = Timestamp::now();", "core only thinks"),
        ("core/plan/x.rs", "tokio::spawn(x);", "names the crate tokio"),
        ("supervisor/x.rs", "use bollard::Docker;", "names the crate bollard"),
        ("ports/x.rs", "x.unwrap();", "outside tests"),
        ("adapters/x.rs", "use crate::settings::Settings;", "hand values down"),
    ] {
        let found = violations(&[source(path, code)]).join("\n");
        assert!(found.contains(expected), "{path}: {code} gave {found:?}");
    }
    let knot = [source("core/a.rs", "use crate::core::b::B;"), source("core/b.rs", "use crate::core::a::A;")];
    assert!(violations(&knot).join("\n").contains("cycle"));
}
