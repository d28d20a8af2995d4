//! Finding the daemon: unix socket, tcp, or tcp with TLS, as `docker` itself does.

use std::path::PathBuf;

use bollard::{API_DEFAULT_VERSION, Docker};

/// Answers later than this count as none, in seconds. Streams are not bound by it.
const TIMEOUT: u64 = 30;

/// Connects to `host` and agrees on the API version.
pub async fn connect(host: &str) -> Result<Docker, String> {
    let client = if host.starts_with("unix://") {
        Docker::connect_with_unix(host, TIMEOUT, API_DEFAULT_VERSION)
    } else if host.starts_with("tcp://") || host.starts_with("http://") || host.starts_with("https://") {
        match certificates() {
            Some(folder) => {
                let file = |name: &str| folder.join(name);
                Docker::connect_with_ssl(
                    host,
                    &file("key.pem"),
                    &file("cert.pem"),
                    &file("ca.pem"),
                    TIMEOUT,
                    API_DEFAULT_VERSION,
                )
            }
            None => Docker::connect_with_http(host, TIMEOUT, API_DEFAULT_VERSION),
        }
    } else {
        return Err(format!("{host:?} is no address of Docker; write unix:///PATH or tcp://HOST:PORT"));
    };
    let client = client.map_err(|error| innermost(&error))?;
    client.negotiate_version().await.map_err(|error| innermost(&error))
}

/// The folder with `ca.pem`, `cert.pem` and `key.pem`, where `DOCKER_TLS_VERIFY` asks for TLS.
fn certificates() -> Option<PathBuf> {
    std::env::var_os("DOCKER_TLS_VERIFY").filter(|v| !v.is_empty())?;
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    std::env::var_os("DOCKER_CERT_PATH").map(PathBuf::from).or_else(home)
}

/// The message of the last cause: "Connection refused" and not "error in the hyper legacy client".
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
