//! `status`: one line per app, its instances if one is named, and everything that is wrong.

use clap::Args;
use serde_json::Value;

use super::Globals;
use super::client::Client;
use super::output::{self, Failure, cell, coloured};

#[derive(Debug, Args)]
pub struct Status {
    /// Only this app, with its instances
    app: Option<String>,
}

impl Status {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        match &self.app {
            Some(app) => {
                let status = client.get(&format!("/v1/apps/{}", super::content::segment(app))).await?;
                if globals.json { output::json(&status) } else { one(&status) }
            }
            None => {
                let status = client.get("/v1/status").await?;
                if globals.json { output::json(&status) } else { all(&status) }
            }
        }
    }
}

fn all(status: &Value) -> Result<(), Failure> {
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
        _ => format!("unknown since {}", cell(&status["engine"]["since"])),
    };
    output::line(&format!(
        "\ndocker {engine} · nginx {} {} · generation {live} live",
        cell(&status["nginx"]["version"]),
        cell(&status["nginx"]["state"])
    ))?;
    for problem in status["problems"].as_array().into_iter().flatten() {
        let subject = coloured(&cell(&problem["subject"]), 33);
        output::line(&format!(
            "! {subject}: {}\n    what helps: {}",
            cell(&problem["reason"]),
            cell(&problem["remedy"])
        ))?;
    }
    Ok(())
}

fn one(app: &Value) -> Result<(), Failure> {
    output::table(&["APP", "STABLE", "CANDIDATE", "SPLIT", "MEASURED", "READY", "DEPLOYMENT", "HOSTS"], &[row(app)])?;
    output::line(&format!("\n{}", cell(&app["summary"])))?;
    if !app["pin"].is_null() {
        output::line(&format!("held at {}; `platformer unpin` lets it go", cell(&app["pin"])))?;
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
                cell(&i["since"]),
                cell(&i["reason"]),
            ]
        })
        .collect();
    output::line("")?;
    output::table(&["INSTANCE", "RELEASE", "ADDRESS", "STATE", "SINCE", "REASON"], &rows)
}

fn row(app: &Value) -> Vec<String> {
    let shares = |key: &str| {
        let shares = app[key].as_object().into_iter().flatten();
        let text = shares.map(|(version, share)| format!("{version}={share}")).collect::<Vec<_>>().join(" ");
        if text.is_empty() { "-".to_owned() } else { text }
    };
    let hosts = app["hosts"].as_array().into_iter().flatten().map(cell).collect::<Vec<_>>();
    let deployment = match &app["deployment"] {
        Value::Null => "-".to_owned(),
        d => [cell(&d["state"]), d["step"].as_str().unwrap_or_default().to_owned()].join(" ").trim_end().to_owned(),
    };
    let ready = format!("{}/{}", app["ready"], app["wanted"]);
    vec![
        cell(&app["name"]),
        cell(&app["stable"]),
        cell(&app["candidate"]),
        shares("split"),
        shares("measured"),
        if app["maintenance"] == true { format!("{ready} maintenance") } else { ready },
        deployment,
        hosts.join(" "),
    ]
}
