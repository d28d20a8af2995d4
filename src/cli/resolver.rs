//! `resolver`: make this machine ask our DNS server, or put back what was there.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Globals;
use super::output::{self, Failure};
use crate::settings::Listen;
use crate::supervisor::resolv;

#[derive(Debug, Args)]
pub struct Resolver {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Verb {
    /// Ask us from now on
    Install,
    /// Put back what was there
    Uninstall,
    /// Whether this machine asks us, and by which file
    Status,
}

impl Resolver {
    pub fn run(self, globals: &Globals) -> Result<(), Failure> {
        let resolver = resolv::Resolver::new(Path::new("/"), &globals.settings.domain);
        let own = globals.settings.listen.dns.iter().find_map(|listen| match listen {
            Listen::Address(address) if address.ip().is_loopback() => Some(*address),
            Listen::Address(_) | Listen::Network(_) => None,
        });
        match self.verb {
            Verb::Install => {
                let own = own
                    .ok_or_else(|| Failure::usage("listen.dns has no loopback address that this machine could ask"))?;
                resolver.install(own).map_err(|e| Failure::failed(e.to_string()))?;
            }
            Verb::Uninstall => resolver.uninstall().map_err(|e| Failure::failed(e.to_string()))?,
            Verb::Status => {}
        }
        let (installed, file) = (resolver.is_installed(), resolver.file());
        if globals.json {
            return output::json(&json!({ "installed": installed, "way": resolver.way(), "file": file }));
        }
        match installed {
            true => output::line(&format!(
                "this machine asks us for names under .{}, by {}",
                globals.settings.domain,
                file.display()
            )),
            false => output::line(&format!("this machine does not ask us; {} is as others left it", file.display())),
        }
    }
}
