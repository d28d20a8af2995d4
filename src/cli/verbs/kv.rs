//! `kv`: keys and values; the same store that Consul's clients see.

use std::io::{Read, Write};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};

#[derive(Debug, Args)]
pub struct Kv {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print a key's value
    Get { key: String },
    /// Set a key; without a value, to what comes on standard input
    Put { key: String, value: Option<String> },
    /// Delete a key, or with --recurse all that begin so
    Delete {
        key: String,
        #[arg(long)]
        recurse: bool,
    },
    /// The keys that begin so, or all
    List { prefix: Option<String> },
}

impl Kv {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        match self.verb {
            Verb::Get { key } => {
                let url = format!("{}{}", path(&key)?, if globals.json { "" } else { "?raw" });
                let found = client.find(client.request(Method::GET, &url)).await?;
                let found = found.ok_or_else(|| Failure::failed(format!("there is no key {key}")))?;
                if globals.json {
                    let pairs: Value = found.json().await.map_err(|e| Failure::failed(e.to_string()))?;
                    return output::json(&pairs[0]);
                }
                let value = found.bytes().await.map_err(|e| Failure::failed(e.to_string()))?;
                match String::from_utf8(value.to_vec()) {
                    Ok(text) => output::value(&text),
                    // Bytes that are no text are for a program.
                    Err(bytes) => Ok(std::io::stdout().write_all(&[bytes.as_bytes(), b"\n"].concat())?),
                }
            }
            Verb::Put { key, value } => {
                let value = match value {
                    Some(value) => value.into_bytes(),
                    None => {
                        let mut read = Vec::new();
                        std::io::stdin().read_to_end(&mut read)?;
                        read
                    }
                };
                client.json(client.request(Method::PUT, &path(&key)?).body(value)).await?;
                globals.done(&json!({ "done": format!("{key} is set") }))
            }
            Verb::Delete { key, recurse } => {
                let url = format!("{}{}", path(&key)?, if recurse { "?recurse" } else { "" });
                client.json(client.request(Method::DELETE, &url)).await?;
                globals.done(&json!({ "done": format!("{key} is gone") }))
            }
            Verb::List { prefix } => list(client, globals, &prefix.unwrap_or_default()).await,
        }
    }
}

async fn list(client: &Client, globals: &Globals, prefix: &str) -> Result<(), Failure> {
    let found = client.find(client.request(Method::GET, &format!("{}?keys", path(prefix)?))).await?;
    let keys: Value = match found {
        Some(found) => found.json().await.map_err(|e| Failure::failed(e.to_string()))?,
        None => Value::Array(Vec::new()),
    };
    if globals.json {
        return output::json(&keys);
    }
    keys.as_array().into_iter().flatten().filter_map(|key| key.as_str()).try_for_each(output::line)
}

/// Slashes part a key; everything else that a path cannot hold is encoded. Where a part is `.` or `..` the slashes are
/// encoded too, since URLs are shortened by such parts.
fn path(key: &str) -> Result<String, Failure> {
    if matches!(key, "." | "..") {
        return Err(Failure::usage(format!("{key}: no URL can name this key; name it in a transaction, PUT /v1/txn")));
    }
    let has_dots = key.split('/').any(|part| matches!(part, "." | ".."));
    let slash = if has_dots { "%2F" } else { "/" };
    Ok(format!("/v1/kv/{}", key.split('/').map(segment).collect::<Vec<_>>().join(slash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_dots_stays_itself_in_a_url() {
        for (key, expected) in [
            ("a/b c", "/v1/kv/a/b%20c"),
            ("a/../b", "/v1/kv/a%2F..%2Fb"),
            ("./x", "/v1/kv/.%2Fx"),
            ("a/..b", "/v1/kv/a/..b"),
        ] {
            let path = path(key).unwrap();
            assert_eq!(path, expected);
            assert_eq!(reqwest::Url::parse("http://h").unwrap().join(&path).unwrap().path(), expected);
        }
    }
}
