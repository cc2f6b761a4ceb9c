//! Where connections lead: read from the settings, before anything is opened.

use std::path::{Path, PathBuf};

use antiphon_platform::address::Address;
use antiphon_platform::config::Config;
use anyhow::{Context, Result, bail};

use crate::cli::Globals;
use crate::data_folder::DataFolder;
use crate::roles::{Access, Permitted};
use crate::settings;

/// A port whose engine a URL chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its section in the settings: `database` for `database.url`.
    pub name: &'static str,
    /// The scheme of the embedded engine's URLs.
    local: &'static str,
    /// Where the embedded engine lies in the data folder when nothing is set.
    default: &'static str,
    /// The schemes of the server's URLs.
    servers: &'static [&'static str],
    /// What runs there, in words.
    engine: &'static str,
    /// The cargo feature that builds its client.
    feature: &'static str,
    /// Whether this program was built with it.
    built: bool,
}

/// The database.
pub const DATABASE: Port = Port {
    name: "database",
    local: "sqlite",
    default: "antiphon.db",
    servers: &["postgres", "postgresql"],
    engine: "PostgreSQL",
    feature: "postgres",
    built: cfg!(feature = "postgres"),
};

/// The work queue.
pub const QUEUE: Port = Port {
    name: "queue",
    local: "folder",
    default: "queue",
    servers: &["amqp", "amqps"],
    engine: "RabbitMQ",
    feature: "amqp",
    built: cfg!(feature = "amqp"),
};

/// Blobs.
pub const BLOBS: Port = Port {
    name: "blobs",
    local: "folder",
    default: "blobs",
    servers: &["s3"],
    engine: "S3",
    feature: "s3",
    built: cfg!(feature = "s3"),
};

/// Every port.
pub const PORTS: [Port; 3] = [DATABASE, QUEUE, BLOBS];

/// Where a connection leads.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file or folder of this machine.
    Local(PathBuf),
    /// A server.
    Server {
        /// What runs there, in words.
        engine: &'static str,
        /// Its address with credentials.
        address: Address,
    },
}

impl Location {
    /// Whether it lies on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// What and where it is, for people; nothing secret.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Server { engine, .. } => (*engine).to_owned(),
        }
    }
}

/// Where all connections lead.
#[derive(Clone, Debug)]
pub struct Locations {
    /// A SQLite file, or PostgreSQL.
    pub database: Location,
    /// A folder, or RabbitMQ.
    pub queue: Location,
    /// A folder, or S3.
    pub blobs: Location,
}

impl Locations {
    /// Where the settings let connections lead; what is not set lies in the data folder `data`.
    ///
    /// # Errors
    /// For an engine that there is not, or that this program was built without.
    pub fn find(config: &Config, data: &Path) -> Result<Self> {
        Ok(Self {
            database: locate(DATABASE, config, data)?,
            queue: locate(QUEUE, config, data)?,
            blobs: locate(BLOBS, config, data)?,
        })
    }

    /// Whether what is permitted leads to this machine, so that a data folder is needed: for the engines themselves,
    /// and to keep other machines out.
    #[must_use]
    pub fn need_folder(&self, permitted: &Permitted) -> bool {
        (permitted.database != Access::None && self.database.is_local())
            || (permitted.queue && self.queue.is_local())
            || (permitted.blobs != Access::None && self.blobs.is_local())
    }
}

/// The settings, and where they let a command go.
pub struct Settled {
    /// The settings.
    pub config: Config,
    /// Where connections lead.
    pub locations: Locations,
    /// The data folder, in use as long as this lives; for commands that need one.
    pub folder: Option<DataFolder>,
}

impl Settled {
    /// Reads the settings for a command that opens what is `permitted`.
    ///
    /// # Errors
    /// What is wrong with them, or with the data folder.
    pub async fn find(globals: &Globals, permitted: &Permitted) -> Result<Self> {
        Self::of(settings::load(&globals.data, Vec::new())?, &globals.data, permitted).await
    }

