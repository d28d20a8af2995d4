//! What only this platform can read: secret values of configs, and the tokens by which instances prove what they are.

use crate::core::names::{AppName, EnvName, Version};

pub trait Seal: Send + Sync {
    /// The value as it may be kept in a file. It opens for this key of this app only.
    ///
    /// # Errors
    /// There are no random numbers.
    fn seal(&self, app: &AppName, key: &EnvName, value: &str) -> Result<String, String>;
    /// The value that was sealed, or `None` where it was sealed by another platform, for another key, or altered.
    fn open(&self, app: &AppName, key: &EnvName, sealed: &str) -> Option<String>;
    /// What an instance of a release shows to be given its secrets.
    fn boot_token(&self, app: &AppName, version: &Version) -> String;
    /// What this platform alone can write about a text; each time another.
    ///
    /// # Errors
    /// There are no random numbers.
    fn mark(&self, text: &str) -> Result<String, String>;
    /// Whether this platform wrote the mark about this text.
    fn is_marked(&self, text: &str, mark: &str) -> bool;
    /// What webhooks for an app prove themselves with.
    fn webhook_secret(&self, app: &AppName) -> String;
    /// Whether these bytes were signed with that secret: HMAC-SHA-256, in hex.
    fn has_signed(&self, app: &AppName, bytes: &[u8], signature: &str) -> bool;
    /// The release whose instances were given this token.
    fn booted(&self, token: &str) -> Option<(AppName, Version)>;
}
