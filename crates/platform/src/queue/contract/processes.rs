//! Other processes of the suite: a test binary that runs itself again, to be killed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::{groups, message};
use crate::queue::{Group, Queue, Topic};

/// What the other process is to do.
const TASK: &str = "QUEUE_CONTRACT_TASK";

/// The task of this process, if it was started by [`killed`].
#[must_use]
pub fn task() -> Option<String> {
    std::env::var(TASK).ok()
}

/// A task: consume `group` until `count` deliveries are held, then be killed.
#[must_use]
pub fn holding(group: Group, count: usize) -> String {
    format!("hold {} {count}", group.name)
}

/// A task: publish messages `0`, `1`, ... to `topic`, and be killed at some moment.
#[must_use]
pub fn publishing(topic: Topic) -> String {
    format!("publish {}", topic.0)
}

/// Runs the test `another_process` of this binary in a process of its own, which is to call [`perform`], and kills it
/// (SIGKILL) when that asks for it; the ids that it saw confirmed.
#[must_use]
pub fn killed(task: &str, variables: &[(&str, String)]) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--exact", "another_process", "--nocapture"])
        .env(TASK, task)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let mut confirmed = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line.expect("text");
        if line == "now" {
            child.kill().expect("it lives");
        }
        // The test runner writes the name of the test in front of the first line.
        if let Some((_, id)) = line.split_once("confirmed ") {
            confirmed.push(id.to_owned());
        }
    }
    assert!(!child.wait().expect("it ended").success(), "the process was to be killed");
    confirmed
}

/// Does what `task` says, and never returns: it is killed while it holds deliveries, or in the middle of publishing.
pub async fn perform(queue: &dyn Queue, task: &str) {
    let words: Vec<&str> = task.split(' ').collect();
    if words[0] == "hold" {
        let group = groups().into_iter().find(|group| group.name == words[1]).expect("a group of the suite");
        let count = words[2].parse().expect("a number");
        let mut consumer = queue.consume(group, count).await.expect("consume");
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(consumer.next().await.expect("a delivery"));
        }
        say("\nnow");
        std::future::pending::<()>().await;
    }
    let topic = groups().into_iter().map(|group| group.topic).find(|topic| topic.0 == words[1]);
    let topic = topic.expect("a topic of the suite");
    for id in 0.. {
        queue.publish(topic, vec![message(&id.to_string())]).await.expect("publish");
        say(&format!("confirmed {id}"));
        if id == 50 {
            say("\nnow");
        }
    }
}

fn say(line: &str) {
    use std::io::Write as _;
    // The other side may be gone already; then this process is about to be killed.
    let _ = writeln!(std::io::stdout(), "{line}");
}
