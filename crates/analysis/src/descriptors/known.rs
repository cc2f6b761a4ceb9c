//! The descriptors that a snapshot holds, beside those of the registry.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use antiphon_features::cells::Layer;
use antiphon_features::descriptor::{Aggregate, Descriptor, Kind, Output, Parameter, Series};
use antiphon_platform::db::{DbError, ReadTransaction, Statement};
use antiphon_platform::queue::Group;
use antiphon_platform::sql;

use super::read::{read, stored};
use super::{group_of, keep};
use crate::messages;
use crate::topics::RECORDINGS;

const KNOWN: Statement = sql!("known.sql");
const DATA: Statement = sql!("data.sql");

pub(super) const STATEMENTS: &[Statement] = &[KNOWN, DATA];

/// The SHA-256 of an encoded descriptor.
type Digest = [u8; 32];

/// Every descriptor that this process has met, by its content. They are kept for ever, as those of the registry are:
/// a database holds at most [`keep::MOST`], none of which changes.
static MET: LazyLock<Mutex<HashMap<Digest, &'static Foreign>>> = LazyLock::new(Mutex::default);

/// How many are kept at most: those of several databases, in tests and while data is moved.
const MOST_MET: usize = 8 * keep::MOST;

/// One version of an algorithm of a foreign group.
#[derive(Debug)]
pub struct Foreign {
    /// What its group told.
    pub descriptor: &'static Descriptor,
    /// Who computes it.
    pub group: Group,
    layers: Vec<Layer>,
}

/// There is one of each content.
impl PartialEq for Foreign {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Foreign {}

impl Foreign {
    /// How partials and cells of a layer are laid out.
    #[must_use]
    pub fn layer(&'static self, name: &str) -> Option<&'static Layer> {
        self.layers.iter().find(|layer| layer.id.layer == name)
    }
}

/// The algorithms that there are: those of the registry, and foreign ones that were stored when a snapshot was taken.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// In the order of names and versions.
    foreign: Vec<&'static Foreign>,
}

impl Known {
    /// All of a snapshot. Only what this process has not met yet is read.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn load(tx: &mut ReadTransaction) -> Result<Self, DbError> {
        let mut foreign = Vec::new();
        for row in tx.rows(&KNOWN, &[]).await? {
            let (name, version): (String, u32) = (row.get(0)?, row.get(1)?);
            let digest: Digest = row
                .get::<Vec<u8>>(2)?
                .try_into()
                .map_err(|_| DbError::Broken(format!("the digest of {name} has not 32 bytes")))?;
            let met = MET.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).copied();
            let found = match met {
                Some(met) => Some(met),
                None => {
                    let data = tx.row(&DATA, &[name.as_str().into(), version.into()]).await?;
                    let data: Vec<u8> = data.map_or(Ok(Vec::new()), |row| row.get(0))?;
                    meet(digest, &name, &data)
                }
            };
            foreign.extend(found);
        }
        Ok(Self { foreign })
    }

    /// As [`load`](Self::load) if one of `names` may be that of something foreign; else only the registry.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn for_names<'a>(
        tx: &mut ReadTransaction,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, DbError> {
        if names.any(|name| name.starts_with(Group::FOREIGN_PREFIX)) {
            Self::load(tx).await
        } else {
            Ok(Self::default())
        }
    }

    /// What a snapshot with these descriptors would hold.
    #[cfg(test)]
    pub(super) fn of(descriptors: &[messages::Descriptor]) -> Self {
        use prost::Message as _;
        use sha2::Digest as _;
        let met = descriptors.iter().map(|descriptor| {
            let data = descriptor.encode_to_vec();
            meet(sha2::Sha256::digest(&data).into(), &descriptor.name, &data).unwrap()
        });
        Self { foreign: met.collect() }
    }

    /// The newest version of each algorithm: the registry's in their order, then the foreign ones by name.
    pub fn newest(&self) -> impl Iterator<Item = &'static Descriptor> {
        let groups = self.foreign.chunk_by(|one, other| one.descriptor.name == other.descriptor.name);
        let foreign = groups.filter_map(|versions| versions.last()).map(|last| last.descriptor);
        antiphon_features::registry().iter().copied().chain(foreign)
    }

    /// The newest version of an algorithm.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Descriptor> {
        self.newest().find(|descriptor| descriptor.name == name)
    }

    /// One version of a foreign algorithm.
    #[must_use]
    pub fn foreign(&self, name: &str, version: u32) -> Option<&'static Foreign> {
        self.foreign.iter().copied().find(|found| found.descriptor.version == version && found.descriptor.name == name)
    }

    /// One version of an algorithm; any of one of the registry, which has but one.
    #[must_use]
    pub fn version(&self, name: &str, version: u32) -> Option<&'static Descriptor> {
        match group_of(name) {
            Some(_) => self.foreign(name, version).map(|found| found.descriptor),
            None => antiphon_features::find(name),
        }
    }

    /// How many descriptors of foreign groups there are, versions counted.
    pub(super) fn number(&self) -> usize {
        self.foreign.len()
    }

    /// How many of them are of one group.
    pub(super) fn number_of(&self, group: &str) -> usize {
        self.foreign.iter().filter(|found| found.group.name == group).count()
    }

    /// The foreign groups, each once.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.foreign.iter().map(|found| found.group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

