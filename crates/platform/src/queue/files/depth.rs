//! How full the groups are, without reading what was counted before.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::segment::{Found, HEADER, Segment, topic_folder};
use super::state::{Cursor, GroupState};
use crate::clock::Micros;
use crate::disk::Disk;
use crate::queue::Depth;

/// How many records each segment has, as far as it was counted.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<String, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    records: u64,
    /// Counted up to here.
    position: u64,
    sealed: bool,
}

/// The depth of each group.
pub(super) fn depths(
    folder: &Path,
    disk: &dyn Disk,
    counts: &Counts,
    groups: Vec<GroupState>,
    now: Micros,
) -> io::Result<Vec<Depth>> {
    let mut topics: HashMap<String, Vec<String>> = HashMap::new();
    let mut depths = Vec::with_capacity(groups.len());
    for group in groups {
        if !topics.contains_key(&group.topic) {
            topics.insert(group.topic.clone(), segments(folder, disk, &group.topic)?);
        }
        let names = topics.get(&group.topic).map(Vec::as_slice).unwrap_or_default();
        let (mut waiting, mut oldest) = (group.waiting, group.oldest_published);
        for name in names {
            let start = Cursor { position: HEADER, records: 0, done: false };
            let cursor = group.cursors.get(name).copied().unwrap_or(start);
            if cursor.done {
                continue;
            }
            let path = topic_folder(folder, &group.topic).join(name);
            let segment = match Segment::open(disk, &path) {
                // Removed since it was listed: every group has finished it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let Some(segment) = segment else { continue };
            let left = counts.of(name, &segment)?.saturating_sub(cursor.records);
            if left > 0 {
                waiting += left;
                if let Found::Record(record) = segment.read_one(cursor.position)? {
                    oldest = Some(oldest.map_or(record.published, |oldest| oldest.min(record.published)));
                }
            }
        }
        depths.push(Depth {
            group: group.name,
            waiting,
            oldest: oldest.map_or(0, |published| now.saturating_sub(published).max(0)),
            in_flight: group.in_flight,
            dead: group.dead,
        });
    }
    counts.keep_only(&topics);
    Ok(depths)
}

impl Counts {
    fn of(&self, name: &str, segment: &Segment) -> io::Result<u64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        let count = match known {
            Some(count) if count.sealed => return Ok(count.records),
            known => match segment.sealed_count()? {
                Some(records) => Count { records, position: 0, sealed: true },
                None => {
                    let Count { records, position, .. } =
                        known.unwrap_or(Count { records: 0, position: HEADER, sealed: false });
                    let (more, position) = segment.count(position, segment.length()?)?;
                    Count { records: records + more, position, sealed: false }
                }
            },
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), count);
        Ok(count.records)
    }

    fn keep_only(&self, topics: &HashMap<String, Vec<String>>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|name, _| topics.values().any(|names| names.contains(name)));
    }
}

fn segments(folder: &Path, disk: &dyn Disk, topic: &str) -> io::Result<Vec<String>> {
    let names = match disk.list(&topic_folder(folder, topic)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| super::segment::owner_of(name).is_some()).collect())
}
