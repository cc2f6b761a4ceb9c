//! The law of the work queue, case by case, on the embedded engine.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod faulty_disk;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::disk;
use antiphon_platform::queue::contract::{self, Subject, Switch, processes};
use antiphon_platform::queue::files::{FileQueue, Options};
use antiphon_platform::queue::{Access, Group, Queue, Topic};
use async_trait::async_trait;
use faulty_disk::FaultyDisk;

/// Where another process finds the queue, and what time it is there.
const FOLDER: &str = "QUEUE_CONTRACT_FOLDER";
const NOW: &str = "QUEUE_CONTRACT_NOW";

/// A folder of its own, a clock that stands until it is moved, a disk that can be full.
struct Folder {
    folder: tempfile::TempDir,
    clock: Clock,
    disk: Arc<FaultyDisk>,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: contract::clock(), disk: Arc::default() }
    }

    fn kill_another_process(&self, task: &str) -> Vec<String> {
        let folder = self.folder.path().display().to_string();
        processes::killed(task, &[(FOLDER, folder), (NOW, self.clock.now().to_string())])
    }
}

#[async_trait]
impl Subject for Folder {
    async fn open(&self, access: Access) -> Arc<dyn Queue> {
        let options = Options { disk: Arc::clone(&self.disk) as disk::SharedDisk, ..Options::default() };
        Arc::new(FileQueue::open_with(self.folder.path(), access, self.clock.clone(), options).await.unwrap())
    }

    async fn die_holding(&self, group: Group, count: usize) {
        self.kill_another_process(&processes::holding(group, count));
    }

    async fn die_publishing(&self, topic: Topic) -> Vec<String> {
        self.kill_another_process(&processes::publishing(topic))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(Micros::try_from(by.as_micros()).unwrap());
    }

    async fn break_publishing(&self, broken: Switch) {
        self.disk.full.store(broken == Switch::Broken, Ordering::SeqCst);
    }
}

/// Not a test of its own: what [`Folder::kill_another_process`] starts; without its task it does nothing.
#[tokio::test]
async fn another_process() {
    let Some(task) = processes::task() else { return };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let clock = Clock::manual(std::env::var(NOW).unwrap().parse().unwrap());
    let queue = FileQueue::open(&folder, contract::full_access(), clock).await.unwrap();
    processes::perform(&queue, &task).await;
}

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            contract::$case(&Folder::new()).await;
        })*
    };
}

antiphon_platform::queue_contract_cases!(cases);

/// What kills its consumers must not keep them from everything else, nor take the messages that are held with it to the
/// limit: from the third time on it waits, longer each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_consumers_died_three_times_waits_before_it_comes_back() {
    let subject = Folder::new();
    let queue = subject.open(contract::full_access()).await;
    queue.declare(&contract::groups()).await.unwrap();
    let group = contract::groups()[0];
    queue.publish(group.topic, vec![contract::message("0")]).await.unwrap();
    for _ in 0..3 {
        subject.die_holding(group, 1).await;
    }
    let mut consumer = queue.consume(group, 1).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(900), consumer.next()).await;
    assert!(early.is_err(), "it came back at once");
    subject.advance(Duration::from_secs(1)).await;
    let delivery = contract::next(consumer.as_mut()).await;
    assert_eq!((delivery.message.id.as_str(), delivery.deliveries), ("0", 4));
    delivery.ack().await.unwrap();
}
