//! Finding the app behind a line of rendered text.

use crate::core::names::AppName;

/// What the built-in template puts in front of each part that one app is to blame for.
const MARK: &str = "# app ";
const END: &str = "# end";

/// The app whose part of the text has the line (counted from 1), if the templates kept the markers.
pub fn app_at_line(text: &str, line: usize) -> Option<AppName> {
    let before: Vec<&str> = text.lines().take(line).collect();
    before
        .iter()
        .rev()
        .map(|l| l.trim())
        .find(|l| l.starts_with(MARK) || *l == END)?
        .strip_prefix(MARK)
        .and_then(|name| AppName::parse(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_marker_above_names_the_app() {
        let text = "http {\n  # app shop\n  x;\n  # end\n  y;\n# app web\nz;\n";
        let app = |line| app_at_line(text, line).map(|a| a.to_string());
        assert_eq!((app(1), app(3).as_deref(), app(5), app(7).as_deref()), (None, Some("shop"), None, Some("web")));
    }
}
