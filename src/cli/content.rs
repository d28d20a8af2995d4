//! What verbs share that send user text to the API.

/// A text as one segment of a URL's path.
pub fn segment(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-_.".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_segment() {
        assert_eq!(segment("shop-1.0"), "shop-1.0");
        assert_eq!(segment("../a?b#é"), "..%2Fa%3Fb%23%C3%A9");
    }
}
