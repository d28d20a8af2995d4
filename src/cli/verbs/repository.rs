//! `repository`: what is in it, uploads, verification.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use reqwest::{Body, Method};
use serde_json::Value;
use tokio_util::io::ReaderStream;

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::new::New;
use crate::cli::output::{self, Failure, Mark};

#[derive(Debug, Args)]
pub struct Repository {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every file with its SHA-256
    List,
    /// Upload an archive as a version of an app
    Push {
        app: String,
        version: String,
        file: PathBuf,
        #[command(flatten)]
        new: New,
    },
    /// Delete a version's archive; a release that has been made of it goes on
    Remove { app: String, version: String },
    /// Read every file again and try every archive
    Verify,
}

impl Repository {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        match self.verb {
            Verb::List => list(client, globals).await,
            Verb::Push { app, version, file, new } => push(client, globals, (&app, &version), file, &new).await,
            Verb::Remove { app, version } => {
                let url = format!("/v1/repository/{}/{}", segment(&app), segment(&version));
                globals.done(&client.json(client.request(Method::DELETE, &url)).await?)
            }
            Verb::Verify => verify(client, globals).await,
        }
    }
}

async fn list(client: &Client, globals: &Globals) -> Result<(), Failure> {
    let answer = client.get("/v1/repository").await?;
    if globals.json {
        return output::json(&answer);
    }
    let files = answer["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|f| {
            vec![
                f["path"].as_str().unwrap_or_default().to_owned(),
                f["size"].to_string(),
                f["sha256"].as_str().unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    output::table(&["FILE", "BYTES", "SHA-256"], &rows)?;
    troubles(&answer)
}

async fn verify(client: &Client, globals: &Globals) -> Result<(), Failure> {
    let answer = client.json(client.request(Method::POST, "/v1/repository/verify")).await?;
    if globals.json {
        output::json(&answer)?;
    } else {
        troubles(&answer)?;
    }
    if answer["ok"] == true {
        if globals.json { Ok(()) } else { output::line("everything is as it was stored") }
    } else {
        Err(Failure::silent())
    }
}

fn troubles(answer: &Value) -> Result<(), Failure> {
    for trouble in answer["troubles"].as_array().into_iter().flatten() {
        let text = |key: &str| trouble[key].as_str().unwrap_or_default().to_owned();
        output::marked(Mark::Warning, &format!("{}: {}", text("path"), text("reason")))?;
        output::line(&format!("    what helps: {}", text("remedy")))?;
    }
    Ok(())
}

async fn push(
    client: &Client,
    globals: &Globals,
    (app, version): (&str, &str),
    path: PathBuf,
    new: &New,
) -> Result<(), Failure> {
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .ok_or_else(|| Failure::usage(format!("{} names no file", path.display())))?
        .to_owned();
    let file = tokio::fs::File::open(&path).await.map_err(|e| Failure::file(&path, &e))?;
    let meta = file.metadata().await?;
    if meta.is_dir() {
        return Err(Failure::file(&path, &std::io::ErrorKind::IsADirectory.into())
            .with_remedy(format!("tar -czf {app}.tar.gz -C {} . packs it", path.display())));
    }
    let size = meta.len();
    let bar = output::bytes(size);
    let progress = bar.clone();
    let chunks = ReaderStream::with_capacity(file, 1 << 16).inspect_ok(move |chunk| progress.inc(chunk.len() as u64));
    let url = format!("/v1/repository/{}/{}/{}{}", segment(app), segment(version), segment(&name), new.query());
    let answer = client.json(client.request(Method::PUT, &url).body(Body::wrap_stream(chunks))).await;
    bar.finish_and_clear();
    let answer = answer?;
    if globals.json {
        return output::json(&answer);
    }
    let what = if answer["unchanged"] == true {
        "is in the repository already, byte for byte"
    } else {
        "is in the repository"
    };
    output::line(&format!(
        "{app}@{version} {what}: {size} bytes, sha256 {}",
        answer["sha256"].as_str().unwrap_or_default()
    ))
}
