//! TOML errors as people want them: the line, the reason, and for an unknown key the nearest known one.

use super::names::nearest;

pub struct Explained {
    pub line: Option<usize>,
    pub reason: String,
}

/// Explains a deserialisation error of `text`.
pub fn explain(text: &str, error: &toml::de::Error) -> Explained {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    Explained { line, reason: reason(error.message()) }
}

/// Rewrites serde's "unknown field `x`, expected one of `a`, `b`" (and "unknown variant"), keeps the rest.
fn reason(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((word, known)) = quoted.split_first() else {
        return message.replace('\n', " ");
    };
    let what = if message.starts_with("unknown field") {
        "unknown key"
    } else if message.starts_with("unknown variant") {
        "unknown value"
    } else {
        return message.replace('\n', " ");
    };
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("{what} `{word}`, did you mean `{near}`?"),
        None => format!("{what} `{word}`; known are {}", known.join(", ")),
    }
}
