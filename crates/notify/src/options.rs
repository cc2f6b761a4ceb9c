//! The settings of role `notify`.

use antiphon_platform::config::{Config, ConfigError, Kind, Setting};
use antiphon_platform::outbound::{Allow, AllowError};

/// The settings of this role.
pub const SETTINGS: &[Setting] = &[Setting {
    key: "notify.allow",
    kind: Kind::Texts,
    default: "",
    secret: false,
    help: "hosts, addresses and ranges (10.0.0.0/8) that web hooks may be sent to although they are not public; role api refuses others",
}];

/// What may be reached.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Beside public addresses.
    pub allow: Allow,
}

/// What cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A setting leads nowhere.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An entry of `notify.allow`.
    #[error("notify.allow: {0}")]
    Allow(#[from] AllowError),
}

impl Options {
    /// Reads [`SETTINGS`].
    ///
    /// # Errors
    /// [`OptionsError`] for what cannot be used.
    pub fn read(config: &Config) -> Result<Self, OptionsError> {
        Ok(Self { allow: Allow::parse(&config.texts("notify.allow")?)? })
    }
}
