//! Printing, and how a command ends.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::core::log::visible;
use crate::settings::SettingsError;
use crate::supervisor::{BootError, init};

/// A command that did not succeed: what to say, and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    remedy: Option<String>,
    code: u8,
    /// What kind it is of, for programs.
    word: &'static str,
    /// The problem document that the platform answered with.
    document: Option<Value>,
}

impl Failure {
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: None, code: 1, word: "failed", document: None }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, word: "usage", ..Self::failed(message) }
    }

    /// Refused by the platform, with its problem document.
    pub fn answered(message: impl Into<String>, code: u8, document: Value) -> Self {
        Self { code, word: "refused", document: Some(document).filter(Value::is_object), ..Self::failed(message) }
    }

    /// A file of this machine that cannot be read: says which one.
    pub fn file(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        let path = path.display();
        Self::failed(match error.kind() {
            NotFound => format!("there is no file {path}"),
            PermissionDenied => format!("{path} is not yours to read"),
            IsADirectory => format!("{path} is a folder, not a file"),
            _ => format!("{path} cannot be read: {error}"),
        })
    }

    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Nobody answered: the same may succeed later.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { word: UNREACHABLE, ..Self::failed(message) }
    }

    pub fn is_unreachable(&self) -> bool {
        self.word == UNREACHABLE
    }

    /// The platform understood, and said no: the same is refused again.
    pub fn is_refused(&self) -> bool {
        self.code == 5
    }

    /// The same after what was done all the same.
    pub fn after(self, done: &str) -> Self {
        Self { message: format!("{done}{}", self.message), ..self }
    }

    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Ends with the code and says nothing more: what there was to say has been printed.
    pub fn silent() -> Self {
        Self::failed("")
    }

    /// Says it to people, and to programs if they ask for JSON.
    pub fn report(self, json: bool) -> ExitCode {
        if json && !self.message.is_empty() {
            // The code tells the rest to who does not read.
            let _ = self::json(&self.document());
        }
        if !self.message.is_empty() {
            let _ = writeln!(std::io::stderr(), "error: {}", visible(&self.message));
        }
        if let Some(remedy) = &self.remedy {
            let _ = writeln!(std::io::stderr(), "  what helps: {}", visible(remedy));
        }
        ExitCode::from(self.code)
    }

    /// A problem document, as the API has them.
    fn document(&self) -> Value {
        let made = || json!({ "code": self.word, "title": "error", "detail": self.message });
        let mut document = self.document.clone().unwrap_or_else(made);
        if let Some(remedy) = &self.remedy {
            document["remedy"] = json!(remedy);
        }
        document
    }
}

const UNREACHABLE: &str = "unreachable";

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
            BootError::Lock(_)
            | BootError::Key(_)
            | BootError::Ledger(_)
            | BootError::Other(_)
            | BootError::Died(_) => None,
        };
        let code = if matches!(error, BootError::Died(_)) { init::DIED } else { 1 };
        Self { remedy, code, ..Self::failed(error.to_string()) }
    }
}

pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::failed(e.to_string()))?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // JSON lets these stand as they are, terminals do not.
            c if c.is_control() && c != '\n' => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    writeln!(std::io::stdout(), "{escaped}").map_err(Failure::from)
}

/// Prints for people: nothing that others wrote reaches the terminal raw.
pub fn line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", visible(text)).map_err(Failure::from)
}

/// Prints a value as it is for a pipe, and like any text where somebody looks.
pub fn value(text: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        line(text)
    } else {
        writeln!(std::io::stdout(), "{text}").map_err(Failure::from)
    }
}

/// What stands before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Good,
    Warning,
    Bad,
}

/// A line behind a mark, which is coloured where somebody looks.
pub fn marked(mark: Mark, text: &str) -> Result<(), Failure> {
    let (sign, colour) = match mark {
        Mark::Good => ("✓", 32),
        Mark::Warning => ("!", 33),
        Mark::Bad => ("✗", 31),
    };
    let sign = if is_terminal() { format!("\x1b[{colour}m{sign}\x1b[0m") } else { sign.to_owned() };
    writeln!(std::io::stdout(), "{sign} {}", visible(text)).map_err(Failure::from)
}

/// Rows in columns as wide as their widest cell. The last column is not padded.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let head: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
    // Escaped before it is measured.
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let width = |column: usize| {
        std::iter::once(&head)
            .chain(&rows)
            .filter_map(|row| row.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in std::iter::once(&head).chain(&rows) {
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

/// A JSON value as a cell of a table, on one line; `null` is a dash.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.replace(['\n', '\t'], " "),
        other => other.to_string(),
    }
}

pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
