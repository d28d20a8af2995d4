//! What comes from outside, broken in every way that chance finds: each parser answers, and what it takes it gives
//! back. `PROPTEST_CASES=1000000 cargo test --test parsers` goes on for longer than every change needs.

use platformer::core::access::Scope;
use platformer::core::app::{GitUrl, Period, parse_file};
use platformer::core::config;
use platformer::core::container::Subnet;
use platformer::core::decide::router_keys;
use platformer::core::log::last_lines;
use platformer::core::names::{AppName, HostName, ImageRef, PathPrefix, Port, Version};
use platformer::core::service::ServiceUrl;
use platformer::core::source;
use platformer::core::split::{Percent, Split};
use proptest::prelude::*;

const PIECES: [&str; 34] = [
    "",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "'",
    "\"",
    "\\",
    "$",
    "$(id)",
    "`",
    "${",
    "}",
    "{",
    ";",
    "#",
    "=",
    "..",
    "/",
    "//",
    "%2e",
    "%00",
    "%",
    ":",
    "@",
    "-",
    "--",
    "_",
    "ä",
    "\u{202e}",
    "🦀",
    "\u{1b}[31m",
    "99999999999999999999",
];

/// A good text with a few places cut out, doubled, or filled with what does not belong there.
fn broken(good: &'static [&'static str]) -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..40usize, 0..4u8), 0..6);
    (prop::sample::select(good), edits).prop_map(|(text, edits)| {
        let mut text: Vec<char> = text.chars().collect();
        for (place, piece, how) in edits {
            let at = place.index(text.len() + 1);
            let end = (at + 1 + piece % 7).min(text.len());
            match how {
                0 => _ = text.drain(at..end),
                1 => text.splice(at..at, PIECES[piece % PIECES.len()].chars()).for_each(drop),
                2 => text = text.repeat(2),
                _ => text.truncate(at),
            }
        }
        text.into_iter().collect()
    })
}

/// What was taken reads as itself.
macro_rules! reads_back {
    ($text:expr, $($name:ty),+) => {
        $(if let Ok(taken) = <$name>::parse($text) {
            let again = <$name>::parse(&taken.to_string()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(again.to_string(), taken.to_string());
        })+
    };
}

proptest! {
    #[test]
    fn names_and_addresses(text in broken(&[
        "hello-world", "shop.example.com", "/api/v1", "8080", "1.2.3-rc.1+build", "v2.0", "registry:5000/org/app:1.0",
        "app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "http://[::1]:8080/x?y#z",
        "https://user:secret@host/", "git@host:org/app.git", "ssh://git@host/app", "172.30.0.0/16", "33.33", "5m",
        "deploy:shop", "rolling/shop/stable/id",
    ])) {
        reads_back!(&text, AppName, HostName, PathPrefix, Version, ImageRef, ServiceUrl, GitUrl);
        let _ = (Port::parse(&text), Percent::parse(&text), Period::parse(&text), Scope::parse(&text));
        let _ = (Subnet::parse(&text), router_keys::parse(&text), source::full_image(&text));
        let _ = (source::login_of(&text), source::is_same_repository(&text, "git@host:org/app.git"));
        prop_assert!(last_lines(text.as_bytes(), 3).len() <= 3);
    }

    #[test]
    fn splits(text in broken(&["1.0=67 1.1=33", "1.0=99.99 1.1=0.01", "1.0=100"])) {
        if let Ok(split) = Split::parse(text.split(' ')) {
            let sum: f64 = split.iter().map(|(_, share)| share.fraction()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{text} adds up to {sum}");
        }
    }

    #[test]
    fn config_files(text in broken(&[
        "STARTUP_COMMAND=\"java -jar x.jar && echo \\\"done\\\"\"\nKEY='a b'\n# note\nEMPTY=\nTWO=a\\\nb\n",
        "A=\"secret:v1:AAAA\"\nB=$'x'\nexport C=1\n",
    ])) {
        if let Ok(assignments) = config::parse(&text) {
            for one in assignments {
                prop_assert!(!one.value.contains('\0'), "{:?}", one.key);
                prop_assert_eq!(&config::parse(&config::set("", &one.key, &one.value).unwrap()).unwrap()[0].value, &one.value);
            }
        }
    }

    #[test]
    fn app_files(text in broken(&[
        "image = \"shop:1.0\"\nreplicas = 2\nhosts = [\"shop.example\"]\npaths = [\"/api\"]\n[health]\npath = \"/h\"\n\
         [deploy]\nstrategy = \"canary\"\nbake = \"5m\"\n[canary]\nsteps = [5, 25.5]\n[source]\ngit = \"https://h/a.git\"\n",
    ])) {
        if let Err(error) = parse_file("apps/shop.toml", &text) {
            prop_assert!(error.to_string().contains("apps/shop.toml"), "{error}");
        }
    }
}
