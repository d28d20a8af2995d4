//! `token`: who may do what over the API.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::new::New;
use crate::cli::output::{self, Failure};

#[derive(Debug, Args)]
pub struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token; its text is shown once and kept nowhere
    Create {
        /// read, deploy:APP or admin; may be given several times
        #[arg(long, required = true, value_name = "SCOPE")]
        scope: Vec<String>,
        /// How long it is valid, such as 24h or 90d; without it until it is revoked
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        new: New,
    },
    /// The tokens there are, without their text
    List {
        /// The browsers' sessions that are open, each with the token that it hangs on
        #[arg(long)]
        sessions: bool,
    },
    /// Let a token open nothing any more, nor the sessions that were opened with it; or end one session
    Revoke { id: String },
}

impl Token {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        match self.verb {
            Verb::Create { scope, expires, new } => {
                let asked = json!({ "scopes": scope, "expires": expires });
                let url = format!("/v1/tokens{}", new.query());
                let made = client.json(client.request(Method::POST, &url).json(&asked)).await?;
                if globals.json {
                    return output::json(&made);
                }
                output::line(made["token"].as_str().unwrap_or_default())
            }
            Verb::List { sessions } => {
                let (path, list) =
                    if sessions { ("/v1/tokens?sessions=true", "sessions") } else { ("/v1/tokens", "tokens") };
                let answer = client.get(path).await?;
                if globals.json {
                    return output::json(&answer[list]);
                }
                let text = |token: &serde_json::Value, key: &str| token[key].as_str().unwrap_or("-").to_owned();
                let row = |token: &serde_json::Value| {
                    let scopes = token["scopes"].as_array().into_iter().flatten().filter_map(|s| s.as_str());
                    let last = text(token, if sessions { "token" } else { "created_by" });
                    let scopes = scopes.collect::<Vec<_>>().join(" ");
                    let (made, ends) =
                        (globals.time.cell(&token["created_at"]), globals.time.cell(&token["expires_at"]));
                    vec![text(token, "id"), scopes, made, ends, last]
                };
                let rows: Vec<Vec<String>> = answer[list].as_array().into_iter().flatten().map(row).collect();
                output::table(&["ID", "SCOPES", "MADE", "EXPIRES", if sessions { "TOKEN" } else { "BY" }], &rows)
            }
            Verb::Revoke { id } => {
                let url = format!("/v1/tokens/{}", segment(&id));
                globals.done(&client.json(client.request(Method::DELETE, &url)).await?)
            }
        }
    }
}
