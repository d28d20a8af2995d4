//! Settings from variables and flags: texts put at their place in the table.

use toml::Value;

use crate::core::names::nearest;

/// Every setting by its path in the file.
pub const KEYS: [&str; 31] = [
    "domain",
    "state",
    "repository",
    "repository.open",
    "repository.require_token",
    "templates",
    "listen.http",
    "listen.internal",
    "listen.dns",
    "listen.api",
    "listen.services",
    "docker.host",
    "docker.network",
    "docker.subnet",
    "nginx.binary",
    "nginx.workers",
    "nginx.connections",
    "nginx.user",
    "dns.ttl",
    "dns.upstream",
    "dns.resolv_conf",
    "dns.wildcard",
    "dns.naming",
    "dns.extra",
    "api.allowed_hosts",
    "api.trusted_origins",
    "proxy.trusted",
    "proxy.per_address",
    "services.open",
    "services.ca",
    "webhooks.callback",
];

const PREFIX: &str = "PLATFORMER_";
/// Variables that are no settings: they tell the command line and `up` where things are.
const OTHERS: [&str; 8] = [
    "PLATFORMER_CONFIG",
    "PLATFORMER_API",
    "PLATFORMER_CONTEXT",
    "PLATFORMER_TOKEN",
    "PLATFORMER_LOG",
    "PLATFORMER_SUPERVISED",
    "PLATFORMER_RELEASE",
    "PLATFORMER_ARTEFACT",
];

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// The setting that a variable stands for.
pub fn key_of(name: &str) -> Option<&'static str> {
    KEYS.into_iter().find(|key| variable(key) == name)
}

/// The first variable with our prefix that means nothing, and the one it was probably meant to be.
pub fn unknown(environment: &[(String, String)]) -> Option<(&String, Option<String>)> {
    let (name, _) = environment
        .iter()
        .find(|(name, _)| name.starts_with(PREFIX) && key_of(name).is_none() && !OTHERS.contains(&name.as_str()))?;
    let known: Vec<String> = KEYS.iter().map(|key| variable(key)).collect();
    Some((name, nearest(name, known.iter().map(String::as_str)).map(str::to_owned)))
}

/// Puts a text at a key, as the type that the key has.
pub fn put(table: &mut toml::Table, key: &str, text: &str) -> Result<(), String> {
    let words = || text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    let value = match key {
        "listen.http"
        | "listen.dns"
        | "dns.upstream"
        | "api.allowed_hosts"
        | "api.trusted_origins"
        | "proxy.trusted" => Value::Array(words().map(|word| Value::String(word.to_owned())).collect()),
        "dns.extra" => {
            let pairs = words().map(|word| {
                let (name, address) = word.split_once('=').ok_or_else(|| format!("{word:?} is no NAME=ADDRESS"))?;
                Ok((name.to_owned(), Value::String(address.to_owned())))
            });
            Value::Table(pairs.collect::<Result<_, String>>()?)
        }
        "services.open" | "webhooks.callback" | "repository.open" | "repository.require_token" => {
            Value::Boolean(text.parse().map_err(|_| format!("{text:?}: write true or false"))?)
        }
        _ => Value::String(text.to_owned()),
    };
    // The folder alone is the short form of a table, which other keys may have to join.
    let key = if key == "repository" { "repository.path" } else { key };
    if let Some(folder) = table.get_mut("repository").filter(|value| value.is_str()) {
        *folder = Value::Table(toml::Table::from_iter([("path".to_owned(), folder.clone())]));
    }
    let target = match key.split_once('.') {
        None => &mut *table,
        Some((section, _)) => {
            let entry = table.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
            entry.as_table_mut().ok_or_else(|| format!("{section} is no table"))?
        }
    };
    let name = key.rsplit('.').next().unwrap_or(key);
    target.insert(name.to_owned(), value);
    // Read back at once, so that a wrong value is blamed on the variable it came from.
    let alone = table.clone();
    alone.try_into::<super::Settings>().map(drop).map_err(|e| e.message().to_owned())
}
