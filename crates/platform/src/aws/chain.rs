//! Where AWS keeps a process's own credentials: environment, web identity (IRSA), pod identity, task role, instance.

use std::sync::Arc;
use std::time::Duration;

use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use tokio::sync::RwLock;

use super::Connector;

/// The standard places, asked in AWS's order, and what this process's environment says of them.
#[derive(Clone)]
pub(crate) struct Chain {
    environment: Arc<Vec<(String, String)>>,
    connector: Connector,
    provider: Arc<RwLock<AwsCredentialProvider>>,
}

impl Chain {
    /// The chain that `environment` describes; what does not begin with `AWS_` is left out. Asks nobody yet.
    ///
    /// # Errors
    /// What the environment says is contradictory, for example half a key.
    pub(crate) fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        connector: Connector,
    ) -> object_store::Result<Self> {
        let environment: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with("AWS_")).collect();
        let provider = provider(&environment, &connector)?;
        Ok(Self { environment: Arc::new(environment), connector, provider: Arc::new(RwLock::new(provider)) })
    }

    /// This process's environment.
    pub(crate) fn from_process(connector: Connector) -> object_store::Result<Self> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::new(std::env::vars_os().filter_map(text), connector)
    }

    /// A variable of the environment; empty is not set.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The region that the environment names.
    pub(crate) fn region(&self) -> Option<&str> {
        self.variable("AWS_REGION").or_else(|| self.variable("AWS_DEFAULT_REGION"))
    }

    /// Credentials that are still valid for some minutes.
    pub(crate) async fn credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let provider = Arc::clone(&*self.provider.read().await);
        let credential = provider.get_credential().await?;
        // The signer takes for granted that they fit into headers.
        let parts = [Some(&credential.key_id), Some(&credential.secret_key), credential.token.as_ref()];
        if parts.into_iter().flatten().all(|part| part.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Ok(credential);
        }
        let source = "the key, secret or token has letters that none has".into();
        Err(object_store::Error::Generic { store: "S3", source })
    }

    /// Forgets what was cached: it was refused.
    pub(crate) async fn renew(&self) -> object_store::Result<()> {
        let fresh = provider(&self.environment, &self.connector)?;
        *self.provider.write().await = fresh;
        Ok(())
    }
}

/// The settings of the chain, by their names in the environment.
const SETTINGS: [(&str, AmazonS3ConfigKey); 12] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_REGION", AmazonS3ConfigKey::Region),
    ("AWS_DEFAULT_REGION", AmazonS3ConfigKey::DefaultRegion),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
];

fn provider(environment: &[(String, String)], connector: &Connector) -> object_store::Result<AwsCredentialProvider> {
    // The bucket is never asked for anything: the builder is what knows the chain.
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name("none")
        .with_http_connector(connector.clone())
        .with_retry(retries(Duration::from_secs(5)));
    for (name, key) in SETTINGS {
        if let Some((_, value)) = environment.iter().find(|(known, value)| known == name && !value.is_empty()) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::clone(builder.build()?.credentials()))
}

/// Tries again what may be tried again, twice at most, and not after `within`.
pub(crate) fn retries(within: Duration) -> RetryConfig {
    RetryConfig { max_retries: 2, retry_timeout: within, ..RetryConfig::default() }
}
