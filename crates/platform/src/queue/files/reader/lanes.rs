//! Where a group's next new messages lie: one lane for each owner of segments.
//!
//! Lanes are served in turn, so that a busy publisher does not keep another one waiting; inside a lane the oldest
//! segment comes first, so that segments end and can be removed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::time::Instant;

use super::Setting;
use crate::queue::QueueError;
use crate::queue::files::owner;
use crate::queue::files::segment::{Found, HEADER, Record, Segment, owner_of, topic_folder};
use crate::queue::files::state::{Candidate, Claimed, Cursor};
use crate::queue::files::wake::POLL;

/// The most bytes of records that are read ahead of a claim.
const AHEAD: usize = 4 * 1024 * 1024;

pub(super) struct Lanes {
    setting: Setting,
    folder: PathBuf,
    lanes: BTreeMap<String, Lane>,
    /// What this group has finished, while the file is still there for others.
    done: HashSet<String>,
    /// Cursors as they stood when the reader began, for segments not opened yet.
    cursors: HashMap<String, Cursor>,
    listed: Option<Instant>,
    /// The owner whose lane was offered last.
    turn: String,
}

#[derive(Default)]
struct Lane {
    /// Segments not opened yet, oldest first.
    segments: VecDeque<String>,
    tail: Option<Tail>,
}

/// The segment that is being read.
struct Tail {
    name: String,
    segment: Option<Segment>,
    position: u64,
    /// Records from `position` on, read and not claimed.
    ahead: VecDeque<Record>,
    /// Bytes of the last record, to read about as much as is needed.
    usual: usize,
}

impl Lanes {
    pub(super) fn new(setting: Setting, cursors: HashMap<String, Cursor>) -> Self {
        let folder = topic_folder(&setting.folder, setting.context.topic);
        let (lanes, done) = (BTreeMap::new(), HashSet::new());
        Self { setting, folder, lanes, done, cursors, listed: None, turn: String::new() }
    }

    /// Up to `wanted` records that nobody of the group has claimed, as far as we know, and their segment.
    pub(super) fn offer(&mut self, wanted: usize) -> Result<Option<(String, Vec<Candidate>)>, QueueError> {
        let stale = self.listed.is_none_or(|listed| listed.elapsed() >= POLL);
        if stale {
            self.list()?;
        }
        let found = match self.look(wanted)? {
            // What woke us may lie in a segment that is newer than the list.
            None if !stale && self.list()? => self.look(wanted)?,
            found => found,
        };
        let Some(owner) = found else { return Ok(None) };
        let offer = self.lanes.get(&owner).and_then(|lane| lane.tail.as_ref()).map(|tail| {
            let candidate = |record: &Record| Candidate {
                position: record.position,
                next: record.next,
                published: record.published,
                wanted: record.only.is_empty() || record.only == self.setting.group,
            };
            (tail.name.clone(), tail.ahead.iter().take(wanted).map(candidate).collect())
        });
        self.turn = owner;
        Ok(offer)
    }

    /// Takes note of what a claim of the last offer got; the records that are ours now.
    pub(super) fn claimed(&mut self, claimed: &Claimed) -> Vec<(i64, Record)> {
        let Some(lane) = self.lanes.get_mut(&self.turn) else { return Vec::new() };
        let Some(tail) = &mut lane.tail else { return Vec::new() };
        let mut ours = Vec::new();
        match claimed.cursor {
            Some(cursor) if !cursor.done => {
                while let Some(record) = tail.ahead.pop_front_if(|record| record.position < cursor.position) {
                    if let Some((id, _)) = claimed.new.iter().find(|(_, position)| *position == record.position) {
                        ours.push((*id, record));
                    }
                }
                tail.position = cursor.position;
                if tail.ahead.front().is_some_and(|record| record.position != tail.position) {
                    tail.ahead.clear();
                }
            }
            // Finished by somebody else, or removed already.
            _ => {
                self.done.insert(tail.name.clone());
                lane.tail = None;
            }
        }
        ours
    }

    /// Lists the topic's segments; whether there are new ones.
    fn list(&mut self) -> Result<bool, QueueError> {
        self.listed = Some(Instant::now());
        let names = match self.setting.disk.list(&self.folder) {
            // Nobody has published yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| unavailable(&error))?,
        };
        let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        self.done.retain(|name| names.binary_search(name).is_ok());
        let mut any = false;
        for name in names {
            let Some(owner) = owner_of(&name) else { continue };
            if self.done.contains(&name) {
                continue;
            }
            if self.cursors.get(&name).is_some_and(|cursor| cursor.done) {
                self.done.insert(name);
                continue;
            }
            let lane = self.lanes.entry(owner.to_owned()).or_default();
            let known = lane.tail.as_ref().is_some_and(|tail| tail.name >= name) || lane.segments.back() >= Some(&name);
            if !known {
                lane.segments.push_back(name);
                any = true;
            }
        }
        self.lanes.retain(|_, lane| lane.tail.is_some() || !lane.segments.is_empty());
        Ok(any)
    }

