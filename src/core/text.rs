//! Bytes of a file that somebody wrote, as text.

/// Text files larger than this, in bytes, are nobody's.
pub const LARGEST: u64 = 1 << 20;

/// The text, if it is UTF-8; else in which encoding it seems to be, and what helps.
pub fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let wide = match bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ if zeros > 0 && zeros * 3 >= bytes.len() => Some("UTF-16"),
        _ => None,
    };
    if let Some(encoding) = wide {
        return Err(format!("it is {encoding}; save it as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let read = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = read.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8, perhaps Latin-1 or Windows-1252; save it as UTF-8")
    })
}

/// The text without the mark that some editors put before it.
pub fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_is_named_with_its_encoding() {
        let wide = |text: &str, mark: &[u8]| {
            let units = text.encode_utf16().flat_map(u16::to_le_bytes);
            decode(mark.iter().copied().chain(units).collect()).unwrap_err()
        };
        assert_eq!(wide("A=1\n", b"\xff\xfe"), "it is UTF-16; save it as UTF-8");
        assert_eq!(wide("A=1\n", b""), "it is UTF-16; save it as UTF-8");
        assert_eq!(decode(b"\0\0\xfe\xff\0\0\0A".to_vec()).unwrap_err(), "it is UTF-32; save it as UTF-8");
        let error = decode(b"A=1\nB=\xe4\n".to_vec()).unwrap_err();
        assert!(error.starts_with("line 2 is not UTF-8, perhaps Latin-1"), "{error}");
        assert_eq!(decode("A=\u{e4}".into()).unwrap(), "A=\u{e4}");
        assert_eq!((unmarked("\u{feff}A"), unmarked("A")), ("A", "A"));
    }
}
