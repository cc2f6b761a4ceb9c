//! Disks as a power cut may leave them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Event, FileId, folder_of};

/// Numbers that look random and are the same for the same seed (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is over 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }
}

/// What happens to the operations that were not synced.
#[derive(Clone, Copy, Debug)]
enum Fate {
    AllKept,
    AllDropped,
    /// The first ones reached the disk.
    Prefix,
    /// Each by itself.
    Random,
}

impl Fate {
    fn choose(random: &mut Random) -> Self {
        [Self::AllKept, Self::AllDropped, Self::Prefix, Self::Random][random.below(4)]
    }

    /// Which of `count` operations reached the disk.
    fn kept(self, count: usize, random: &mut Random) -> Vec<bool> {
        let first = random.below(count + 1);
        (0..count)
            .map(|index| match self {
                Self::AllKept => true,
                Self::AllDropped => false,
                Self::Prefix => index < first,
                Self::Random => random.coin(),
            })
            .collect()
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    File(FileId),
}

/// A change of names: one step for the file system, so that it is kept or dropped as a whole.
#[derive(Clone, Debug)]
enum Naming {
    Set(PathBuf, Entry),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, FileId),
}

#[derive(Clone, Copy, Debug)]
enum Change<'a> {
    Write(u64, &'a [u8]),
    Truncate(u64),
}

#[derive(Debug, Default)]
struct Contents<'a> {
    synced: Vec<u8>,
    pending: Vec<(usize, Change<'a>)>,
}

#[derive(Debug, Default)]
struct Image<'a> {
    files: HashMap<FileId, Contents<'a>>,
    names: BTreeMap<PathBuf, Entry>,
    /// Changes of names that are not synced, by the folder whose sync makes them certain.
    pending: BTreeMap<PathBuf, Vec<(usize, Naming)>>,
}

pub(super) fn make(events: &[Event], random: &mut Random, folder: &Path) -> io::Result<()> {
    let mut image = Image::default();
    for (number, event) in events.iter().enumerate() {
        image.take(number, event);
    }
    image.settle_names(random);
    image.write(random, folder)
}

impl<'a> Image<'a> {
    fn take(&mut self, number: usize, event: &'a Event) {
        match event {
            Event::Create { path, file } => self.name(number, path, Naming::Set(path.clone(), Entry::File(*file))),
            Event::CreateFolder { path } => self.name(number, path, Naming::Set(path.clone(), Entry::Folder)),
            Event::Remove { path } => self.name(number, path, Naming::Remove(path.clone())),
            Event::Rename { from, to, file } => self.name(number, to, Naming::Rename(from.clone(), to.clone(), *file)),
            Event::Write { file, offset, bytes } => self.change(number, *file, Change::Write(*offset, bytes)),
            Event::Truncate { file, length } => self.change(number, *file, Change::Truncate(*length)),
            Event::Sync { file, covers } => {
                let contents = self.files.entry(*file).or_default();
                let split = contents.pending.partition_point(|(number, _)| number < covers);
                for (_, change) in contents.pending.drain(..split) {
                    change.apply(&mut contents.synced);
                }
            }
            Event::SyncFolder { path, covers } => {
                let Some(pending) = self.pending.get_mut(path) else { return };
                let split = pending.partition_point(|(number, _)| number < covers);
                let certain: Vec<_> = pending.drain(..split).collect();
                certain.into_iter().for_each(|(_, naming)| self.rename(&naming));
            }
            Event::Mark(_) => {}
        }
    }

    fn name(&mut self, number: usize, path: &Path, naming: Naming) {
        self.pending.entry(folder_of(path)).or_default().push((number, naming));
    }

    fn change(&mut self, number: usize, file: FileId, change: Change<'a>) {
        self.files.entry(file).or_default().pending.push((number, change));
    }

    fn rename(&mut self, naming: &Naming) {
        match naming {
            Naming::Set(path, entry) => drop(self.names.insert(path.clone(), *entry)),
            Naming::Remove(path) => drop(self.names.remove(path)),
            Naming::Rename(from, to, file) => {
                // The old name may be taken by another file by now, in the order in which folders were synced.
                if self.names.get(from) == Some(&Entry::File(*file)) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), Entry::File(*file));
            }
        }
    }

    /// Decides which changes of names that were not synced reached the disk.
    fn settle_names(&mut self, random: &mut Random) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            let kept = Fate::choose(random).kept(pending.len(), random);
            for ((_, naming), kept) in pending.iter().zip(kept) {
                if kept {
                    self.rename(naming);
                }
            }
        }
    }

    fn write(mut self, random: &mut Random, folder: &Path) -> io::Result<()> {
        let mut folders = BTreeSet::from([PathBuf::new()]);
        // Sorted, so that a folder comes before what is in it; what is in a folder that was lost is lost.
        for (path, entry) in std::mem::take(&mut self.names) {
            if !folders.contains(&folder_of(&path)) {
                continue;
            }
            match entry {
                Entry::Folder => {
                    fs::create_dir(folder.join(&path))?;
                    folders.insert(path);
                }
                Entry::File(file) => {
                    let contents = self.files.remove(&file).unwrap_or_default();
                    fs::write(folder.join(&path), contents.survive(random))?;
                    // A second name of the file, from a rename that half happened, gets the same bytes.
                    let bytes = fs::read(folder.join(&path))?;
                    self.files.insert(file, Contents { synced: bytes, pending: Vec::new() });
                }
            }
        }
        Ok(())
    }
}

