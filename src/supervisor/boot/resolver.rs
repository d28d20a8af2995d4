//! Whether this machine asks our DNS server, and having it do so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::adapters::host::resolv::Resolver;
use crate::core::names::Domain;

/// How this machine finds names of the domain.
#[derive(Debug, Clone, Serialize)]
pub struct Lookups {
    /// The file that says so.
    pub file: PathBuf,
    pub installed: bool,
    /// `systemd-resolved`, `resolv-conf` or `mac-resolver`.
    pub way: &'static str,
}

fn resolver(domain: &Domain) -> Resolver {
    Resolver::new(Path::new("/"), domain)
}

pub fn lookups(domain: &Domain) -> Lookups {
    let resolver = resolver(domain);
    Lookups { file: resolver.file(), installed: resolver.is_installed(), way: resolver.way().word() }
}

/// Has this machine ask `server` for names of the domain from now on.
///
/// # Errors
/// The file that cannot be written, or a port that the machine's own resolver cannot be told.
pub fn ask_us(domain: &Domain, server: SocketAddr) -> Result<(), String> {
    resolver(domain).install(server).map_err(|e| e.to_string())
}

/// Puts back what was there before.
///
/// # Errors
/// The file that cannot be written.
pub fn ask_us_no_more(domain: &Domain) -> Result<(), String> {
    resolver(domain).uninstall().map_err(|e| e.to_string())
}
