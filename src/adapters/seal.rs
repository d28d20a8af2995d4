//! Sealing with ChaCha20-Poly1305 and signing with HMAC-SHA-256 (RFC 8439, RFC 2104), both by ring.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

use crate::core::config::SEALED;
use crate::core::digest::hex;
use crate::core::names::{AppName, EnvName, Version};
use crate::ports::seal::Seal;

/// What a boot token begins with.
const BOOT: &str = "boot.";

pub struct KeptSeal {
    key: LessSafeKey,
    sign: hmac::Key,
    hooks: hmac::Key,
    marks: hmac::Key,
}

impl KeptSeal {
    /// `secret` is the text that the state folder keeps; four keys are made from it.
    ///
    /// # Errors
    /// ring takes no such key.
    pub fn new(secret: &str) -> Result<Self, String> {
        let derived = |purpose: &str| digest::digest(&digest::SHA256, format!("{purpose} {secret}").as_bytes());
        let key = UnboundKey::new(&CHACHA20_POLY1305, derived("seal").as_ref()).map_err(|e| e.to_string())?;
        let sign = hmac::Key::new(hmac::HMAC_SHA256, derived("boot").as_ref());
        let hooks = hmac::Key::new(hmac::HMAC_SHA256, derived("webhook").as_ref());
        let marks = hmac::Key::new(hmac::HMAC_SHA256, derived("mark").as_ref());
        Ok(Self { key: LessSafeKey::new(key), sign, hooks, marks })
    }

    fn signature(&self, release: &str) -> String {
        hex(hmac::sign(&self.sign, release.as_bytes()).as_ref())
    }
}

/// Compared in the same time whatever a guess has in common with it.
fn is_signature(key: &hmac::Key, bytes: &[u8], hex: &str) -> bool {
    let digit = |n: usize| hex.get(n * 2..n * 2 + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let given: Option<Vec<u8>> = (0..hex.len() / 2).map(digit).collect();
    hex.len() == 2 * digest::SHA256_OUTPUT_LEN && given.is_some_and(|given| hmac::verify(key, bytes, &given).is_ok())
}

/// A value moved to another place does not open there.
fn place(app: &AppName, key: &EnvName) -> Aad<Vec<u8>> {
    Aad::from(format!("{app} {key}").into_bytes())
}

impl Seal for KeptSeal {
    fn seal(&self, app: &AppName, key: &EnvName, value: &str) -> Result<String, String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| "there are no random numbers".to_owned())?;
        let mut bytes = value.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place(app, key), &mut bytes)
            .map_err(|e| e.to_string())?;
        Ok(format!("{SEALED}{}", BASE64_STANDARD.encode([&nonce[..], &bytes].concat())))
    }

    fn open(&self, app: &AppName, key: &EnvName, sealed: &str) -> Option<String> {
        let bytes = BASE64_STANDARD.decode(sealed.strip_prefix(SEALED)?).ok()?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN)?;
        let (nonce, mut rest) = (Nonce::try_assume_unique_for_key(nonce).ok()?, rest.to_vec());
        let opened = self.key.open_in_place(nonce, place(app, key), &mut rest).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }

    fn boot_token(&self, app: &AppName, version: &Version) -> String {
        let release = format!("{app}@{version}");
        format!("{BOOT}{release}.{}", self.signature(&release))
    }

    fn mark(&self, text: &str) -> Result<String, String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| "there are no random numbers".to_owned())?;
        let nonce = hex(&nonce);
        let signature = hex(hmac::sign(&self.marks, format!("{nonce} {text}").as_bytes()).as_ref());
        Ok(format!("{nonce}.{signature}"))
    }

    fn is_marked(&self, text: &str, mark: &str) -> bool {
        let parts = mark.split_once('.').filter(|(nonce, _)| nonce.len() == 2 * NONCE_LEN);
        parts.is_some_and(|(nonce, sign)| is_signature(&self.marks, format!("{nonce} {text}").as_bytes(), sign))
    }

    fn webhook_secret(&self, app: &AppName) -> String {
        hex(hmac::sign(&self.hooks, app.as_str().as_bytes()).as_ref())
    }

    fn has_signed(&self, app: &AppName, bytes: &[u8], signature: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.webhook_secret(app).as_bytes());
        is_signature(&key, bytes, signature)
    }

    fn booted(&self, token: &str) -> Option<(AppName, Version)> {
        let (release, signature) = token.strip_prefix(BOOT)?.rsplit_once('.')?;
        if !is_signature(&self.sign, release.as_bytes(), signature) {
            return None;
        }
        let (app, version) = release.split_once('@')?;
        Some((AppName::parse(app).ok()?, Version::parse(version).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> (AppName, EnvName) {
        (AppName::parse("shop").unwrap(), EnvName::parse("DB_PASSWORD").unwrap())
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_byte_for_byte_and_nowhere_else(value in "\\PC*") {
            let (app, key) = names();
            let seal = KeptSeal::new("a secret").unwrap();
            let sealed = seal.seal(&app, &key, &value).unwrap();
            prop_assert_ne!(&sealed, &seal.seal(&app, &key, &value).unwrap(), "each time another one");
            prop_assert_eq!(seal.open(&app, &key, &sealed), Some(value));
            prop_assert_eq!(seal.open(&AppName::parse("blog").unwrap(), &key, &sealed), None);
            prop_assert_eq!(seal.open(&app, &EnvName::parse("OTHER").unwrap(), &sealed), None);
            prop_assert_eq!(KeptSeal::new("another").unwrap().open(&app, &key, &sealed), None);
            prop_assert_eq!(seal.open(&app, &key, &sealed.replace("==", "")[..sealed.len() / 2]), None);
        }
    }

    #[test]
    fn a_mark_holds_for_its_text_and_cannot_be_made_up() {
        let seal = KeptSeal::new("a secret").unwrap();
        let mark = seal.mark("shop 1.0").unwrap();
        assert_ne!(mark, seal.mark("shop 1.0").unwrap(), "each time another one");
        assert!(seal.is_marked("shop 1.0", &mark) && !seal.is_marked("shop 1.1", &mark));
        assert!(!KeptSeal::new("another").unwrap().is_marked("shop 1.0", &mark));
        for forged in ["", ".", "x.y", &mark[1..], &mark[..mark.len() - 2]] {
            assert!(!seal.is_marked("shop 1.0", forged), "{forged}");
        }
    }

    #[test]
    fn a_boot_token_names_its_release_and_cannot_be_made_up() {
        let seal = KeptSeal::new("a secret").unwrap();
        let (app, version) = (names().0, Version::parse("1.2.0-r2").unwrap());
        let token = seal.boot_token(&app, &version);
        assert_eq!(seal.booted(&token), Some((app, version)));
        for forged in
            [token.replace("shop", "blog"), token.replace("1.2.0", "1.3.0"), format!("{token}0"), "boot.".into()]
        {
            assert_eq!(seal.booted(&forged), None, "{forged}");
        }
        assert_eq!(KeptSeal::new("another").unwrap().booted(&token), None);
    }
}
