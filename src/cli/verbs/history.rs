//! `history`, `releases`, `diff`: what was done, what there is, and what differs.

use clap::Args;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure, cell};

#[derive(Debug, Args)]
pub struct History {
    app: String,
    /// How many entries, newest first
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

impl History {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let entries = client.get(&format!("/v1/apps/{}/history?limit={}", segment(&self.app), self.limit)).await?;
        if globals.json {
            return output::json(&entries);
        }
        let rows: Vec<Vec<String>> = entries
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| {
                let rest = ["by", "action", "release", "state"].map(|key| cell(&entry[key]));
                let reason = globals.time.sentence(&cell(&entry["reason"]));
                [globals.time.cell(&entry["at"])].into_iter().chain(rest).chain([reason]).collect()
            })
            .collect();
        output::table(&["AT", "BY", "ACTION", "RELEASE", "STATE", "REASON"], &rows)
    }
}

#[derive(Debug, Args)]
pub struct Releases {
    app: String,
}

impl Releases {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let releases = client.get(&format!("/v1/apps/{}/releases", segment(&self.app))).await?;
        if globals.json {
            return output::json(&releases);
        }
        let short = |value: &Value| cell(value).chars().take(12).collect::<String>();
        let rows: Vec<Vec<String>> = releases
            .as_array()
            .into_iter()
            .flatten()
            .map(|r| {
                let image = cell(&r["image"]);
                let image = image.split("@sha256:").next().unwrap_or_default().to_owned();
                vec![
                    cell(&r["version"]),
                    cell(&r["state"]),
                    image,
                    short(&r["artefact"]),
                    short(&r["config"]),
                    globals.time.cell(&r["at"]),
                ]
            })
            .collect();
        output::table(&["VERSION", "STATE", "IMAGE", "ARTEFACT", "CONFIG", "AT"], &rows)
    }
}

#[derive(Debug, Args)]
pub struct Diff {
    app: String,
    from: String,
    to: String,
}

impl Diff {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let (from, to) = (segment(&self.from), segment(&self.to));
        let diff = client.get(&format!("/v1/apps/{}/diff?from={from}&to={to}", segment(&self.app))).await?;
        if globals.json {
            return output::json(&diff);
        }
        let mut same = true;
        for part in ["image", "artefact", "config", "declaration"] {
            let text = diff[part].as_str().unwrap_or_default();
            if !text.is_empty() {
                same = false;
                output::line(&format!("{part}:\n{}", text.trim_end()))?;
            }
        }
        if same { output::line("both are the same") } else { Ok(()) }
    }
}
