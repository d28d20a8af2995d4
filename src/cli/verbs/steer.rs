//! `promote`, `pause`, `resume`, `abort`, `swap`, `split`, `maintenance`: steering what is being released.

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::new::New;
use crate::cli::output::Failure;

#[derive(Debug, Args)]
pub struct Split {
    app: String,
    /// Shares that add up to 100, two decimals at most
    #[arg(required = true, value_name = "VERSION=PERCENT")]
    shares: Vec<String>,
}

impl Split {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        // Checked here as well, so that a slip is a usage error wherever the platform is.
        let split = crate::core::split::Split::parse(self.shares.iter().map(String::as_str))
            .map_err(|e| Failure::usage(e.to_string()))?;
        let request = client.request(Method::PUT, &format!("/v1/apps/{}/split", segment(&self.app)));
        globals.done(&client.json(request.json(&json!({ "split": split }))).await?)
    }
}

#[derive(Debug, Args)]
pub struct Pin {
    app: String,
    /// The version; without one the stable release
    version: Option<String>,
    #[command(flatten)]
    new: New,
}

impl Pin {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let request = client.request(Method::PUT, &format!("/v1/apps/{}/pin{}", segment(&self.app), self.new.query()));
        globals.done(&client.json(request.json(&json!({ "version": self.version }))).await?)
    }
}

#[derive(Debug, Args)]
pub struct Unpin {
    app: String,
}

impl Unpin {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let request = client.request(Method::DELETE, &format!("/v1/apps/{}/pin", segment(&self.app)));
        globals.done(&client.json(request).await?)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub struct Maintenance {
    app: String,
    state: Switch,
}

impl Maintenance {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let request = client.request(Method::PUT, &format!("/v1/apps/{}/maintenance", segment(&self.app)));
        let answer: Value = client.json(request.json(&json!({ "on": matches!(self.state, Switch::On) }))).await?;
        globals.done(&answer)
    }
}
