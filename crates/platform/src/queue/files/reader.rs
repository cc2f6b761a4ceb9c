//! One group's reader: a thread that claims messages for the group's consumers in this process.
//!
//! It reads records ahead of the claim, outside of any transaction, and offers them; the transaction takes those
//! that nobody else took. So processes compete without waiting for each other's reading.

mod lanes;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::consumer::{Context, Inbox, Parcel};
use super::owner;
use super::segment::{Found, Record, Segment, topic_folder};
use super::state::{Claim, Kind, Returned, State};
use super::wake::POLL;
use crate::clock::{duration, micros};
use crate::disk::SharedDisk;
use crate::queue::{Death, QueueError};
use lanes::Lanes;

/// The most messages that one claim takes.
const CLAIM: usize = 256;

/// How many segments are kept open for messages that come back.
const OPEN_SEGMENTS: usize = 8;

/// What a reader needs.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) folder: PathBuf,
    pub(super) disk: SharedDisk,
    pub(super) owner: String,
    pub(super) group: &'static str,
    pub(super) context: Context,
    /// When one of this engine's readers last looked for dead owners: it looks for all of them.
    pub(super) looked_for_dead: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
struct Shared {
    setting: Setting,
    inboxes: Mutex<Vec<Arc<Inbox>>>,
    closed: AtomicBool,
}

/// A handle to a group's reader; the thread ends when the last consumer is gone.
#[derive(Debug)]
pub(super) struct Hub {
    shared: Arc<Shared>,
}

impl Hub {
    pub(super) fn start(setting: Setting) -> io::Result<Self> {
        let shared = Arc::new(Shared { setting, inboxes: Mutex::default(), closed: AtomicBool::new(false) });
        let reader = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(format!("queue-{}", shared.setting.group))
            .spawn(move || Reader::new(&reader).run())?;
        Ok(Self { shared })
    }

    pub(super) fn context(&self) -> &Context {
        &self.shared.setting.context
    }

    /// Another consumer.
    pub(super) fn join(&self, inbox: Arc<Inbox>) {
        self.shared.inboxes.lock().unwrap_or_else(PoisonError::into_inner).push(inbox);
        self.context().signal.ring();
    }

    /// Gives back what its consumers hold; they get nothing any more.
    pub(super) fn close(&self) {
        for inbox in self.shared.inboxes.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            super::consumer::close(&inbox, self.context());
            inbox.fail("it was closed");
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.context().signal.ring();
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    setting: &'a Setting,
    state: &'a State,
    lanes: Option<Lanes>,
    /// Segments of messages that came back, the last used one behind.
    open: VecDeque<(String, Segment)>,
    trouble: Option<String>,
}

impl<'a> Reader<'a> {
    fn new(shared: &'a Shared) -> Self {
        let setting = &shared.setting;
        let state = &setting.context.state;
        Self { shared, setting, state, lanes: None, open: VecDeque::new(), trouble: None }
    }

    fn run(mut self) {
        while !self.shared.closed.load(Ordering::SeqCst) {
            let wanted = self.wanted();
            if wanted == 0 {
                self.setting.context.signal.wait(None);
                continue;
            }
            let pause = match self.serve(wanted.min(CLAIM)) {
                Ok(pause) => {
                    self.trouble = None;
                    pause
                }
                Err(error) => {
                    self.complain(&error);
                    Some(POLL)
                }
            };
            if let Some(pause) = pause {
                self.setting.context.signal.wait(Some(pause));
            }
        }
    }

    fn wanted(&self) -> usize {
        let mut inboxes = self.shared.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        inboxes.retain(|inbox| !inbox.is_closed());
        inboxes.iter().map(|inbox| inbox.wanted()).sum()
    }

    /// Says what is wrong, once as long as it stays the same.
    fn complain(&mut self, error: &QueueError) {
        if let QueueError::Broken(reason) = error {
            let inboxes = self.shared.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            inboxes.iter().for_each(|inbox| inbox.fail(reason));
        }
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            tracing::warn!(group = self.setting.group, error = text, "could not claim messages; trying again");
            self.trouble = Some(text);
        }
    }

    /// Claims up to `wanted` messages; how long to wait before the next try, if there were none.
    fn serve(&mut self, wanted: usize) -> Result<Option<Duration>, QueueError> {
        self.return_from_the_dead()?;
        let offer = match self.setting.context.kind {
            Kind::Live => self.lanes()?.offer(wanted)?,
            Kind::Dead => None,
        };
        let mut claim = Claim {
            group: self.setting.group,
            kind: self.setting.context.kind,
            limit: wanted,
            segment: None,
            candidates: Vec::new(),
        };
        match offer {
            Some((segment, candidates)) => {
                claim.segment = Some((self.setting.context.topic, segment));
                claim.candidates = candidates;
            }
            None => {
                let due = self.state.next_due(self.setting.group, self.setting.context.kind)?;
                let now = self.setting.context.clock.now();
                match due {
                    Some(due) if due <= now => {}
                    Some(due) => return Ok(Some(POLL.min(duration(due - now)))),
                    None => return Ok(Some(POLL)),
                }
            }
        }
        let offered = claim.segment.is_some();
        let claimed = self.state.claim(claim)?;
        let mut parcels: Vec<Parcel> = Vec::new();
        if let Some(lanes) = self.lanes.as_mut().filter(|_| offered) {
            for (id, record) in lanes.claimed(&claimed) {
                parcels.push(Parcel { id, deliveries: 1, retries: 0, death: None, message: record.message });
            }
        }
        for returned in claimed.returned {
            parcels.extend(self.fetch(returned));
        }
        self.hand_out(parcels);
        Ok(None)
    }

