//! The servers that all tests of a run share.

use antiphon_servers::{AwsApi, Durability, ObjectStore, Postgres, RabbitMq};
use anyhow::Result;

/// One server of each kind; they end when this is dropped, or with this process, however it ends.
pub struct Shared {
    postgres: Postgres,
    rabbitmq: RabbitMq,
    object_store: ObjectStore,
    aws_api: AwsApi,
}

impl Shared {
    /// Starts all, at once; they are ready when this returns.
    pub fn start() -> Self {
        std::thread::scope(|scope| {
            let postgres = scope.spawn(|| Postgres::start(Durability::None));
            let rabbitmq = scope.spawn(RabbitMq::start);
            let object_store = scope.spawn(ObjectStore::start);
            let aws_api = scope.spawn(AwsApi::start);
            Self {
                postgres: ended_well(postgres.join()),
                rabbitmq: ended_well(rabbitmq.join()),
                object_store: ended_well(object_store.join()),
                aws_api: ended_well(aws_api.join()),
            }
        })
    }

    /// The variables by which tests find them.
    pub fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("TEST_POSTGRES_URL", self.postgres.url()),
            ("TEST_AMQP_URL", self.rabbitmq.url()),
            ("TEST_AMQP_MANAGEMENT_URL", self.rabbitmq.management_url()),
            ("TEST_MQTT_ADDRESS", self.rabbitmq.mqtt_address().to_string()),
            ("TEST_S3_URL", self.object_store.url()),
            ("TEST_AWS_URL", self.aws_api.url()),
        ]
    }
}

/// Runs them until this process is ended.
pub fn run() -> Result<()> {
    crate::setup::run()?;
    let servers = Shared::start();
    for (name, value) in servers.variables() {
        println!("export {name}={value}");
    }
    loop {
        std::thread::park();
    }
}

/// What a thread gave; goes on with its panic if it had one.
fn ended_well<T>(joined: std::thread::Result<T>) -> T {
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
