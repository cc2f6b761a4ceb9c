//! The law of the work queue, case by case, on the embedded engine.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod faulty_disk;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::disk;
use antiphon_platform::queue::contract::{self, Subject, Switch};
use antiphon_platform::queue::files::{FileQueue, Options};
use antiphon_platform::queue::{Access, Group, Queue, Topic};
use async_trait::async_trait;
use faulty_disk::FaultyDisk;

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

    /// Runs this test binary again as another process that does what `task` says; its first lines of output.
    fn process(&self, task: &str) -> Vec<String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "another_process", "--nocapture"])
            .env("QUEUE_CONTRACT_TASK", task)
            .env("QUEUE_CONTRACT_FOLDER", self.folder.path())
            .env("QUEUE_CONTRACT_NOW", self.clock.now().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            // The process is killed while it holds deliveries, or in the middle of publishing.
            let line = line.unwrap();
            if line == "now" {
                child.kill().unwrap();
            }
            // The test runner writes the name of the test in front of the first line.
            if let Some((_, id)) = line.split_once("confirmed ") {
                lines.push(id.to_owned());
            }
        }
        assert!(!child.wait().unwrap().success(), "the process was to be killed");
        lines
    }
}

#[async_trait]
impl Subject for Folder {
    async fn open(&self, access: Access) -> Arc<dyn Queue> {
        let options = Options { disk: Arc::clone(&self.disk) as disk::SharedDisk, ..Options::default() };
        Arc::new(FileQueue::open_with(self.folder.path(), access, self.clock.clone(), options).await.unwrap())
    }

    async fn die_holding(&self, group: Group, count: usize) {
        self.process(&format!("hold {} {count}", group.name));
    }

    async fn die_publishing(&self, topic: Topic) -> Vec<String> {
        self.process(&format!("publish {}", topic.0))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(Micros::try_from(by.as_micros()).unwrap());
    }

    async fn break_publishing(&self, broken: Switch) {
        self.disk.full.store(broken == Switch::Broken, Ordering::SeqCst);
    }
}

/// Not a test of its own: what [`Folder::process`] starts; without its task it does nothing.
#[tokio::test]
async fn another_process() {
    let Ok(task) = std::env::var("QUEUE_CONTRACT_TASK") else { return };
    let folder = PathBuf::from(std::env::var("QUEUE_CONTRACT_FOLDER").unwrap());
    let clock = Clock::manual(std::env::var("QUEUE_CONTRACT_NOW").unwrap().parse().unwrap());
    let queue = FileQueue::open(&folder, contract::full_access(), clock).await.unwrap();
    let words: Vec<&str> = task.split(' ').collect();
    match words[0] {
        "hold" => {
            let group = contract::groups().into_iter().find(|group| group.name == words[1]).unwrap();
            let count = words[2].parse().unwrap();
            let mut consumer = queue.consume(group, count).await.unwrap();
            let mut held = Vec::new();
            for _ in 0..count {
                held.push(consumer.next().await.unwrap());
            }
            println!("\nnow");
            std::future::pending::<()>().await;
        }
        _ => {
            let topic =
                contract::groups().into_iter().map(|group| group.topic).find(|topic| topic.0 == words[1]).unwrap();
            for id in 0.. {
                queue.publish(topic, vec![contract::message(&id.to_string())]).await.unwrap();
                println!("confirmed {id}");
                if id == 50 {
                    println!("\nnow");
                }
            }
        }
    }
}

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            contract::$case(&Folder::new()).await;
        })*
    };
}

cases! {
    publish_is_durable_when_it_returns
    every_group_gets_each_message_once
    one_consumer_holds_a_message_at_a_time
    a_declared_group_gets_messages_though_nobody_consumes
    an_unsettled_delivery_comes_back_when_dropped
    deliveries_of_a_killed_process_come_back
    ack_is_the_end
    retry_comes_back_after_its_delay
    retries_end_in_the_dead_queue
    the_delivery_limit_ends_in_the_dead_queue
    dead_moves_it_aside_once_with_reason_time_and_count
    one_message_never_blocks_another
    a_consumer_holds_at_most_prefetch
    an_engine_that_cannot_confirm_says_unavailable_and_recovers
    access_is_enforced
    publish_to_group_reaches_that_group_only
    depths_tell_what_waits_flies_and_died
    a_message_over_the_limit_is_refused
    next_is_cancel_safe
}
