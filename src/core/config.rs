//! Config files: `KEY="value"` lines in shell syntax, read without a shell.
//!
//! In: the text of `config/APP/APP.config`. Out: assignments in order, each with the bytes it stands at, so
//! that `config set` changes one line and leaves every other byte alone. Quoting follows POSIX sh §2.2;
//! `$NAME` may refer to a key further up in the file. Commands (`$(…)`, backticks) are refused, never run.

use std::ops::Range;

use super::names::EnvName;
use super::text::unmarked;

/// What the value of a secret key begins with in the file: what follows can be read by the platform only.
pub const SEALED: &str = "secret:v1:";
/// What is shown in the place of a secret.
pub const MASK: &str = "(secret)";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub key: EnvName,
    pub value: String,
    /// The bytes of the assignment in the text, without its line end.
    span: Range<usize>,
}

impl Assignment {
    pub fn is_secret(&self) -> bool {
        self.value.starts_with(SEALED)
    }
}

/// The text as it may be shown: secrets masked, every other byte as it is. Each secret's own text still tells
/// whether it was changed, by its first characters.
pub fn masked(text: &str) -> String {
    let Ok(assignments) = parse(text) else { return text.to_owned() };
    let mut shown = text.to_owned();
    for secret in assignments.iter().rev().filter(|a| a.is_secret()) {
        let tail: String = secret.value.chars().skip(SEALED.len()).take(6).collect();
        shown.replace_range(secret.span.clone(), &format!("{}={MASK} # {tail}…", secret.key));
    }
    shown
}

/// Why a config text does not parse: where, at which key, what is wrong. Never contains a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {reason}", key.as_ref().map(|k| format!(", key {k}")).unwrap_or_default())]
pub struct ConfigError {
    pub line: usize,
    pub key: Option<String>,
    pub reason: String,
}

/// Parses a whole config text. Later assignments of a key win, as they do in a shell.
pub fn parse(text: &str) -> Result<Vec<Assignment>, ConfigError> {
    let mut assignments = Vec::new();
    let mut at = text.len() - unmarked(text).len();
    while at < text.len() {
        let line_end = text[at..].find('\n').map_or(text.len(), |n| at + n);
        let line = text[at..line_end].trim_end_matches('\r');
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            at = line_end + 1;
            continue;
        }
        let start = at + (line.len() - body.len());
        let assignment = parse_one(text, start, &assignments)?;
        at = assignment.span.end;
        at += text[at..].find('\n').map_or(text.len() - at, |n| n + 1);
        assignments.push(assignment);
    }
    Ok(assignments)
}

/// The text with `key` set to `value`: its last assignment replaced in place, or a line appended.
pub fn set(text: &str, key: &EnvName, value: &str) -> Result<String, ConfigError> {
    let line = format!("{key}={}", double_quoted(value));
    Ok(match parse(text)?.into_iter().rfind(|a| a.key == *key) {
        Some(old) => format!("{}{line}{}", &text[..old.span.start], &text[old.span.end..]),
        None if text.is_empty() || text.ends_with('\n') => format!("{text}{line}\n"),
        None => format!("{text}\n{line}\n"),
    })
}

/// The text without any assignment of `key`, or `None` where it has none.
pub fn unset(text: &str, key: &EnvName) -> Result<Option<String>, ConfigError> {
    let spans: Vec<_> = parse(text)?.into_iter().filter(|a| a.key == *key).map(|a| a.span).collect();
    let mut rest = text.to_owned();
    for span in spans.iter().rev() {
        let line_end = rest[span.end..].find('\n').map_or(rest.len(), |n| span.end + n + 1);
        rest.replace_range(span.start..line_end, "");
    }
    Ok((!spans.is_empty()).then_some(rest))
}

/// Lines that a POSIX shell evaluates to exactly these values, exported.
pub fn as_export_lines(assignments: &[Assignment]) -> String {
    assignments.iter().map(|a| format!("export {}='{}'\n", a.key, a.value.replace('\'', r"'\''"))).collect()
}

fn double_quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

