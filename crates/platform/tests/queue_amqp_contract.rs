//! The law of the work queue, case by case, on RabbitMQ.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::Clock;
use antiphon_platform::queue::amqp::{AmqpQueue, Options};
use antiphon_platform::queue::contract::{self, Subject, Switch, Time, processes};
use antiphon_platform::queue::{Access, Group, Queue, Topic};
use antiphon_servers::{Fault, Proxy, RabbitMq, VirtualHost};
use async_trait::async_trait;

/// Where another process finds the broker.
const URL: &str = "QUEUE_CONTRACT_URL";

/// Delays that a test can wait for, each longer than the one before.
fn backoff() -> Vec<Duration> {
    [300, 400, 500, 600, 700].map(Duration::from_millis).to_vec()
}

/// A virtual host of its own, and a way there that can be cut.
struct Broker {
    vhost: VirtualHost<'static>,
    proxy: Proxy,
}

impl Broker {
    fn new() -> Self {
        let server = RabbitMq::shared();
        Self { vhost: server.vhost(), proxy: Proxy::start(server.address()) }
    }

    async fn kill_another_process(&self, task: String) -> Vec<String> {
        let variables = [(URL, self.vhost.url())];
        tokio::task::spawn_blocking(move || processes::killed(&task, &variables)).await.unwrap()
    }
}

#[async_trait]
impl Subject for Broker {
    async fn open(&self, access: Access) -> Arc<dyn Queue> {
        let url = self.vhost.url_at(self.proxy.address());
        let options = Options { backoff: backoff() };
        Arc::new(AmqpQueue::open_with(url, access, Clock::system(), options).await.unwrap())
    }

    async fn die_holding(&self, group: Group, count: usize) {
        self.kill_another_process(processes::holding(group, count)).await;
    }

    async fn die_publishing(&self, topic: Topic) -> Vec<String> {
        self.kill_another_process(processes::publishing(topic)).await
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn time(&self) -> Time {
        Time::Runs
    }

    fn backoff(&self) -> Vec<Duration> {
        backoff()
    }

    async fn break_publishing(&self, broken: Switch) {
        self.proxy.set(if broken == Switch::Broken { Fault::Cut } else { Fault::None });
    }
}

/// Not a test of its own: what [`Broker::kill_another_process`] starts; without its task it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process() {
    let Some(task) = processes::task() else { return };
    let url = std::env::var(URL).unwrap();
    let queue = AmqpQueue::open(url, contract::full_access(), Clock::system()).await.unwrap();
    processes::perform(&queue, &task).await;
}

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            contract::$case(&Broker::new()).await;
        })*
    };
}

antiphon_platform::queue_contract_cases!(cases);
