//! App names, host names and the platform's domain: all of them DNS names, so that each can be answered.

use super::{NameError, checked_name, textual_order};

/// Names under the domain that belong to the platform. No label or declaration may claim them.
pub const RESERVED: [&str; 9] =
    ["repository", "loadbalancer", "dns", "services", "dashboard", "container", "instances", "candidate", "stable"];

checked_name! {
    /// The name of an app: one lower-case DNS label (RFC 1123), not one of [`RESERVED`].
    AppName, "app name", check_app
}
textual_order!(AppName);

checked_name! {
    /// A full host name in lower case, such as `shop.platform`: up to 253 characters, no trailing dot.
    HostName, "host name", check_host
}
textual_order!(HostName);

checked_name! {
    /// The domain that the platform answers for, such as `platform`: one or more labels.
    Domain, "domain", check_host
}
textual_order!(Domain);

impl Domain {
    /// `platform`, where nothing else is set.
    pub fn platform() -> Self {
        Self("platform".into())
    }
}

impl AppName {
    /// The name's default host under a domain.
    pub fn host(&self, domain: &Domain) -> HostName {
        HostName(format!("{self}.{domain}").into())
    }

    /// The host that needs no DNS set-up: every `.localhost` name is loopback (RFC 6761).
    pub fn localhost(&self) -> HostName {
        HostName(format!("{self}.localhost").into())
    }
}

impl HostName {
    /// This name with one more label in front; `label` must satisfy [`is_dns_label`].
    pub fn child(&self, label: &str) -> Result<HostName, NameError> {
        HostName::parse(&format!("{label}.{self}"))
    }

    /// The part of the name in front of `domain`, or `None` where the name is not below it.
    pub fn below<'a>(&'a self, domain: &str) -> Option<&'a str> {
        self.as_str().strip_suffix(domain)?.strip_suffix('.')
    }

    /// Whether it is read as an IP address, in one of the spellings there are: `127.0.0.1`, `127.1`, `0x7f000001`, a bare
    /// number. What ends in a number is an address and no name (WHATWG URL standard, host parsing).
    pub fn is_address(&self) -> bool {
        let last = self.as_str().rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        hex || last.bytes().all(|b| b.is_ascii_digit())
    }

    /// The platform's own name that this host would claim: `repository.platform`, `x.dns.platform`, `candidate.localhost`.
    pub fn reserved_under(&self, domain: &Domain) -> Option<&'static str> {
        let prefix = self.below(domain.as_str()).or_else(|| self.below("localhost"))?;
        let nearest = prefix.rsplit('.').next()?;
        RESERVED.into_iter().find(|name| *name == nearest)
    }
}

/// Whether `text` is one lower-case DNS label of letters, digits and inner hyphens.
pub fn is_dns_label(text: &str) -> bool {
    check_label(text).is_ok()
}

fn check_label(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() > 63 {
        return Err(format!("it has {} characters, DNS allows 63", text.len()));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("it may not begin or end with a hyphen".into());
    }
    match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        Some(c) if c.is_ascii_uppercase() => Err(format!("write it in lower case ({c:?} is upper case)")),
        Some('_') => Err("'_' is not allowed, write '-'".into()),
        Some(c) if c.is_alphabetic() => Err(format!("{c:?} is not allowed; write the name as DNS has it, xn--…")),
        Some(c) => Err(format!("{c:?} is not allowed, only a-z, 0-9 and '-' are")),
        None => Ok(()),
    }
}

fn check_app(text: &str) -> Result<(), String> {
    check_label(text)?;
    if RESERVED.contains(&text) || text == "localhost" {
        return Err("it belongs to the platform itself, choose another".into());
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() > 253 {
        return Err(format!("it has {} characters, DNS allows 253", text.len()));
    }
    for label in text.split('.') {
        check_label(label).map_err(|reason| match label {
            "" => "it has an empty label (a double, leading or trailing dot)".to_owned(),
            _ if text == label => reason,
            _ => format!("label {label:?}: {reason}"),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corpus of bad names that every parser of the platform is tried with.
    const BAD: [&str; 24] = [
        "",
        "-a",
        "a-",
        "A",
        "Web",
        "a_b",
        "a b",
        " a",
        "a\n",
        "a;b",
        "{",
        "}",
        "\"",
        "'",
        "#",
        "$host",
        "`id`",
        "\\",
        "a\0b",
        "é",
        "аpp",
        "*",
        "a,b",
        "xn--\u{fc}",
    ];

    #[test]
    fn app_names_are_single_lower_case_labels() {
        for bad in BAD.iter().copied().chain(["a.b", &"a".repeat(64)]).chain(RESERVED) {
            assert!(AppName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "7", "hello-world", "pid", &"a".repeat(63), "xn--bcher-kva"] {
            assert!(AppName::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn host_names_are_dotted_labels() {
        for bad in BAD.iter().copied().chain(["a..b", ".a", "a.", &["a"; 128].join(".")]) {
            assert!(HostName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["shop.platform", "a.b.c", "localhost"] {
            assert!(HostName::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn reserved_names_are_found_below_the_domain_and_below_localhost() {
        let domain = Domain::parse("platform").unwrap();
        let reserved = |host: &str| HostName::parse(host).unwrap().reserved_under(&domain);
        assert_eq!(reserved("repository.platform"), Some("repository"));
        assert_eq!(reserved("x.container.platform"), Some("container"));
        assert_eq!(reserved("dns.localhost"), Some("dns"));
        assert_eq!(reserved("dns.example"), None);
        assert_eq!(reserved("stable.shop.platform"), None);
    }

    #[test]
    fn an_address_is_known_in_every_spelling() {
        for address in ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.01", "1.2.3.4.5", "a.1"] {
            assert!(HostName::parse(address).unwrap().is_address(), "{address}");
        }
        for name in ["shop.platform", "1.shop", "0x7g", "v1", "10-0-0-5.platform"] {
            assert!(!HostName::parse(name).unwrap().is_address(), "{name}");
        }
    }
}