fn parse_one(text: &str, start: usize, earlier: &[Assignment]) -> Result<Assignment, ConfigError> {
    let line = text[..start].matches('\n').count() + 1;
    let rest = &text[start..];
    let exported = rest.strip_prefix("export").filter(|r| r.starts_with([' ', '\t']));
    let name_at = exported.map_or(0, |r| rest.len() - r.trim_start_matches([' ', '\t']).len());
    let name_end =
        rest[name_at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(rest.len(), |n| name_at + n);
    let name = &rest[name_at..name_end];
    let fail = |key: Option<&str>, reason: String| ConfigError { line, key: key.map(str::to_owned), reason };
    if !rest[name_end..].starts_with('=') {
        return Err(fail(None, "it is no KEY=\"value\" assignment (no blanks around '=')".into()));
    }
    let key = EnvName::parse(name).map_err(|e| fail(Some(name), e.reason))?;
    let mut word = Word { rest: &rest[name_end + 1..], value: String::new(), earlier };
    word.read().map_err(|reason| fail(Some(name), reason))?;
    let end = text.len() - word.rest.len();
    let tail = word.rest.split('\n').next().unwrap_or_default().trim();
    if !tail.is_empty() && !tail.starts_with('#') {
        return Err(fail(Some(name), "there is more on the line after the value; quote a value with blanks".into()));
    }
    if word.value.contains('\0') {
        return Err(fail(Some(name), "a NUL byte cannot be part of a variable".into()));
    }
    Ok(Assignment { key, value: word.value, span: start..end })
}

/// A shell word being read: what is left of the text, and the value so far.
struct Word<'a> {
    rest: &'a str,
    value: String,
    earlier: &'a [Assignment],
}

impl Word<'_> {
    fn read(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                c if c.is_ascii_whitespace() => return Ok(()),
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '\\' => {
                    self.rest = &self.rest[1..];
                    match self.next() {
                        Some('\n') => {}
                        Some(escaped) => self.value.push(escaped),
                        None => return Err("it ends in a backslash".into()),
                    }
                }
                '$' => self.reference()?,
                '`' => return Err(NO_COMMANDS.into()),
                ';' | '&' | '|' | '<' | '>' | '(' | ')' => {
                    return Err(format!("{c:?} outside quotes; quote the value"));
                }
                c => self.take(c),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn take(&mut self, c: char) {
        self.value.push(c);
        self.rest = &self.rest[c.len_utf8()..];
    }

    fn single_quoted(&mut self) -> Result<(), String> {
        let end = self.rest[1..].find('\'').ok_or("a ' is not closed")?;
        self.value.push_str(&self.rest[1..=end]);
        self.rest = &self.rest[end + 2..];
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), String> {
        self.rest = &self.rest[1..];
        loop {
            match self.rest.chars().next() {
                None => return Err("a \" is not closed".into()),
                Some('"') => {
                    self.rest = &self.rest[1..];
                    return Ok(());
                }
                Some('\\') => {
                    self.rest = &self.rest[1..];
                    match self.next() {
                        Some('\n') => {}
                        Some(c @ ('$' | '`' | '"' | '\\')) => self.value.push(c),
                        Some(c) => self.value.extend(['\\', c]),
                        None => return Err("a \" is not closed".into()),
                    }
                }
                Some('$') => self.reference()?,
                Some('`') => return Err(NO_COMMANDS.into()),
                Some(c) => self.take(c),
            }
        }
    }

    /// `$NAME` or `${NAME}` of a key above; a `$` that starts no name stands for itself, as in a shell.
    fn reference(&mut self) -> Result<(), String> {
        let after = &self.rest[1..];
        let (name, rest) = if let Some(braced) = after.strip_prefix('{') {
            braced.split_once('}').ok_or("a ${ is not closed")?
        } else {
            after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()))
        };
        if after.starts_with('(') {
            return Err(NO_COMMANDS.into());
        }
        if name.is_empty() && !after.starts_with('{') {
            self.take('$');
            return Ok(());
        }
        let known = self.earlier.iter().rfind(|a| a.key.as_str() == name);
        let known = known.ok_or_else(|| format!("${name} is no key further up; write \\$ for a dollar sign"))?;
        if known.is_secret() {
            return Err(format!(
                "${name} is secret and cannot be part of another value; make the whole value a secret"
            ));
        }
        self.value.push_str(&known.value);
        self.rest = rest;
        Ok(())
    }
}

