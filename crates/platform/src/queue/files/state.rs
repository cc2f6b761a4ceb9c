//! Who has consumed what: a small SQLite database beside the segments, and the one thread that talks to it.
//!
//! Everything that is asked while a transaction runs shares the next one. The database runs with
//! `synchronous=NORMAL`: a power cut may undo the last transactions, never damage it, and what is undone is
//! delivered again. Only [`State::declare`] is synced, for a group that is forgotten would miss messages.

mod statements;
mod work;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::owner::Owner;
use super::wake::Wake;
use crate::clock::{Clock, Micros};
use crate::disk::{FolderClaim, SharedDisk};
use crate::queue::QueueError;

/// How far a group has taken a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Where its next record begins.
    pub(super) position: u64,
    /// How many records lie before.
    pub(super) records: u64,
    /// There will be no more.
    pub(super) done: bool,
}

/// A record that a reader offers to claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) position: u64,
    pub(super) next: u64,
    pub(super) published: Micros,
    /// False for a record that is for other groups: it is passed over.
    pub(super) wanted: bool,
}

/// A request for deliveries.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) group: &'static str,
    /// From the dead queue.
    pub(super) kind: Kind,
    pub(super) limit: usize,
    /// The topic and the segment of the candidates.
    pub(super) segment: Option<(&'static str, String)>,
    pub(super) candidates: Vec<Candidate>,
}

/// The two queues of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Live,
    Dead,
}

/// What a claim got.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    /// Messages that were delivered before.
    pub(super) returned: Vec<Returned>,
    /// Candidates that are ours now: row and position.
    pub(super) new: Vec<(i64, u64)>,
    /// The group's cursor in the candidates' segment; `None` when the segment is gone.
    pub(super) cursor: Option<Cursor>,
}

/// A message that was delivered before.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) id: i64,
    pub(super) segment: String,
    pub(super) position: u64,
    pub(super) deliveries: u32,
    pub(super) retries: u32,
    pub(super) death: Option<(String, Micros, u32)>,
}

/// The end of a delivery.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    pub(super) id: i64,
    /// Which delivery of the message it was.
    pub(super) deliveries: u32,
    pub(super) topic: &'static str,
    /// The queue that it was delivered from.
    pub(super) from: Kind,
    pub(super) end: End,
}

/// How a delivery ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    Ack,
    Return(Return),
}

/// How a message goes back.
#[derive(Clone, Debug)]
pub(super) struct Return {
    pub(super) to: Kind,
    pub(super) not_before: Micros,
    /// It was never handed out: the delivery does not count.
    pub(super) unseen: bool,
    /// It counts as a step of the backoff.
    pub(super) step: bool,
    /// It dies of this, now.
    pub(super) death: Option<(String, Micros)>,
}

/// What a group has at the moment, its segments' records apart.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupState {
    pub(super) name: String,
    pub(super) topic: String,
    pub(super) cursors: HashMap<String, Cursor>,
    pub(super) waiting: u64,
    pub(super) oldest_published: Option<Micros>,
    pub(super) in_flight: u64,
    pub(super) dead: u64,
}

/// A question to the state, its answer, and who waits for it.
#[derive(Debug)]
struct Ask<Q, A> {
    question: Q,
    answer: Option<A>,
    reply: Option<oneshot::Sender<Result<A, QueueError>>>,
}