    /// The owner of the next lane in turn that has records.
    fn look(&mut self, wanted: usize) -> Result<Option<String>, QueueError> {
        let after = self.lanes.range::<str, _>((Bound::Excluded(self.turn.as_str()), Bound::Unbounded));
        let until = self.lanes.range::<str, _>((Bound::Unbounded, Bound::Included(self.turn.as_str())));
        let owners: Vec<String> = after.chain(until).map(|(owner, _)| owner.clone()).collect();
        for owner in owners {
            if self.fill(&owner, wanted)? {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }

    /// Reads ahead in a lane; whether there is anything.
    fn fill(&mut self, owner: &str, wanted: usize) -> Result<bool, QueueError> {
        loop {
            let Some(lane) = self.lanes.get_mut(owner) else { return Ok(false) };
            let tail = match &mut lane.tail {
                Some(tail) => tail,
                None => {
                    let Some(name) = lane.segments.pop_front() else { return Ok(false) };
                    let position = self.cursors.remove(&name).map_or(HEADER, |cursor| cursor.position);
                    lane.tail.insert(Tail { name, segment: None, position, ahead: VecDeque::new(), usual: 512 })
                }
            };
            if !tail.ahead.is_empty() {
                return Ok(true);
            }
            // Asked before reading: whatever the owner wrote before its end is seen then.
            let last = lane.segments.is_empty();
            let (found, end) = match read(&self.setting, &self.folder, tail, wanted) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    lane.tail = None;
                    continue;
                }
                other => other.map_err(|error| unavailable(&error))?,
            };
            if found {
                return Ok(true);
            }
            let sealed = matches!(end, Some(Found::Footer(_)));
            if !sealed {
                if last && owner::lives(&self.setting.folder, owner) {
                    return Ok(false);
                }
                let again = read(&self.setting, &self.folder, tail, wanted).map_err(|error| unavailable(&error))?;
                if again.0 {
                    return Ok(true);
                }
                report_rest(&self.folder, tail);
            }
            self.setting.context.state.finish(self.setting.group, tail.name.clone())?;
            self.done.insert(tail.name.clone());
            lane.tail = None;
        }
    }
}

/// Reads from the tail's position on; whether there was anything, and what came after.
fn read(
    setting: &Setting,
    folder: &std::path::Path,
    tail: &mut Tail,
    wanted: usize,
) -> io::Result<(bool, Option<Found>)> {
    if tail.segment.is_none() {
        tail.segment = Segment::open(setting.disk.as_ref(), &folder.join(&tail.name))?;
    }
    let Some(segment) = &tail.segment else { return Ok((false, Some(Found::Nothing))) };
    let wanted = wanted.min((AHEAD / tail.usual.max(1)).max(1));
    let (records, end) = segment.read(tail.position, wanted, tail.usual)?;
    if let Some(record) = records.last() {
        tail.usual = (record.next - record.position) as usize;
    }
    tail.ahead.extend(records);
    Ok((!tail.ahead.is_empty(), end))
}

/// Says what lies behind the last record that checks. A sealed segment must have nothing there: it is kept then.
fn report_rest(folder: &std::path::Path, tail: &Tail) {
    let Some(segment) = &tail.segment else { return };
    let rest = segment.length().unwrap_or_default().saturating_sub(tail.position);
    if rest == 0 {
        return;
    }
    if !matches!(segment.sealed_count(), Ok(Some(_))) {
        tracing::info!(segment = tail.name, bytes = rest, "passed over a tail that was never confirmed");
        return;
    }
    let path = folder.join(&tail.name);
    let kept = path.with_extension("damaged");
    match std::fs::hard_link(&path, &kept) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            tracing::error!(segment = tail.name, bytes = rest, %error, "a segment is damaged and could not be kept");
        }
        _ => tracing::error!(kept = %kept.display(), bytes = rest, "a segment is damaged: its rest cannot be read"),
    }
}

fn unavailable(error: &io::Error) -> QueueError {
    QueueError::Unavailable(format!("the queue's segments: {error}"))
}
