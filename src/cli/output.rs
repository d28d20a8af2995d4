//! Printing, and how a command ends.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::settings::SettingsError;
use crate::supervisor::{BootError, init};

/// A command that did not succeed: what to say, and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    remedy: Option<String>,
    code: u8,
    is_unreachable: bool,
}

impl Failure {
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: None, code: 1, is_unreachable: false }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, ..Self::failed(message) }
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: 5, ..Self::failed(message) }
    }

    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Nobody answered: the same may succeed later.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { is_unreachable: true, ..Self::failed(message) }
    }

    pub fn is_unreachable(&self) -> bool {
        self.is_unreachable
    }

    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Ends with the code and says nothing more: what there was to say has been printed.
    pub fn silent() -> Self {
        Self::failed("")
    }

    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            // Nobody may be listening on standard error; the code tells the rest.
            let _ = writeln!(std::io::stderr(), "error: {}", self.message);
        }
        if let Some(remedy) = self.remedy {
            let _ = writeln!(std::io::stderr(), "  what helps: {remedy}");
        }
        ExitCode::from(self.code)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    /// A reader that has gone (`| head`) is how pipes end, not a failure.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self { code: 0, ..Self::silent() },
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<BootError> for Failure {
    fn from(error: BootError) -> Self {
        let remedy = match &error {
            BootError::Engine(_) => {
                Some("start Docker, or set docker.host; `platformer doctor` checks the connection".to_owned())
            }
            BootError::Taken { setting, .. } => Some(format!(
                "stop the other, or move ours with {setting} (PLATFORMER_{})",
                setting.replace('.', "_").to_uppercase()
            )),
            BootError::Lock(_) | BootError::Ledger(_) | BootError::Other(_) | BootError::Died(_) => None,
        };
        let code = if matches!(error, BootError::Died(_)) { init::DIED } else { 1 };
        Self { remedy, code, ..Self::failed(error.to_string()) }
    }
}

pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::failed(e.to_string()))?;
    line(&text)
}

pub fn line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(Failure::from)
}

/// Rows in columns as wide as their widest cell. The last column is not padded.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let head: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    let width = |column: usize| {
        std::iter::once(&head)
            .chain(rows)
            .filter_map(|row| row.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A bar for so many bytes, where somebody looks.
pub fn bytes(size: u64) -> ProgressBar {
    let bar = if is_terminal() { ProgressBar::new(size) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// A JSON value as a cell; `null` is a dash. Control characters from outside are left out.
pub fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "-".into(),
        serde_json::Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Text in an ANSI colour, where somebody looks at it.
pub fn coloured(text: &str, colour: u8) -> String {
    if is_terminal() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}
