//! The credentials of each request: what the address says now, or what AWS's standard places say.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use super::location::Location;
use crate::address::{Address, Freshness};
use crate::aws::Chain;

/// Where credentials come from. Never shows one.
#[derive(Clone)]
pub(super) struct Credentials {
    source: Source,
}

#[derive(Clone)]
enum Source {
    Address(Address),
    Chain(Chain),
}

impl Credentials {
    pub(super) fn address(address: Address) -> Self {
        Self { source: Source::Address(address) }
    }

    pub(super) fn chain(chain: Chain) -> Self {
        Self { source: Source::Chain(chain) }
    }

    /// Looks them up anew, after they were refused; whether it is worth to ask again.
    pub(super) async fn renew(&self) -> bool {
        match &self.source {
            Source::Chain(chain) => chain.renew().await.is_ok(),
            Source::Address(address) => {
                let before = address.current(Freshness::Cached).await.ok();
                let now = address.current(Freshness::Now).await.ok();
                now.is_some() && before != now
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let address = match &self.source {
            Source::Chain(chain) => return chain.credential().await,
            Source::Address(address) => address,
        };
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source };
        let text = address.current(Freshness::Cached).await.map_err(|error| failed(Box::new(error)))?;
        let location = Location::parse(text.reveal()).map_err(|told| failed(told.into()))?;
        let credential =
            location.credential.ok_or_else(|| failed("the address has no key and secret any more".into()))?;
        Ok(Arc::new(credential))
    }
}
