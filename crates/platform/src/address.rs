//! Where an engine is reached: an address with its credentials, looked up again for each new connection, so that rotated
//! credentials are taken up without a restart.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::secrets::{Secret, SecretError};

/// What knows an address now.
type LookUp = dyn Fn(Freshness) -> BoxFuture<'static, Result<Secret, SecretError>> + Send + Sync;

/// How sure the caller must be that nothing was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// What was looked up a short while ago will do.
    Cached,
    /// The engine has refused what was looked up before: ask where it is kept.
    Now,
}

/// An engine's address with its credentials. Never shown.
#[derive(Clone)]
pub struct Address {
    look_up: Arc<LookUp>,
}

impl Address {
    /// An address that `look_up` finds each time.
    pub fn new(
        look_up: impl Fn(Freshness) -> BoxFuture<'static, Result<Secret, SecretError>> + Send + Sync + 'static,
    ) -> Self {
        Self { look_up: Arc::new(look_up) }
    }

    /// An address that never changes.
    #[must_use]
    pub fn fixed(url: impl Into<String>) -> Self {
        let url = Secret::new(url);
        Self::new(move |_| Box::pin(std::future::ready(Ok(url.clone()))))
    }

    /// The address for a new connection; [`Freshness::Now`] after the engine refused the credentials of the last one.
    ///
    /// # Errors
    /// [`SecretError`] when a reference in it leads nowhere.
    pub async fn current(&self, freshness: Freshness) -> Result<Secret, SecretError> {
        (self.look_up)(freshness).await
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl From<&str> for Address {
    fn from(url: &str) -> Self {
        Self::fixed(url)
    }
}

impl From<&String> for Address {
    fn from(url: &String) -> Self {
        Self::fixed(url.as_str())
    }
}

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self::fixed(url)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_address_is_looked_up_again_and_never_shown() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let address = Address::new(move |_| {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(Secret::new(format!("postgres://antiphon:pass{number}@host/db"))) })
        });
        assert_eq!(address.current(Freshness::Cached).await.unwrap().reveal(), "postgres://antiphon:pass0@host/db");
        assert_eq!(address.current(Freshness::Now).await.unwrap().reveal(), "postgres://antiphon:pass1@host/db");
        assert_eq!(format!("{address:?}"), "***");
    }
}
