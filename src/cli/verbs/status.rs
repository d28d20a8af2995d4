//! `status`: one line per app, its instances if one is named, and everything that is wrong.

use clap::Args;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure, Mark, cell};
use crate::cli::times::Times;

/// So many hosts of an app are listed.
const HOSTS: usize = 4;

#[derive(Debug, Args)]
pub struct Status {
    /// Only this app, with its instances
    app: Option<String>,
}

impl Status {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        match &self.app {
            Some(app) => {
                let status = client.get(&format!("/v1/apps/{}", crate::cli::content::segment(app))).await?;
                if globals.json { output::json(&status) } else { one(&status, globals.time) }
            }
            None => {
                let status = client.get("/v1/status").await?;
                if globals.json { output::json(&status) } else { all(&status, globals.time) }
            }
        }
    }
}

fn all(status: &Value, time: Times) -> Result<(), Failure> {
    let apps = status["apps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = apps.iter().map(row).collect();
    if rows.is_empty() {
        output::line(
            "no apps yet: put apps/NAME.toml into the repository, or start a container with the label platformer.app=NAME",
        )?;
    } else {
        output::table(&["APP", "STABLE", "CANDIDATE", "SPLIT", "MEASURED", "READY", "DEPLOYMENT", "HOSTS"], &rows)?;
    }
    let generation = &status["generation"];
    let live = generation["live"].as_u64().map_or("none".to_owned(), |n| n.to_string());
    let engine = match status["engine"]["state"].as_str() {
        Some("connected") => "connected".to_owned(),
        _ => time.sentence(&format!("unknown since {}", cell(&status["engine"]["since"]))),
    };
    output::line(&format!(
        "\ndocker {engine} · nginx {} {} · generation {live} live",
        cell(&status["nginx"]["version"]),
        cell(&status["nginx"]["state"])
    ))?;
    problems(status, time)
}

fn problems(status: &Value, time: Times) -> Result<(), Failure> {
    for problem in status["problems"].as_array().into_iter().flatten() {
        let text = |key: &str| time.sentence(&cell(&problem[key]));
        output::marked(Mark::Warning, &format!("{}: {}", text("subject"), text("reason")))?;
        output::line(&format!("    what helps: {}", text("remedy")))?;
    }
    Ok(())
}

/// That nginx does not serve yet, or cannot serve, what is wanted.
fn behind(generation: &Value) -> Option<String> {
    let (wanted, live) = (generation["wanted"].as_u64()?, generation["live"].as_u64());
    match live {
        Some(live) if live == wanted => None,
        Some(live) => Some(format!("nginx serves generation {live}, {wanted} is wanted and not live yet")),
        None => Some(format!("nginx serves no generation, {wanted} is wanted")),
    }
}

fn one(app: &Value, time: Times) -> Result<(), Failure> {
    output::table(&["APP", "STABLE", "CANDIDATE", "SPLIT", "MEASURED", "READY", "DEPLOYMENT", "HOSTS"], &[row(app)])?;
    output::line(&format!("\n{}", cell(&app["summary"])))?;
    if !app["pin"].is_null() {
        let name = cell(&app["name"]);
        output::line(&format!("held at {}; `platformer unpin {name}` lets it go", cell(&app["pin"])))?;
    }
    if !app["queued"].is_null() {
        let queued = cell(&app["queued"]);
        output::line(&format!("{queued} is queued behind {}", cell(&app["deployment"]["id"])))?;
    }
    let source = &app["source"];
    let said = source["notes"].as_array().into_iter().chain(source["errors"].as_array()).flatten();
    said.map(cell).try_for_each(|note| output::line(&note))?;
    let instances = app["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = instances
        .iter()
        .map(|i| {
            vec![
                cell(&i["name"]),
                cell(&i["release"]),
                cell(&i["address"]),
                cell(&i["state"]),
                time.cell(&i["since"]),
                time.sentence(&cell(&i["reason"])),
            ]
        })
        .collect();
    output::line("")?;
    output::table(&["INSTANCE", "RELEASE", "ADDRESS", "STATE", "SINCE", "REASON"], &rows)?;
    if let Some(behind) = behind(&app["generation"]) {
        output::line(&format!("\n{behind}"))?;
    }
    problems(app, time)
}

fn row(app: &Value) -> Vec<String> {
    let shares = |key: &str| {
        let shares = app[key].as_object().into_iter().flatten();
        let text = shares.map(|(version, share)| format!("{version}={share}")).collect::<Vec<_>>().join(" ");
        if text.is_empty() { "-".to_owned() } else { text }
    };
    let deployment = match &app["deployment"] {
        Value::Null => "-".to_owned(),
        d => [cell(&d["state"]), d["step"].as_str().unwrap_or_default().to_owned()].join(" ").trim_end().to_owned(),
    };
    let ready = [format!("{}/{}", app["ready"], app["wanted"]), beyond(app)].join(" ");
    let ready = ready.trim_end().to_owned();
    vec![
        cell(&app["name"]),
        cell(&app["stable"]),
        cell(&app["candidate"]),
        shares("split"),
        shares("measured"),
        if app["maintenance"] == true { format!("{ready} maintenance") } else { ready },
        deployment,
        hosts(app),
    ]
}

/// The first of its hosts: a label may list thousands, and the table is everybody's.
fn hosts(app: &Value) -> String {
    let all = app["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = all.iter().take(HOSTS).map(cell).collect::<Vec<_>>().join(" ");
    match all.len().saturating_sub(HOSTS) {
        0 => first,
        more => format!("{first} (and {more} more, see --json)"),
    }
}

/// Why more are ready than are wanted: `1 by hand`, `2 of 1.0.1`, `1 leaving`.
fn beyond(app: &Value) -> String {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let over = count(&app["ready"]).saturating_sub(count(&app["wanted"]));
    let ready = || app["instances"].as_array().into_iter().flatten().filter(|i| i["state"] == "ready");
    let by_hand = (ready().filter(|i| i["managed"] == false).count() as u64).min(over);
    let of_candidate = match app["candidate"].as_str() {
        Some(version) => (ready().filter(|i| i["release"] == version && i["managed"] == true).count() as u64, version),
        None => (0, ""),
    };
    let of_candidate = (of_candidate.0.min(over - by_hand), of_candidate.1);
    // What is ready beside stable once nothing moves any more stays, to be swapped back to.
    let is_over = app["deployment"].is_null() || !app["deployment"]["ended_at"].is_null();
    let is_other = |i: &&Value| i["release"] != app["stable"] && i["release"] != app["candidate"];
    let is_warm = |i: &&Value| is_over && i["managed"] == true && is_other(i);
    let warm = (ready().filter(is_warm).count() as u64).min(over - by_hand - of_candidate.0);
    let leaving = over - by_hand - of_candidate.0 - warm;
    let parts = [
        (warm, format!("{warm} kept warm")),
        (by_hand, format!("{by_hand} by hand")),
        (of_candidate.0, format!("{} of {}", of_candidate.0, of_candidate.1)),
        (leaving, format!("{leaving} leaving")),
    ];
    let said: Vec<String> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    if said.is_empty() { String::new() } else { format!("({})", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_app_of_many_hosts_leaves_room_for_the_others() {
        let app = |count: usize| json!({ "hosts": (0..count).map(|n| format!("h{n}.test")).collect::<Vec<_>>() });
        assert_eq!(hosts(&app(2)), "h0.test h1.test");
        assert_eq!(hosts(&app(10_000)), "h0.test h1.test h2.test h3.test (and 9996 more, see --json)");
    }

    #[test]
    fn more_than_are_wanted_are_explained() {
        let instance =
            |release: &str, managed: bool| json!({ "release": release, "managed": managed, "state": "ready" });
        let app = |instances: Vec<Value>, candidate: Value| json!({ "ready": instances.len(), "wanted": 2, "stable": "1.0.0", "candidate": candidate, "instances": instances });
        let [ours, new, foreign] = [instance("1.0.0", true), instance("1.0.1", true), instance("1.0.0", false)];
        for (instances, candidate, expected) in [
            (vec![ours.clone(), ours.clone()], Value::Null, ""),
            (vec![ours.clone(), ours.clone(), foreign.clone()], Value::Null, "(1 by hand)"),
            (vec![ours.clone(), foreign.clone()], Value::Null, ""),
            (vec![ours.clone(), ours.clone(), new.clone(), new.clone()], json!("1.0.1"), "(2 of 1.0.1)"),
            (vec![ours.clone(), ours.clone(), ours.clone()], Value::Null, "(1 leaving)"),
            (vec![ours.clone(), ours.clone(), new.clone()], Value::Null, "(1 kept warm)"),
            (vec![ours.clone(), ours, foreign, new], json!("1.0.1"), "(1 by hand, 1 of 1.0.1)"),
        ] {
            assert_eq!(beyond(&app(instances.clone(), candidate)), expected, "{instances:?}");
        }
    }
}