    fn lanes(&mut self) -> Result<&mut Lanes, QueueError> {
        if self.lanes.is_none() {
            let cursors = self.state.cursors(self.setting.group)?;
            self.lanes = Some(Lanes::new(self.setting.clone(), cursors));
        }
        self.lanes.as_mut().ok_or_else(|| QueueError::Unavailable(String::from("the segments are not listed")))
    }

    /// Gives back what the dead held. A lock that can be taken is a dead owner.
    fn return_from_the_dead(&self) -> Result<(), QueueError> {
        let mut looked = self.setting.looked_for_dead.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|looked| looked.elapsed() < POLL) {
            return Ok(());
        }
        *looked = Some(Instant::now());
        drop(looked);
        for name in self.state.owners()? {
            if name != self.setting.owner && !owner::lives(&self.setting.folder, &name) {
                let messages = self.state.return_owner(name.clone())?;
                tracing::info!(owner = name, messages, "took back what a process held that is gone");
            }
        }
        Ok(())
    }

    /// Reads a message that came back.
    fn fetch(&mut self, returned: Returned) -> Option<Parcel> {
        let Returned { id, segment, position, deliveries, retries, death } = returned;
        let death = death.map(|(reason, time, deliveries)| Death { reason, time, deliveries });
        match self.read(&segment, position) {
            Ok(Some(record)) => Some(Parcel { id, deliveries, retries, death, message: record.message }),
            Ok(None) => {
                // Delivered before it was durable, and a power cut or a full disk came between: it was never
                // confirmed. Nothing else can remove a record whose row is there.
                tracing::warn!(
                    group = self.setting.group,
                    segment,
                    position,
                    "a message that was never confirmed is gone"
                );
                self.setting.context.drop_row(id, deliveries);
                None
            }
            Err(error) => {
                tracing::warn!(group = self.setting.group, segment, position, %error, "a message could not be read");
                self.setting.context.postpone(id, deliveries);
                None
            }
        }
    }

    fn read(&mut self, name: &str, position: u64) -> io::Result<Option<Record>> {
        let index = match self.open.iter().position(|(open, _)| open == name) {
            Some(index) => index,
            None => {
                let path = topic_folder(&self.setting.folder, self.setting.context.topic).join(name);
                let segment = match Segment::open(self.setting.disk.as_ref(), &path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    other => other?,
                };
                let Some(segment) = segment else { return Ok(None) };
                if self.open.len() >= OPEN_SEGMENTS {
                    self.open.pop_front();
                }
                self.open.push_back((name.to_owned(), segment));
                self.open.len() - 1
            }
        };
        Ok(match self.open[index].1.read_one(position)? {
            Found::Record(record) => Some(record),
            Found::Footer(_) | Found::Nothing => None,
        })
    }

    /// Gives each consumer its share, one by one around.
    fn hand_out(&self, parcels: Vec<Parcel>) {
        let inboxes = self.shared.inboxes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut room: Vec<(usize, &Arc<Inbox>)> =
            inboxes.iter().map(|inbox| (inbox.wanted(), inbox)).filter(|(wanted, _)| *wanted > 0).collect();
        let mut turn = 0;
        for mut parcel in parcels {
            loop {
                if room.is_empty() {
                    // Consumers left since they were asked.
                    self.setting.context.give_back_unseen(&parcel);
                    break;
                }
                turn %= room.len();
                let (wanted, inbox) = &mut room[turn];
                *wanted -= 1;
                let back = inbox.put(parcel);
                if *wanted == 0 || back.is_some() {
                    room.remove(turn);
                } else {
                    turn += 1;
                }
                match back {
                    None => break,
                    Some(back) => parcel = back,
                }
            }
        }
    }
}

impl Context {
    /// Ends a row whose message is not there.
    fn drop_row(&self, id: i64, deliveries: u32) {
        self.state.settle_later(self.settlement(id, deliveries, super::state::End::Ack));
    }

    /// Lets a row come back a little later, its delivery not counted.
    fn postpone(&self, id: i64, deliveries: u32) {
        let not_before = self.clock.now() + micros(POLL);
        let back = super::state::Return { to: self.kind, not_before, unseen: true, step: false, death: None };
        self.state.settle_later(self.settlement(id, deliveries, super::state::End::Return(back)));
    }
}
