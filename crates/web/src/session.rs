//! Who is signed in: a key, sealed in a cookie that only this server can read.
//!
//! Nothing is kept on the server, so signing in survives a restart and any number of processes that share the secret. A
//! cookie is authenticated encryption (ChaCha20-Poly1305 with a random nonce) of the key, its role, and an end. A form that
//! changes something carries a token made of the cookie, which another site cannot know.

use antiphon_platform::clock::{Clock, Micros, SECOND};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http::{HeaderMap, HeaderValue, header};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How long a visitor stays signed in, in seconds.
pub const SIGNED_IN: i64 = 30 * 24 * 3_600;

/// The largest cookie that is looked into, in bytes.
const COOKIE_LIMIT: usize = 4_096;

/// Seals and opens cookies.
pub struct Sessions {
    seal: LessSafeKey,
    sign: hmac::Key,
    /// Of this secret, so that two servers on one host, whose cookies browsers mix, do not sign visitors out.
    name: String,
    clock: Clock,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Everything.
    Operator,
    /// Read.
    Reader,
}

/// A visitor who is signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The key, which is sent to the API.
    pub key: String,
    /// What it may do, as it was when he signed in; the API decides.
    pub role: Role,
    /// Until when, µs since 1970.
    until: Micros,
}

impl SignedIn {
    /// The key, as the API wants it, marked so that nothing that shows headers shows it.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.key)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Sessions {
    /// Seals with keys made of `secret`.
    #[must_use]
    pub fn new(secret: &[u8], clock: Clock) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let made = |purpose: &[u8]| hmac::sign(&root, purpose);
        #[expect(clippy::expect_used, reason = "SHA-256 gives the 32 bytes that this cipher's keys have")]
        let seal = UnboundKey::new(&CHACHA20_POLY1305, made(b"seal").as_ref()).expect("a key of 32 bytes");
        let name = format!("antiphon-{}", HEXLOWER.encode(&made(b"name").as_ref()[..4]));
        let sign = hmac::Key::new(hmac::HMAC_SHA256, made(b"sign").as_ref());
        Self { seal: LessSafeKey::new(seal), sign, name, clock }
    }

    /// The cookie of a visitor who signs in, with a key that was tried.
    ///
    /// # Errors
    /// When the machine gives no random numbers.
    pub fn sign_in(&self, key: String, role: Role) -> Result<String, Failure> {
        let until = self.clock.now() + SIGNED_IN * SECOND;
        let failed = |_| Failure::bug("the cookie cannot be sealed");
        let mut sealed = serde_json::to_vec(&SignedIn { key, role, until }).map_err(|_| Failure::bug("no JSON"))?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Failure::bug("this machine gives no random numbers"))?;
        let bound = Aad::from(self.name.as_bytes());
        let once = Nonce::assume_unique_for_key(nonce);
        self.seal.seal_in_place_append_tag(once, bound, &mut sealed).map_err(failed)?;
        Ok(format!("{}={}", self.name, BASE64URL_NOPAD.encode(&[&nonce[..], &sealed].concat())))
    }

    /// What a browser is told to forget a cookie.
    #[must_use]
    pub fn nobody(&self) -> String {
        format!("{}=", self.name)
    }

    /// Who sends a request with these headers, and the token of his forms.
    #[must_use]
    pub fn open(&self, headers: &HeaderMap) -> Option<(SignedIn, String)> {
        let value = cookie(headers, &self.name).filter(|value| !value.is_empty() && value.len() <= COOKIE_LIMIT)?;
        let mut sealed = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.seal.open_in_place(nonce, Aad::from(self.name.as_bytes()), sealed).ok()?;
        let signed_in: SignedIn = serde_json::from_slice(opened).ok()?;
        let token = BASE64URL_NOPAD.encode(hmac::sign(&self.sign, value.as_bytes()).as_ref());
        (signed_in.until > self.clock.now()).then_some((signed_in, token))
    }
}

/// The value of a cookie.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    #[test]
    fn a_cookie_is_opened_by_its_own_server_until_its_end() {
        let clock = Clock::manual(1);
        let sessions = Sessions::new(b"one secret", clock.clone());
        let cookie = sessions.sign_in(String::from("ak_secret"), Role::Reader).unwrap();
        assert!(!cookie.contains("secret"));
        let (signed_in, token) = sessions.open(&headers(&format!("a=b; {cookie}; c=d"))).unwrap();
        assert_eq!((signed_in.key.as_str(), signed_in.role), ("ak_secret", Role::Reader));
        assert!(token.len() >= 43);
        let again = Sessions::new(b"one secret", clock.clone());
        assert_eq!(again.open(&headers(&cookie)).unwrap().1, token, "a restart signs nobody out");
        assert!(Sessions::new(b"another", clock.clone()).open(&headers(&cookie)).is_none());
        clock.advance(SIGNED_IN * SECOND);
        assert!(sessions.open(&headers(&cookie)).is_none(), "its time is over");
    }

    #[test]
    fn what_was_changed_is_no_cookie() {
        let sessions = Sessions::new(b"secret", Clock::manual(1));
        let cookie = sessions.sign_in(String::from("ak"), Role::Operator).unwrap();
        let (name, value) = cookie.split_once('=').unwrap();
        let mut bytes = BASE64URL_NOPAD.decode(value.as_bytes()).unwrap();
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            let changed = format!("{name}={}", BASE64URL_NOPAD.encode(&bytes));
            assert!(sessions.open(&headers(&changed)).is_none(), "byte {place}");
            bytes[place] ^= 1;
        }
        for wrong in ["", "=", "abc", "!!", &"A".repeat(5_000)] {
            assert!(sessions.open(&headers(&format!("{name}={wrong}"))).is_none());
        }
        assert_ne!(cookie, sessions.sign_in(String::from("ak"), Role::Operator).unwrap(), "nonces differ");
    }
}
