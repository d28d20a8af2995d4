//! The floors of the house: reads `src/` and refuses what would knot it.
//!
//! An import that goes up, a sibling import between adapters, a circle between modules or files, a crate named on a
//! floor where it does not belong, a clock or a socket in core, a file over 400 lines, a function over 60 without a
//! word why, `unwrap` outside tests, and a table in ARCHITECTURE.md that tells of another house.

mod graph;
mod names;
mod rules;
mod source;

use std::collections::BTreeMap;

use rules::{untold, violations};
use source::{Source, read, sources};

#[test]
fn the_floors_hold() {
    let found = violations(&sources());
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_architecture_tells_of_the_rooms_that_there_are() {
    let found = untold(include_str!("../../ARCHITECTURE.md"), &sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn planted<const N: usize>(files: [(&str, &str); N]) -> Vec<Source> {
    read(&files.map(|(path, code)| (path.to_owned(), code.to_owned())).into())
}

#[test]
fn planted_violations_are_found() {
    let names = [
        ("core/mod.rs", "pub mod plan; pub mod app;"),
        ("core/app.rs", "pub struct App;"),
        ("ports/engine.rs", "pub trait Engine {}"),
        ("adapters/store/mod.rs", "pub struct Store;"),
        ("adapters/dns/mod.rs", "pub struct Names;"),
        ("adapters/nginx/mod.rs", "pub struct Nginx;"),
        ("settings.rs", "pub struct Settings;"),
    ];
    let long = format!("fn long() {{{}}}", "\n".repeat(61));
    for (path, code, expected) in [
        ("core/plan.rs", "use crate::ports::engine::Engine;", "imports go down only"),
        ("core/plan.rs", "use super::super::ports::engine::Engine;", "imports go down only"),
        ("core/plan.rs", "use crate::{core::{app::App}, ports::{engine::{Engine}}};", "imports go down only"),
        ("core/plan.rs", "fn f() { println!(\"{}\", crate::ports::engine::f()) }", "imports go down only"),
        ("core/plan.rs", "mod inner { use super::super::super::ports::engine::Engine; }", "imports go down only"),
        ("core/plan.rs", "#[cfg(test)] mod tests {} use crate::ports::engine::Engine;", "imports go down only"),
        ("ports/kv.rs", "use crate::adapters::store::Store;", "imports go down only"),
        ("adapters/http/mod.rs", "use crate::adapters::dns::Names;", "siblings"),
        ("adapters/http/mod.rs", "use super::dns; fn f(names: dns::Names) {}", "siblings"),
        ("supervisor/reconcile.rs", "use crate::adapters::nginx::Nginx;", "only boot"),
        ("core/plan.rs", "fn f() { let now = Timestamp::now(); }", "core only thinks"),
        ("core/plan.rs", "use std::{fs, fmt};", "core only thinks"),
        ("core/plan.rs", "fn f() { tokio::spawn(x); }", "names the crate tokio"),
        ("supervisor/x.rs", "use bollard::Docker;", "names the crate bollard"),
        ("ports/x.rs", "fn f() { x.unwrap(); }", "outside tests"),
        ("ports/x.rs", &long, "no comment that says why"),
        ("adapters/x.rs", "use crate::settings::Settings;", "hand values down"),
    ] {
        let mut files: BTreeMap<String, String> = names.map(|(p, c)| (p.to_owned(), c.to_owned())).into();
        files.insert(path.to_owned(), code.to_owned());
        let found = violations(&read(&files)).join("\n");
        assert!(found.contains(expected), "{path}: {code} gave {found:?}");
    }
}

#[test]
fn planted_circles_are_found_and_signposts_are_none() {
    for (a, b, c) in [
        ("use crate::core::b::B; pub struct A;", "use crate::core::a::A; pub struct B;", ""),
        ("use super::b; pub struct A(b::B);", "use super::a::A; pub struct B;", ""),
        ("use super::b::B; pub struct A;", "use super::c::C; pub struct B;", "use super::A; pub struct C;"),
    ] {
        let root = ("core/mod.rs", "mod a; mod b; mod c; pub use a::A;");
        let found = violations(&planted([root, ("core/a.rs", a), ("core/b.rs", b), ("core/c.rs", c)])).join("\n");
        assert!(found.contains("files in a circle: core/a.rs, core/b.rs"), "{a} {b} gave {found:?}");
    }
    let signpost =
        [("core/x/mod.rs", "mod y; pub use y::Y; pub struct X;"), ("core/x/y.rs", "use super::X; pub struct Y;")];
    assert_eq!(violations(&planted(signpost)), Vec::<String>::new());
    let user =
        [("core/x/mod.rs", "mod y; fn f() { y::g() } pub struct X;"), ("core/x/y.rs", "use super::X; pub fn g() {}")];
    assert!(violations(&planted(user)).join("\n").contains("files in a circle"));
}

#[test]
fn what_is_only_for_tests_is_seen_as_such() {
    let files = planted([
        ("core/x/mod.rs", "#[cfg(test)] mod tests; #[cfg(test)] mod more { use crate::ports::engine::Engine; }"),
        ("core/x/tests.rs", "use crate::ports::engine::Engine;"),
        ("ports/engine.rs", "pub trait Engine {}"),
    ]);
    assert_eq!(violations(&files), Vec::<String>::new());
}

#[test]
fn a_table_that_tells_of_another_house_is_found() {
    let files = planted([("core/plan/mod.rs", ""), ("core/world.rs", "")]);
    let rows = |core: &str| {
        let others = ["ports", "adapters", "supervisor", "cli"].map(|f| format!("| `{f}` | | |\n")).concat();
        format!("| `core` | {core} | `src/core/` |\n{others}")
    };
    assert_eq!(untold(&rows("`plan` and `world`"), &files), Vec::<String>::new());
    assert!(untold(&rows("`plan`"), &files).join("\n").contains("does not tell of core/world"));
    assert!(untold(&rows("`plan`, `world`, `zone`"), &files).join("\n").contains("core/zone, which is not there"));
}