/// The type that annotations of an output are found by: the output's name, of foreign ones with that of the algorithm.
#[must_use]
pub fn annotation_type(descriptor: &Descriptor, output: &Output) -> String {
    match group_of(descriptor.name) {
        Some(_) => format!("{}.{}", descriptor.name, output.name),
        None => output.name.to_owned(),
    }
}

/// Keeps a stored descriptor. One that this build does not understand is left out: what it describes is unknown here.
fn meet(digest: Digest, name: &str, data: &[u8]) -> Option<&'static Foreign> {
    let sent = read(data).inspect_err(|error| tracing::warn!(name, %error, "stored by another version?")).ok()?;
    let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = met.get(&digest) {
        return Some(known);
    }
    if met.len() >= MOST_MET {
        tracing::warn!(name, most = MOST_MET, "too many descriptors of foreign groups; restart to forget old ones");
        return None;
    }
    let group = Group::foreign(group_of(name)?, RECORDINGS)?;
    let descriptor: &'static Descriptor = Box::leak(Box::new(descriptor_of(&sent)));
    let foreign: &'static Foreign =
        Box::leak(Box::new(Foreign { descriptor, group, layers: Layer::all_of(descriptor) }));
    met.insert(digest, foreign);
    Some(foreign)
}

fn descriptor_of(sent: &messages::Descriptor) -> Descriptor {
    Descriptor {
        name: kept(&sent.name),
        version: sent.version,
        family: kept(group_of(&sent.name).unwrap_or_default()),
        title: kept(&sent.title),
        about: kept(&sent.about),
        outputs: kept_all(&sent.outputs, output_of),
        parameters: kept_all(&sent.parameters, |parameter| Parameter {
            name: kept(&parameter.name),
            about: kept(&parameter.about),
            unit: kept(&parameter.unit),
            minimum: parameter.minimum,
            maximum: parameter.maximum,
            default: parameter.standard,
        }),
        reference: kept(&sent.reference),
    }
}

fn output_of(sent: &messages::DescriptorOutput) -> Output {
    use messages::descriptor_output::Kind as Sent;
    let kind = match &sent.kind {
        Some(Sent::Series(series)) => Kind::Series(series_of(series)),
        Some(Sent::Annotation(annotation)) => {
            Kind::Annotation { minimum: i64::try_from(annotation.minimum).unwrap_or(i64::MAX) }
        }
        None => Kind::Summary,
    };
    Output {
        name: kept(&sent.name),
        title: kept(&sent.title),
        kind,
        unit: kept(&sent.unit),
        labels: kept_all(&sent.labels, |label| kept(label)),
        default: !sent.on_request,
    }
}

fn series_of(sent: &messages::DescriptorSeries) -> Series {
    let all = stored(sent).map_or(&[][..], |(_, stats)| stats);
    let stats = if sent.stats.is_empty() { all } else { kept_all(&sent.stats, |stat| kept(stat)) };
    Series {
        dimensions: u16::try_from(sent.dimensions).unwrap_or(u16::MAX),
        aggregate: match sent.aggregate() {
            messages::Aggregate::Moments | messages::Aggregate::Unspecified => Aggregate::Moments,
            messages::Aggregate::Maximum => Aggregate::Maximum,
            messages::Aggregate::Share => Aggregate::Share,
            messages::Aggregate::Energy => Aggregate::Energy,
            messages::Aggregate::Level => Aggregate::Level,
        },
        layer: kept(&sent.layer),
        histogram: None,
        stats,
        hop: None,
        summary: false,
    }
}

fn kept(text: &str) -> &'static str {
    Box::leak(Box::from(text))
}

fn kept_all<T, K>(items: &[T], keep: impl Fn(&T) -> K) -> &'static [K] {
    Box::leak(items.iter().map(keep).collect())
}
