//! PostgreSQL, RabbitMQ and an S3 server of a test's own, reached by TLS through proxies that make faults.

use std::path::Path;

use antiphon_servers::{Bucket, Database, Durability, ObjectStore, Postgres, Proxy, RabbitMq, VirtualHost};

/// The servers and the proxies before them.
pub struct Servers {
    pub postgres: Postgres,
    pub rabbitmq: RabbitMq,
    pub store: ObjectStore,
    pub to_postgres: Proxy,
    pub to_rabbitmq: Proxy,
    pub to_store: Proxy,
}

impl Servers {
    /// Starts all; they keep what they confirmed over a kill.
    pub fn start() -> Self {
        let (postgres, rabbitmq, store) = std::thread::scope(|scope| {
            let postgres = scope.spawn(|| Postgres::start(Durability::Full));
            let rabbitmq = scope.spawn(RabbitMq::start);
            let store = scope.spawn(ObjectStore::start);
            (postgres.join().unwrap(), rabbitmq.join().unwrap(), store.join().unwrap())
        });
        Self {
            to_postgres: Proxy::start(postgres.address()),
            to_rabbitmq: Proxy::start(rabbitmq.tls_address()),
            to_store: Proxy::start(store.tls_address()),
            postgres,
            rabbitmq,
            store,
        }
    }

    /// The settings that lead a system to private spaces on them, through the proxies. Without TLS a turned bit of a
    /// value could not be told from the value.
    pub fn settings(
        &self,
        folder: &Path,
        (database, vhost, bucket): (&Database<'_>, &VirtualHost<'_>, &Bucket<'_>),
    ) -> Vec<(String, String)> {
        let trusted = folder.join("trusted.pem");
        let authorities = [self.postgres.authority(), self.rabbitmq.authority(), self.store.authority()];
        std::fs::write(&trusted, authorities.concat()).unwrap();
        let trusted = trusted.display();
        let database =
            format!("{}?sslmode=verify-full&sslrootcert={trusted}", database.url_at(self.to_postgres.address()));
        [
            ("ANTIPHON_DATABASE__URL", database),
            ("ANTIPHON_QUEUE__URL", vhost.tls_url_at(self.to_rabbitmq.address())),
            ("ANTIPHON_BLOBS__URL", bucket.tls_url_at(self.to_store.address())),
            ("SSL_CERT_FILE", trusted.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}
