//! `dns`: every name we answer for, its addresses, and the container behind it.

use clap::Args;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};

#[derive(Debug, Args)]
pub struct Dns {}

impl Dns {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let answer = client.get("/v1/dns").await?;
        if globals.json {
            return output::json(&answer);
        }
        let cell = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let names = answer["names"].as_array().map(Vec::as_slice).unwrap_or_default();
        let rows: Vec<Vec<String>> = names
            .iter()
            .map(|row| {
                let addresses: Vec<_> =
                    row["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                vec![cell(&row["name"]), cell(&row["kind"]), addresses.join(" "), cell(&row["container"])]
            })
            .collect();
        output::table(&["NAME", "KIND", "ADDRESSES", "CONTAINER"], &rows)
    }
}