const NO_COMMANDS: &str = "a config runs no commands; write \\$ or \\` for the character itself, or single quotes";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_is_shown_as_one_and_is_part_of_nothing_else() {
        let text = "A=\"1\"\nKEY=\"secret:v1:abcdefgh\"\n# note\n";
        assert_eq!(masked(text), "A=\"1\"\nKEY=(secret) # abcdef…\n# note\n");
        assert!(parse(text).unwrap().last().unwrap().is_secret());
        let error = parse(&format!("{text}URL=\"db://$KEY\"\n")).unwrap_err().to_string();
        assert!(error.contains("KEY is secret") && !error.contains("abcdefgh"), "{error}");
    }

    fn value(text: &str) -> Result<String, String> {
        parse(text).map(|a| a.last().map(|a| a.value.clone()).unwrap_or_default()).map_err(|e| e.to_string())
    }

    #[test]
    fn values_read_as_a_shell_reads_them() {
        for (text, expected) in [
            (r#"A="b c""#, "b c"),
            (r"A='$x `y` \'", r"$x `y` \"),
            (r#"A="\$5 \" \\ \n""#, r#"$5 " \ \n"#),
            ("A=plain # comment", "plain"),
            ("A=a#b", "a#b"),
            ("A=", ""),
            ("export A=1\r\n", "1"),
            ("export\tA=1\n", "1"),
            ("export \t A=1\n", "1"),
            ("\u{feff}A=1\n", "1"),
            ("\u{feff}# note\nA=1\n", "1"),
            ("A=\"two\nlines\"\n", "two\nlines"),
            ("A=x'y'\"z\"\\ w", "xyz w"),
            ("B=1\nA=\"$B-${B}\"", "1-1"),
            ("# c\n\n  A=\"é\"\n", "é"),
            ("A=\"100$\"", "100$"),
            ("STARTUP_COMMAND=\"./gradlew bootRun\"", "./gradlew bootRun"),
        ] {
            assert_eq!(value(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn an_error_names_line_and_key_and_no_value() {
        for (text, expected) in [
            ("A=1\nB=\"secret", "line 2, key B: a \" is not closed"),
            ("A=$(rm -rf secret)", "line 1, key A: a config runs no commands"),
            ("A=`secret`", "key A"),
            ("A=secret word", "key A: there is more on the line"),
            ("A=secret;ls", "key A: ';' outside quotes"),
            ("<html>secret", "line 1: it is no KEY"),
            ("A = secret", "line 1: it is no KEY"),
            ("A=\"$secret_unknown\"", "key A: $secret_unknown is no key"),
            ("PATH=/secret", "key PATH"),
            ("LD_PRELOAD=secret", "key LD_PRELOAD"),
            ("1A=secret", "key 1A"),
        ] {
            let error = value(text).unwrap_err();
            assert!(error.contains(expected), "{text:?} gave {error}");
            assert!(!error.replace("secret_unknown", "").contains("secret"), "{error} shows the value");
        }
    }

    #[test]
    fn set_and_unset_leave_every_other_byte_alone() {
        let text = "# head\nA='1'   # why\nB=2";
        let b = EnvName::parse("B").unwrap();
        let a = EnvName::parse("A").unwrap();
        assert_eq!(set(text, &a, "x y").unwrap(), "# head\nA=\"x y\"   # why\nB=2");
        assert_eq!(set(text, &EnvName::parse("C").unwrap(), "3").unwrap(), format!("{text}\nC=\"3\"\n"));
        assert_eq!(unset(text, &b).unwrap().unwrap(), "# head\nA='1'   # why\n");
        assert_eq!(unset("C=1", &b).unwrap(), None);
        assert_eq!(set("\u{feff}B=1\n", &b, "2").unwrap(), "\u{feff}B=\"2\"\n");
    }

    proptest! {
        #[test]
        fn a_value_that_was_set_is_read_back_byte_by_byte(v in "[^\\x00]{0,40}") {
            let text = set("A=1\nZ=9\n", &EnvName::parse("A").unwrap(), &v).unwrap();
            prop_assert_eq!(&parse(&text).unwrap()[0].value, &v);
            prop_assert_eq!(&parse(&as_export_lines(&parse(&text).unwrap())).unwrap()[0].value, &v);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