impl Change<'_> {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Change::Truncate(length) => bytes.resize(length as usize, 0),
            Change::Write(offset, new) => write(bytes, offset as usize, new),
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

impl Contents<'_> {
    /// Its bytes after the cut: the synced ones, and of the others what reached the disk, whole or in sectors.
    fn survive(self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.synced;
        let fate = Fate::choose(random);
        let kept = fate.kept(self.pending.len(), random);
        let sector = if random.coin() { 512 } else { 4096 };
        for ((_, change), kept) in self.pending.into_iter().zip(kept) {
            match change {
                Change::Truncate(_) if kept => change.apply(&mut bytes),
                Change::Truncate(_) => {}
                Change::Write(offset, new) => {
                    let torn = matches!(fate, Fate::Prefix | Fate::Random) && random.coin();
                    if torn {
                        tear(&mut bytes, offset as usize, new, sector, random);
                    } else if kept {
                        write(&mut bytes, offset as usize, new);
                    }
                }
            }
        }
        bytes
    }
}

/// Writes some sectors of a write. A file that grows without its bytes shows zeros or old blocks of the disk there.
fn tear(bytes: &mut Vec<u8>, offset: usize, new: &[u8], sector: usize, random: &mut Random) {
    let before = bytes.len();
    let mut start = offset;
    while start < offset + new.len() {
        let end = ((start / sector + 1) * sector).min(offset + new.len());
        let part = &new[start - offset..end - offset];
        match random.below(3) {
            0 => {}
            1 if start >= before => {
                let old: Vec<u8> = part.iter().map(|_| random.draw() as u8).collect();
                write(bytes, start, &old);
            }
            _ => write(bytes, start, part),
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, write_atomic};
    use crate::fault::{RecordedDisk, Syncs, Trace};

    fn images(syncs: Syncs, run: impl Fn(&RecordedDisk, &Path)) -> Vec<Option<Vec<u8>>> {
        let folder = tempfile::tempdir().unwrap();
        let trace = Trace::new(folder.path(), syncs);
        run(&RecordedDisk(trace.clone()), folder.path());
        let image = |seed| {
            let folder = tempfile::tempdir().unwrap();
            trace.image(trace.len(), &mut Random::new(seed), folder.path()).unwrap();
            fs::read(folder.path().join("file")).ok()
        };
        (0..200).map(image).collect()
    }

    fn twice(disk: &RecordedDisk, folder: &Path) {
        write_atomic(disk, &folder.join("file"), &[1; 9000]).unwrap();
        write_atomic(disk, &folder.join("file"), &[2; 9000]).unwrap();
    }

    #[test]
    fn what_was_synced_survives_every_cut() {
        assert!(images(Syncs::Kept, twice).iter().all(|bytes| *bytes == Some(vec![2; 9000])));
    }

    #[test]
    fn without_syncs_all_kinds_of_loss_appear() {
        let files = images(Syncs::FilesIgnored, twice);
        assert!(files.iter().any(|bytes| *bytes == Some(vec![2; 9000])));
        assert!(files.iter().any(|bytes| *bytes == Some(Vec::new())));
        assert!(files.iter().flatten().any(|bytes| bytes.len() == 9000 && *bytes != [2; 9000]), "none was torn");
        let folders = images(Syncs::FoldersIgnored, twice);
        assert!(folders.contains(&None));
        assert!(folders.iter().flatten().all(|bytes| [vec![1; 9000], vec![2; 9000]].contains(bytes)));
    }

    #[test]
    fn a_file_in_a_lost_folder_is_lost() {
        let lost = images(Syncs::FoldersIgnored, |disk, folder| {
            disk.create_folder(&folder.join("a")).unwrap();
            disk.create(&folder.join("a/file")).unwrap();
            disk.rename(&folder.join("a/file"), &folder.join("file")).unwrap();
        });
        assert!(lost.contains(&None) && lost.contains(&Some(Vec::new())));
    }
}
