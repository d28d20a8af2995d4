//! URL path prefixes, written into nginx locations.

use super::{checked_name, textual_order};

checked_name! {
    /// A URL path prefix such as `/` or `/api`: whole segments, no trailing slash, at most 256 characters.
    /// Only unreserved characters (RFC 3986 §2.3), so that nginx reads it as it is written.
    PathPrefix, "path", check
}
textual_order!(PathPrefix);

impl PathPrefix {
    /// The prefix that covers everything.
    pub fn root() -> Self {
        Self("/".into())
    }

    pub fn is_root(&self) -> bool {
        self.as_str() == "/"
    }
}

fn check(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err("it must begin with '/'".into());
    };
    if text.len() > 256 {
        return Err(format!("it has {} characters, 256 are allowed", text.len()));
    }
    if rest.is_empty() {
        return Ok(());
    }
    for segment in rest.split('/') {
        match segment {
            "" => return Err("it has an empty segment: no '//' and no '/' at the end".into()),
            "." | ".." => return Err("'.' and '..' are not allowed as segments".into()),
            _ => {}
        }
        if let Some(c) = segment.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_' | '~')) {
            return Err(format!("{c:?} is not allowed, only letters, digits, '-', '.', '_' and '~' are"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_plain_whole_segments() {
        for good in ["/", "/api", "/api/v1", "/.well-known", "/~user"] {
            assert!(PathPrefix::parse(good).is_ok(), "{good:?} was refused");
        }
        for bad in [
            "", "api", "/api/", "//", "/a//b", "/..", "/a/../b", "/a b", "/a;", "/{", "/$uri", "/%2e", "/\"", "/a\nb",
            "/é",
        ] {
            assert!(PathPrefix::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
