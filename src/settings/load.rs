//! File, environment and flags become one value.

use std::path::{Path, PathBuf};

use super::{Settings, SettingsError, environment};
use crate::core::names::nearest;
use crate::core::toml_error;

/// Where settings are looked for if none are named.
const PLACES: [&str; 2] = ["platformer.toml", "/etc/platformer/platformer.toml"];

/// A settings file that was found, with its text.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// Finds the settings file: the one named, else `PLATFORMER_CONFIG`, else the usual places.
pub fn find(named: Option<&Path>) -> Result<Option<Source>, SettingsError> {
    let read = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) => Ok(Source { path: path.to_owned(), text }),
        Err(error) => {
            Err(SettingsError { place: path.display().to_string(), reason: format!("cannot be read: {error}") })
        }
    };
    let named = named.map(Path::to_owned).or_else(|| std::env::var_os("PLATFORMER_CONFIG").map(PathBuf::from));
    match named {
        Some(path) => read(&path).map(Some),
        None => PLACES.iter().map(Path::new).find(|path| path.is_file()).map(read).transpose(),
    }
}

/// Puts file, environment and flags (`section.key`, value) together.
pub fn load(
    source: Option<&Source>,
    environment: &[(String, String)],
    flags: &[(String, String)],
) -> Result<Settings, SettingsError> {
    let mut table = toml::Table::new();
    if let Some(source) = source {
        let fail = |error: &toml::de::Error| {
            let explained = toml_error::explain(&source.text, error);
            let line = explained.line.map(|l| format!(":{l}")).unwrap_or_default();
            SettingsError { place: format!("{}{line}", source.path.display()), reason: explained.reason }
        };
        // Checked on its own first, so that an error points at its line.
        toml::from_str::<Settings>(&source.text).map_err(|e| fail(&e))?;
        table = toml::from_str(&source.text).map_err(|e| fail(&e))?;
    }
    let variables = environment.iter().filter_map(|(name, value)| Some((environment::key_of(name)?, name, value)));
    for (key, name, value) in variables {
        environment::put(&mut table, key, value).map_err(|reason| SettingsError { place: name.clone(), reason })?;
    }
    for (key, value) in flags {
        let known = environment::KEYS.iter().find(|known| **known == key);
        let unknown = || {
            let near =
                nearest(key, environment::KEYS).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            SettingsError { place: "--set".into(), reason: format!("unknown key {key}{near}") }
        };
        environment::put(&mut table, known.ok_or_else(unknown)?, value)
            .map_err(|reason| SettingsError { place: format!("--set {key}"), reason })?;
    }
    let settings: Settings = table
        .try_into()
        .map_err(|e: toml::de::Error| SettingsError { place: "settings".into(), reason: e.message().to_owned() })?;
    settings.check()?;
    Ok(settings)
}

