//! What programs write, made fit to be shown and kept.

/// The text without what moves a terminal's cursor or colours it.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // A control sequence ends with a letter or one of few signs (ECMA-48).
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

/// The text with what would move a terminal's cursor, colour it or turn its direction spelt out (`\u{1b}`). Lines and
/// tabs stay.
pub fn visible(text: &str) -> String {
    let is_odd = |c: char| {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && !matches!(c, '\n' | '\t'))
    };
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        if is_odd(c) { visible.extend(c.escape_default()) } else { visible.push(c) }
    }
    visible
}

/// At most `count` lines from the end, each cut after 1,000 characters.
pub fn last_lines(written: &[u8], count: usize) -> Vec<String> {
    let text = plain(&String::from_utf8_lossy(written));
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(count);
    lines[skipped..].iter().map(|line| line.chars().take(1000).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_text_and_loses_what_is_meant_for_a_terminal() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\tok\r\n<b>\u{7}\u{1b}]0;t\u{7}"), "red\tok\n<b>]0;t");
        assert_eq!(
            visible("\u{1b}]0;t\u{7}\tok\r\n\u{9b}1m\u{202e}é"),
            "\\u{1b}]0;t\\u{7}\tok\\r\n\\u{9b}1m\\u{202e}é"
        );
        assert_eq!(plain("cut \u{1b}[3"), "cut ");
        assert_eq!(last_lines(b"a\nb\n\xffc\n", 2), ["b", "\u{fffd}c"]);
    }
}
