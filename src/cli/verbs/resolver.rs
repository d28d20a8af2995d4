//! `resolver`: make this machine ask our DNS server, or put back what was there.

use clap::{Args, Subcommand};

use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};
use crate::settings::Listen;
use crate::supervisor::boot;

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
        let domain = &globals.settings.domain;
        let own = globals.settings.listen.dns.iter().find_map(|listen| match listen {
            Listen::Address(address) if address.ip().is_loopback() => Some(*address),
            Listen::Address(_) | Listen::Network(_) => None,
        });
        match self.verb {
            Verb::Install => {
                let own = own
                    .ok_or_else(|| Failure::usage("listen.dns has no loopback address that this machine could ask"))?;
                boot::ask_us(domain, own).map_err(Failure::failed)?;
            }
            Verb::Uninstall => boot::ask_us_no_more(domain).map_err(Failure::failed)?,
            Verb::Status => {}
        }
        let lookups = boot::lookups(domain);
        if globals.json {
            return output::json(&lookups);
        }
        let file = &lookups.file;
        match lookups.installed {
            true => output::line(&format!("this machine asks us for names under .{}, by {}", domain, file.display())),
            false => output::line(&format!("this machine does not ask us; {} is as others left it", file.display())),
        }
    }
}