/// Refuses variables that look like settings and are none.
pub fn check_environment(environment: &[(String, String)]) -> Result<(), SettingsError> {
    match environment::unknown(environment) {
        Some((name, near)) => Err(SettingsError {
            place: name.clone(),
            reason: near.map_or("unknown setting".into(), |near| format!("unknown setting, did you mean {near}?")),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::zone::Wildcard;
    use crate::settings::{Listen, Listens, PerAddress, Wildcarded};

    fn from(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
        let pairs =
            |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        let source = Source { path: "platformer.toml".into(), text: text.into() };
        check_environment(&pairs(environment)).map_err(|e| e.to_string())?;
        load(Some(&source), &pairs(environment), &pairs(flags)).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let text = "domain = \"file\"\n[docker]\nnetwork = \"file\"\n[listen]\nhttp = \"0.0.0.0:1\"";
        let settings = from(
            text,
            &[("PLATFORMER_DOMAIN", "env"), ("PLATFORMER_LISTEN_HTTP", "0.0.0.0:2")],
            &[("listen.http", "0.0.0.0:3")],
        )
        .unwrap();
        assert_eq!(
            (settings.domain.as_str(), settings.docker.network.as_str(), settings.listen.http.addresses(true)),
            ("env", "file", vec!["0.0.0.0:3".parse().unwrap()])
        );
    }

    #[test]
    fn lists_and_tables_come_from_variables_too() {
        let environment = [
            ("PLATFORMER_LISTEN_DNS", "127.0.0.1:5300,network:53"),
            ("PLATFORMER_DNS_UPSTREAM", "9.9.9.9, 1.1.1.1:5353"),
            ("PLATFORMER_DNS_EXTRA", "db.corp=10.0.0.5 web.corp=10.0.0.6"),
            ("PLATFORMER_DNS_WILDCARD", "balancer"),
            ("PLATFORMER_LISTEN_HTTP", "[::]:8080,127.0.0.1:81"),
            ("PLATFORMER_PROXY_TRUSTED", "10.0.0.0/8 fd00::/8"),
            ("PLATFORMER_PROXY_PER_ADDRESS", "7"),
        ];
        let settings = from("", &environment, &[]).unwrap();
        assert_eq!(settings.listen.dns, [Listen::Address("127.0.0.1:5300".parse().unwrap()), Listen::Network(53)]);
        let texts: Vec<String> = settings.listen.http.addresses(true).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["[::]:8080", "127.0.0.1:81", "0.0.0.0:8080"], "[::] is every address");
        assert_eq!((settings.proxy.trusted.len(), settings.proxy.per_address), (2, PerAddress(7)));
        assert_eq!(Listens::default().http.addresses(false).len(), 1);
        assert_eq!(settings.dns.upstream.len(), 2);
        assert_eq!(settings.dns.extra.len(), 2);
        assert_eq!(settings.dns.wildcard, Wildcarded(Wildcard::Balancer));
    }

    #[test]
    fn the_repository_is_a_folder_or_a_table_with_one() {
        let open = |text, environment: &[(&str, &str)], flags: &[(&str, &str)]| {
            let settings = from(text, environment, flags).unwrap();
            (
                settings.repository.path.display().to_string(),
                settings.repository.open,
                settings.repository.require_token,
            )
        };
        assert_eq!(open("", &[], &[]), ("./repository".into(), false, false));
        assert_eq!(open("repository = \"/srv/r\"", &[], &[]), ("/srv/r".into(), false, false));
        assert_eq!(open("[repository]\npath = \"/srv/r\"\nopen = true", &[], &[]), ("/srv/r".into(), true, false));
        let variables = [("PLATFORMER_REPOSITORY", "/srv/v"), ("PLATFORMER_REPOSITORY_OPEN", "true")];
        assert_eq!(open("repository = \"/srv/r\"", &variables, &[]), ("/srv/v".into(), true, false));
        let flags = [("repository.require_token", "true"), ("repository", "/srv/f")];
        assert_eq!(open("[repository]\nopen = true", &[], &flags), ("/srv/f".into(), true, true));
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_the_nearest_key() {
        for (text, expected) in [
            ("\n[listen]\nhtpp = \"0.0.0.0:80\"", "platformer.toml:3: unknown key `htpp`, did you mean `http`?"),
            ("domian = \"x\"", "did you mean `domain`?"),
            ("domain = \"Up\"", "lower case"),
            ("domain = \"localhost\"", "choose another"),
            ("domain = \"10.0.0.1\"", "an address"),
            ("[docker]\nnetwork = \"platform\"", "docker.network: \"platform\" is like the domain"),
            ("[docker]\nnetwork = \"Platform\"", "Leave the setting out"),
            ("domain = \"a.corp\"\n[docker]\nnetwork = \"corp\"", "repository.a.corp"),
            ("[docker]\nnetwork = \"shop.platform\"", "is like the domain"),
            ("domain = \"platformer\"", "such as platformer-net"),
            ("[dns.extra]\n\"repository.platform\" = \"10.0.0.1\"", "the platform's own"),
            ("[dns.extra]\nlocalhost = \"10.0.0.1\"", "this machine"),
            ("[listen]\nhttp = \"80\"", "platformer.toml:2:"),
            ("[listen]\nhttp = []", "platformer.toml:2:"),
            ("[listen]\nhttp = [\"0.0.0.0:80\", 5]", "write IP:PORT"),
            ("[proxy]\ntrusted = [\"10.0.0.0/33\"]", "10.0.0.0/8"),
            ("[proxy]\nper_address = -1", "platformer.toml:2:"),
            ("state = \"/tmp/a b\"", "only letters"),
            ("[dns]\nnaming = \"devdn\"", "did you mean `devdns`?"),
            ("[repository]\nopne = true", "did you mean `open`?"),
            ("repository = 5", "a folder"),
        ] {
            let error = from(text, &[], &[]).unwrap_err();
            assert!(error.contains(expected), "{text:?} gave {error}");
        }
        let error = from("", &[("PLATFORMER_LISTEN_HTPP", "x")], &[]).unwrap_err();
        assert_eq!(error, "PLATFORMER_LISTEN_HTPP: unknown setting, did you mean PLATFORMER_LISTEN_HTTP?");
        assert!(from("", &[("PLATFORMER_LISTEN_HTTP", "x")], &[]).is_err());
        assert!(from("", &[], &[("listen.htpp", "x")]).unwrap_err().contains("did you mean listen.http?"));
    }
}
