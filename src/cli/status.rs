//! `status`: one line per app, its instances if one is named, and everything that is wrong.

use clap::Args;
use serde_json::Value;

use super::Globals;
use super::client::Client;
use super::output::{self, Failure, coloured};

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
        output::table(&["APP", "STABLE", "CANDIDATE", "SPLIT", "READY", "HOSTS"], &rows)?;
    }
    let generation = &status["generation"];
    let live = generation["live"].as_u64().map_or("none".to_owned(), |n| n.to_string());
    let engine = match status["engine"]["state"].as_str() {
        Some("connected") => "connected".to_owned(),
        _ => format!("unknown since {}", text(&status["engine"]["since"])),
    };
    output::line(&format!(
        "\ndocker {engine} · nginx {} {} · generation {live} live",
        text(&status["nginx"]["version"]),
        text(&status["nginx"]["state"])
    ))?;
    for problem in status["problems"].as_array().into_iter().flatten() {
        let subject = coloured(&text(&problem["subject"]), 33);
        output::line(&format!(
            "! {subject}: {}\n    what helps: {}",
            text(&problem["reason"]),
            text(&problem["remedy"])
        ))?;
    }
    Ok(())
}

fn one(app: &Value) -> Result<(), Failure> {
    output::table(&["APP", "STABLE", "CANDIDATE", "SPLIT", "READY", "HOSTS"], &[row(app)])?;
    let instances = app["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = instances
        .iter()
        .map(|i| {
            vec![
                text(&i["name"]),
                text(&i["release"]),
                text(&i["address"]),
                text(&i["state"]),
                text(&i["since"]),
                text(&i["reason"]),
            ]
        })
        .collect();
    output::line("")?;
    output::table(&["INSTANCE", "RELEASE", "ADDRESS", "STATE", "SINCE", "REASON"], &rows)
}

fn row(app: &Value) -> Vec<String> {
    let split = app["split"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(version, share)| format!("{version}={share}"))
        .collect::<Vec<_>>();
    let hosts = app["hosts"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    vec![
        text(&app["name"]),
        text(&app["stable"]),
        text(&app["candidate"]),
        split.join(" "),
        format!("{}/{}", app["ready"], app["wanted"]),
        hosts.join(" "),
    ]
}

/// A JSON value as a cell; `null` is a dash. Control characters from outside are left out.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}
