//! How a web hook is signed: as Standard Webhooks 1.0.0 says, so that receivers find a library that checks it.
//!
//! The signature is HMAC-SHA-256, with the hook's secret, over `ID.TIMESTAMP.BODY`: the values of the first two headers
//! and the bytes of the body, joined by full stops. A receiver refuses timestamps that are more than five minutes off,
//! compares signatures in constant time, and remembers ids to leave out what comes again.

use std::fmt;

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::DbError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The headers, in this order: the notice's id, which stays the same whenever it is sent again; when it is sent, seconds
/// since 1970; `v1,` and the signature in base64.
pub const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// What the text form of a secret begins with; base64 of its bytes follows.
const PREFIX: &str = "whsec_";

/// What a hook is signed with: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Without the bytes, so that no log line can show them.
impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// [`DbError::Broken`] when the machine gives no random bytes.
    pub fn random() -> Result<Self, DbError> {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes).map_err(|error| DbError::Broken(format!("no random bytes: {error}")))?;
        Ok(Self(bytes))
    }

    /// The one of these bytes.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// As it is shown, once: `whsec_` and base64.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The value of the header `webhook-signature` for a body that is sent at `time`.
#[must_use]
pub fn signature(secret: &Secret, id: &str, time: Micros, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("a key of any length");
    mac.update(format!("{id}.{}.", time.div_euclid(SECOND)).as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn it_is_what_receivers_of_the_standard_expect() {
        let secret = Secret::of(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let found =
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330 * SECOND, br#"{"test": 2432232314}"#);
        assert_eq!(found, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_shown_as_its_text_only() {
        let secret = Secret::random().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.text().len(), PREFIX.len() + 44);
        assert_ne!(secret, Secret::random().unwrap());
    }
}
