//! `services`: what serves HTTP and is no container.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure, cell};

#[derive(Debug, Args)]
pub struct Services {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The registered services, and how each is
    List,
    /// Register a service, or move it: requests to NAME.DOMAIN go to the URL
    Set {
        name: String,
        /// http://HOST:PORT or https://HOST:PORT
        url: String,
        /// A path that answers 200-399 while the service is well
        #[arg(long, value_name = "PATH")]
        health: Option<String>,
    },
    /// Take a service away
    Remove { name: String },
}

impl Services {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let path = |name: &str| format!("/services/{}", segment(name));
        match self.verb {
            Verb::List => {
                let answer = client.get("/services").await?;
                if globals.json {
                    return output::json(&answer["services"]);
                }
                let services = answer["services"].as_array().into_iter().flatten();
                let rows = services.flat_map(|service| {
                    service["endpoints"].as_array().into_iter().flatten().map(|endpoint| {
                        [&service["name"], &endpoint["url"], &endpoint["state"], &endpoint["by"], &endpoint["reason"]]
                            .map(cell)
                            .to_vec()
                    })
                });
                output::table(&["SERVICE", "URL", "STATE", "BY", "REASON"], &rows.collect::<Vec<_>>())
            }
            Verb::Set { name, url, health } => {
                let body = match health {
                    Some(health) => json!({ "url": url, "health": health }),
                    None => json!({ "url": url }),
                };
                client.json(client.request(Method::PUT, &path(&name)).json(&body)).await?;
                let answer = client.get(&path(&name)).await?;
                if globals.json {
                    return output::json(&answer);
                }
                let endpoint = &answer["endpoints"][0];
                let reason = endpoint["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
                output::line(&format!("{name} is {}{reason}", cell(&endpoint["state"])))
            }
            Verb::Remove { name } => {
                let answer: Value = client.json(client.request(Method::DELETE, &path(&name))).await?;
                globals.done(&answer)
            }
        }
    }
}
