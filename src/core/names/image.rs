//! Image references and environment variable names: what a container is made from and told.

use super::{AppName, NameError, Version, checked_name, textual_order};

checked_name! {
    /// An image reference such as `registry:5000/org/app:1.0` or `app@sha256:…`, at most 255 characters.
    /// The engine parses it; here it is only kept from being an option or several words.
    ImageRef, "image", check_image
}
textual_order!(ImageRef);

checked_name! {
    /// The name of an environment variable (POSIX portable set) that an app may be given.
    EnvName, "variable name", check_env
}
textual_order!(EnvName);

impl ImageRef {
    /// The image that fetches artefact and config by itself; used where an app file names no image.
    pub fn base() -> Self {
        Self("platformer/app-base".into())
    }

    /// The name under which an image is kept that was pushed to the platform itself.
    pub fn pushed(app: &AppName, version: &Version) -> Result<Self, NameError> {
        Self::parse(&format!("platformer-push/{app}:{}", version.plain()))
    }

    /// Whether it was pushed to the platform itself for this app.
    pub fn is_pushed_for(&self, app: &AppName) -> bool {
        self.repository().strip_prefix("platformer-push/") == Some(app.as_str())
    }

    /// Whether it was pushed to the platform itself, which is then the only one to know it.
    pub fn is_pushed(&self) -> bool {
        self.as_str().starts_with("platformer-push/")
    }

    /// The reference without tag and digest.
    pub fn repository(&self) -> &str {
        let text = self.as_str().split('@').next().unwrap_or_default();
        match text.rfind(':') {
            Some(colon) if !text[colon..].contains('/') => &text[..colon],
            _ => text,
        }
    }

    /// The tag, where it is one that can serve as a version; `latest` where the reference has none.
    pub fn version(&self) -> Option<Version> {
        let last = self.as_str().rsplit('/').next()?;
        if last.contains('@') {
            return None;
        }
        Version::parse(last.split_once(':').map_or("latest", |(_, tag)| tag)).ok()
    }
}

fn check_image(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 255 {
        return Err(format!("it has {} characters, 1 to 255 are allowed", text.len()));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("it must begin with a letter or a digit".into());
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/' | ':' | '@')) {
        Some(c) => Err(format!("{c:?} is not allowed in an image reference")),
        None => Ok(()),
    }
}

/// Variables that change which code runs before the app does; a config that sets one is refused.
const FORBIDDEN: [&str; 8] = ["PATH", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND"];

fn check_env(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 128 {
        return Err(format!("it has {} characters, 1 to 128 are allowed", text.len()));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("it may not begin with a digit".into());
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        return Err(format!("{c:?} is not allowed, only letters, digits and '_' are"));
    }
    if FORBIDDEN.contains(&text) || text.starts_with("LD_") || text.starts_with("BASH_FUNC_") {
        return Err("it would change how the app's shell and loader work; set it in the image instead".into());
    }
    if text.starts_with("PLATFORMER_") {
        return Err("names that begin with PLATFORMER_ belong to the platform".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_are_one_plain_word() {
        for good in ["a", "platformer/app-base", "localhost:5000/a/b:1.0", "a@sha256:0f"] {
            assert!(ImageRef::parse(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["", "-v", "a b", "a;b", "a\n", "$x", "../x"] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_tag_is_the_version_and_a_registry_port_is_not() {
        let version = |text: &str| ImageRef::parse(text).unwrap().version().map(|v| v.to_string());
        assert_eq!(version("r:5000/a:1.2").as_deref(), Some("1.2"));
        assert_eq!(version("r:5000/a").as_deref(), Some("latest"));
        assert_eq!(version("a@sha256:0f"), None);
    }

    #[test]
    fn an_image_is_pushed_for_one_app() {
        let pushed = |text: &str| ImageRef::parse(text).unwrap().is_pushed_for(&AppName::parse("a").unwrap());
        assert!(pushed("platformer-push/a") && pushed("platformer-push/a:1.0"));
        for other in ["platformer-push/b:1.0", "platformer-push/a/b", "platformer-push/ab", "a", "x/platformer-push/a"]
        {
            assert!(!pushed(other), "{other}");
        }
    }

    #[test]
    fn variables_that_would_run_code_are_refused() {
        for bad in ["", "1A", "A B", "A-B", "PATH", "LD_PRELOAD", "BASH_ENV", "PLATFORMER_TOKEN", "É"] {
            assert!(EnvName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(EnvName::parse("STARTUP_COMMAND").is_ok());
    }
}