#[derive(Debug)]
enum Op {
    Declare(Ask<Vec<(&'static str, &'static str)>, ()>),
    Groups(Ask<(), Vec<(String, String)>>),
    Cursors(Ask<&'static str, HashMap<String, Cursor>>),
    Claim(Ask<Claim, Claimed>),
    Finish(Ask<(&'static str, String), ()>),
    Settle(Ask<Settlement, ()>),
    NextDue(Ask<(&'static str, Kind), Option<Micros>>),
    Owners(Ask<(), Vec<String>>),
    ReturnOwner(Ask<String, u64>),
    Depths(Ask<(), Vec<GroupState>>),
}

/// What the state's thread needs.
pub(super) struct Setting {
    pub(super) folder: PathBuf,
    pub(super) disk: SharedDisk,
    pub(super) clock: Clock,
    pub(super) owner: Arc<Owner>,
    pub(super) wake: Arc<Wake>,
    pub(super) claim: FolderClaim,
    /// The name of the SQLite VFS to use instead of the default one.
    pub(super) vfs: Option<&'static str>,
}

/// A handle to the state; the thread ends when the last one is gone.
///
/// The channel has no bound of its own: what is in it is bounded by the number of deliveries that consumers hold
/// and of readers, which wait for their answers.
#[derive(Clone, Debug)]
pub(super) struct State {
    sender: mpsc::Sender<Op>,
}

impl State {
    /// Opens or makes the database and starts its thread.
    pub(super) async fn open(setting: Setting) -> Result<Self, QueueError> {
        let (sender, receiver) = mpsc::channel();
        let (ready, opened) = oneshot::channel();
        std::thread::Builder::new()
            .name(String::from("queue-state"))
            .spawn(move || work::run(&setting, &receiver, ready))
            .map_err(|error| QueueError::Unavailable(format!("no thread for the queue's state: {error}")))?;
        opened.await.map_err(|_| gone())??;
        Ok(Self { sender })
    }

    fn ask<Q, A>(&self, question: Q, op: impl FnOnce(Ask<Q, A>) -> Op) -> oneshot::Receiver<Result<A, QueueError>> {
        let (reply, answer) = oneshot::channel();
        // When the thread is gone the reply is dropped with the question, and the receiver says so.
        let _ = self.sender.send(op(Ask { question, answer: None, reply: Some(reply) }));
        answer
    }

    pub(super) async fn declare(&self, groups: Vec<(&'static str, &'static str)>) -> Result<(), QueueError> {
        self.ask(groups, Op::Declare).await.map_err(|_| gone())?
    }

    /// The groups that exist, each with its topic.
    pub(super) async fn groups(&self) -> Result<Vec<(String, String)>, QueueError> {
        self.ask((), Op::Groups).await.map_err(|_| gone())?
    }

    pub(super) async fn depths(&self) -> Result<Vec<GroupState>, QueueError> {
        self.ask((), Op::Depths).await.map_err(|_| gone())?
    }

    pub(super) async fn settle(&self, settlement: Settlement) -> Result<(), QueueError> {
        self.ask(settlement, Op::Settle).await.map_err(|_| gone())?
    }

    /// Settles without waiting; what fails is tried again.
    pub(super) fn settle_later(&self, settlement: Settlement) {
        let _ = self.sender.send(Op::Settle(Ask { question: settlement, answer: None, reply: None }));
    }

    pub(super) fn cursors(&self, group: &'static str) -> Result<HashMap<String, Cursor>, QueueError> {
        self.ask(group, Op::Cursors).blocking_recv().map_err(|_| gone())?
    }

    pub(super) fn claim(&self, claim: Claim) -> Result<Claimed, QueueError> {
        self.ask(claim, Op::Claim).blocking_recv().map_err(|_| gone())?
    }

    /// No group member will find another record in this segment.
    pub(super) fn finish(&self, group: &'static str, segment: String) -> Result<(), QueueError> {
        self.ask((group, segment), Op::Finish).blocking_recv().map_err(|_| gone())?
    }

    /// When the next message that waits is due.
    pub(super) fn next_due(&self, group: &'static str, kind: Kind) -> Result<Option<Micros>, QueueError> {
        self.ask((group, kind), Op::NextDue).blocking_recv().map_err(|_| gone())?
    }

    /// Everybody who holds deliveries.
    pub(super) fn owners(&self) -> Result<Vec<String>, QueueError> {
        self.ask((), Op::Owners).blocking_recv().map_err(|_| gone())?
    }

    /// Gives back what a dead owner held; how much that was.
    pub(super) fn return_owner(&self, owner: String) -> Result<u64, QueueError> {
        self.ask(owner, Op::ReturnOwner).blocking_recv().map_err(|_| gone())?
    }
}

fn gone() -> QueueError {
    QueueError::Unavailable(String::from("the queue's state is closed"))
}

impl Kind {
    /// The state of a row that waits in this queue; one more while it is in flight.
    fn waiting_state(self) -> i64 {
        match self {
            Self::Live => 0,
            Self::Dead => 2,
        }
    }
}

/// How long a settlement that failed waits before it is tried again.
const AGAIN: Duration = Duration::from_millis(250);
