//! `doctor`: what is wrong with this machine, and what mends it.

use super::Globals;
use super::output::{self, Failure, coloured};
use crate::supervisor::doctor;

pub async fn run(globals: &Globals) -> Result<(), Failure> {
    let checks = doctor(&globals.settings).await;
    if globals.json {
        output::json(&checks)?;
    } else {
        for check in &checks {
            let mark = match check.verdict {
                "ok" => coloured("✓", 32),
                "warning" => coloured("!", 33),
                _ => coloured("✗", 31),
            };
            output::line(&format!("{mark} {:<24} {}", check.name, check.found))?;
            if let Some(remedy) = &check.remedy {
                output::line(&format!("    what helps: {remedy}"))?;
            }
        }
    }
    if checks.iter().any(|c| c.verdict == "failed") { Err(Failure::silent()) } else { Ok(()) }
}
