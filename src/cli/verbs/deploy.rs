//! `deploy` and `rollback`: begin a deployment, and wait for its outcome if asked.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::push;
use crate::cli::client::{Client, News};
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};
use crate::core::deploy::Outcome;
use crate::core::view::DeploymentStatus;

/// Before a platform that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct Deploy {
    /// APP or APP@VERSION; without a version the newest one there is
    target: String,
    /// The image to run instead of the declared one
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// Send that image from this machine first, without a registry
    #[arg(long, requires = "image")]
    push: bool,
    /// How it takes the place of what runs
    #[arg(long, value_parser = ["rolling", "blue-green", "canary", "recreate", "manual"])]
    strategy: Option<String>,
    /// The image of the gate to use instead of the declared one
    #[arg(long, value_name = "IMAGE", conflicts_with = "no_gate")]
    gate: Option<String>,
    /// Without the declared gate
    #[arg(long)]
    no_gate: bool,
    /// Take the place of a deployment under way
    #[arg(long)]
    replace: bool,
    /// Why, for the history
    #[arg(long)]
    reason: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Wait for the outcome: 0 promoted (of `manual`: ready and waiting), 1 failed, 3 rolled back, 4 held
    #[arg(long)]
    wait: bool,
}

impl Deploy {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let (app, version) = match self.target.split_once('@') {
            Some((_, "")) => return Err(Failure::usage(format!("{}: there is no version after the @", self.target))),
            Some((app, version)) => (app.to_owned(), Some(version.to_owned())),
            None => (self.target.clone(), None),
        };
        let mut would_push = None;
        let image = match (self.push, self.image, &version) {
            (true, Some(image), Some(version)) if self.dry_run => {
                let outlook = push::outlook(client, &image, &app, version).await?;
                would_push = Some(outlook.said(&image));
                Some(outlook.target.to_string())
            }
            (true, Some(image), Some(version)) => {
                let sent = push::send(client, globals, &image, &app, version).await?;
                sent["image"].as_str().map(str::to_owned)
            }
            (true, ..) => return Err(Failure::usage("--push needs APP@VERSION and --image")),
            (false, image, _) => image,
        };
        let mut body = json!({ "replace": self.replace, "dry_run": self.dry_run });
        let fields = [("version", version), ("image", image), ("strategy", self.strategy), ("reason", self.reason)];
        for (name, value) in fields.into_iter().filter_map(|(n, v)| Some((n, v?))) {
            body[name] = json!(value);
        }
        match self.gate {
            Some(image) => body["gate"] = json!(image),
            None if self.no_gate => body["gate"] = json!(false),
            None => {}
        }
        let url = format!("/v1/apps/{}/deployments", segment(&app));
        let mut begun = client.json(client.request(Method::POST, &url).json(&body)).await?;
        if self.dry_run {
            if let Some(said) = would_push {
                begun["push"] = json!(said);
            }
            return dry(&begun, globals);
        }
        follow(&app, begun, self.wait, client, globals).await
    }
}

/// Deploys a version that was released before with what its config and declaration are now.
pub async fn again(
    app: &str,
    version: &str,
    reason: &str,
    wait: bool,
    client: &Client,
    globals: &Globals,
) -> Result<(), Failure> {
    let url = format!("/v1/apps/{}/deployments", segment(app));
    let body = json!({ "version": version, "reason": reason });
    let begun = client.json(client.request(Method::POST, &url).json(&body)).await?;
    follow(app, begun, Wait { wait }, client, globals).await
}

#[derive(Debug, Args)]
pub struct Rollback {
    app: String,
    /// Which release; without it the one before
    version: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

impl Rollback {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let url = format!("/v1/apps/{}/rollback", segment(&self.app));
        let body = self.version.map_or(json!({}), |version| json!({ "version": version }));
        let begun = client.json(client.request(Method::POST, &url).json(&body)).await?;
        follow(&self.app, begun, self.wait, client, globals).await
    }
}

fn dry(planned: &Value, globals: &Globals) -> Result<(), Failure> {
    if globals.json {
        return output::json(planned);
    }
    if let Some(push) = planned["push"].as_str() {
        output::line(push)?;
    }
    plan(planned)?;
    output::line("nginx's text would change with each of these generations (192.0.2.… stands for instances to come):")?;
    for step in planned["steps"].as_array().into_iter().flatten() {
        let text = |key: &str| step[key].as_str().unwrap_or_default();
        let diff = if text("diff").is_empty() { "  nothing\n" } else { text("diff") };
        output::line(&format!("# {}\n{}", text("says"), diff.trim_end()))?;
    }
    Ok(())
}

fn plan(deployment: &Value) -> Result<(), Failure> {
    for sentence in deployment["plan"].as_array().into_iter().flatten() {
        output::line(&format!("  · {}", sentence.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

/// Shows what was begun; with `--wait` one line per state until the outcome is known.
async fn follow(app: &str, begun: Value, wait: Wait, client: &Client, globals: &Globals) -> Result<(), Failure> {
    if !globals.json {
        output::line(begun["done"].as_str().unwrap_or_default())?;
        plan(&begun)?;
    }
    if !wait.wait {
        return if globals.json { output::json(&begun) } else { Ok(()) };
    }
    let id = begun["id"].as_str().unwrap_or_default().to_owned();
    let url = format!("/v1/apps/{}/deployments/{}", segment(app), segment(&id));
    let (began, mut shown, mut news) = (Instant::now(), String::new(), None);
    loop {
        // The supervisor may be restarting: what it does goes on, so it is asked again.
        let (deployment, heard) = match looked_at(&url, news, client).await {
            Ok(seen) => seen,
            Err(failure) if failure.is_unreachable() => {
                news = None;
                sleep(AGAIN).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let line = format!("{:<11} {}", deployment.state, deployment.reason);
        if line != shown && !globals.json {
            output::line(&format!("{:>6.1} s  {line}", began.elapsed().as_secs_f64()))?;
        }
        shown = line;
        if let Some(outcome) = deployment.state.outcome(deployment.strategy) {
            if globals.json {
                output::json(&json!(deployment))?;
            } else if outcome != Outcome::Reached {
                log(&deployment)?;
            }
            return match outcome {
                Outcome::Reached => Ok(()),
                other => Err(Failure::silent().with_code(other.code())),
            };
        }
        news = next(heard).await;
    }
}

/// The deployment as it is, by whoever tells what happens to it from then on.
async fn looked_at(url: &str, news: Option<News>, client: &Client) -> Result<(DeploymentStatus, News), Failure> {
    let news = match news {
        Some(news) => news,
        None => client.news().await?,
    };
    Ok((client.read(url).await?, news))
}

/// Waits until something happens; whoever tells no more is left.
async fn next(mut news: News) -> Option<News> {
    match news.next().await {
        true => Some(news),
        false => {
            sleep(AGAIN).await;
            None
        }
    }
}

/// What a gate that did not pass wrote, and what the candidate wrote last.
fn log(deployment: &DeploymentStatus) -> Result<(), Failure> {
    let of_gate = deployment.gate.iter().flat_map(|gate| &gate.log);
    for line in of_gate.chain(&deployment.log) {
        output::line(&format!("  | {line}"))?;
    }
    Ok(())
}