    /// The same of settings that were read.
    ///
    /// # Errors
    /// What is wrong with them, or with the data folder.
    pub async fn of(config: Config, data: &Path, permitted: &Permitted) -> Result<Self> {
        config.look_up().await?;
        config.check()?;
        let needs_folder = Locations::find(&config, data)?.need_folder(permitted);
        let folder = if needs_folder { Some(DataFolder::open(data)?) } else { None };
        let locations = Locations::find(&config, folder.as_ref().map_or(data, DataFolder::path))?;
        Ok(Self { config, locations, folder })
    }
}

fn locate(port: Port, config: &Config, data: &Path) -> Result<Location> {
    let Port { name, local, default, servers, engine, feature, built } = port;
    let Some(url) = config.secret(&format!("{name}.url"))? else { return Ok(Location::Local(data.join(default))) };
    // What follows the scheme may be a password, so no more than that is ever said.
    let Some((scheme, rest)) = url.reveal().split_once(':') else {
        bail!("{name}.url is no URL: {local}:PATH or {}://... is one", servers[0]);
    };
    if scheme == local && !rest.is_empty() {
        return Ok(Location::Local(PathBuf::from(rest.strip_prefix("//").unwrap_or(rest))));
    }
    if !servers.contains(&scheme) {
        bail!("{name}.url: there is no engine for {scheme:?}; {local}:PATH and {}://... are known", servers[0]);
    }
    if !built {
        bail!(
            "{name}.url leads to {engine}, and this program was built without its client: build it with \
             `cargo build --release --features {feature}` (or `full`), or use a release image"
        );
    }
    let address = Address::of(config, name)?.with_context(|| format!("{name}.url is not set"))?;
    Ok(Location::Server { engine, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles;

    fn find(key: &'static str, url: &str) -> Result<Locations> {
        let folder = tempfile::tempdir().unwrap();
        let config = settings::load(folder.path(), vec![("--x", key, url.to_owned())]).unwrap();
        Locations::find(&config, Path::new("/data"))
    }

    #[test]
    fn what_is_not_set_lies_in_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let locations =
            Locations::find(&settings::load(folder.path(), Vec::new()).unwrap(), Path::new("/data")).unwrap();
        assert_eq!(locations.database.shown(), "/data/antiphon.db");
        assert_eq!(locations.queue.shown(), "/data/queue");
        assert_eq!(locations.blobs.shown(), "/data/blobs");
        assert!(locations.need_folder(&Permitted::of(&[roles::find("analyze").unwrap()])));
    }

    #[test]
    fn an_engine_that_is_not_there_is_named_and_the_rest_of_its_url_is_not() {
        for port in PORTS {
            let key: &'static str = Box::leak(format!("{}.url", port.name).into_boxed_str());
            for url in ["mysql://user:hunter2@host/db", "hunter2", "sqlite:", "folder:"] {
                let error = find(key, url).unwrap_err().to_string();
                assert!(error.contains(key) && !error.contains("hunter2"), "{error}");
            }
            assert_eq!(find(key, &format!("{}:/else/where", port.local)).map(|_| ()).ok(), Some(()));
            let server = find(key, &format!("{}://user:hunter2@host/x", port.servers[0]));
            match server {
                Ok(_) => assert!(port.built),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!port.built && error.contains(&format!("--features {}", port.feature)), "{error}");
                    assert!(!error.contains("hunter2"), "{error}");
                }
            }
        }
    }

    #[test]
    #[cfg(feature = "amqp")]
    fn roles_whose_connections_all_lead_elsewhere_need_no_folder() {
        let locations = find("queue.url", "amqp://host").unwrap();
        assert!(!locations.need_folder(&Permitted::of(&[roles::find("analyze").unwrap()])));
        assert!(locations.need_folder(&Permitted::of(&[roles::find("write").unwrap()])));
    }
}
