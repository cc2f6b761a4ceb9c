//! Results as they come from the queue, checked before they touch the database.

use antiphon_features::cells::{FRAMES, decode_block, decode_frames};
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::queue::{Group, Message};
use bytes::Bytes;
use prost::Message as _;

use crate::descriptors::{Known, Misfit, fit, group_of};
use crate::messages::{self, SourceKind as Kind};
use crate::store::error::StoreError;
use crate::store::sources::SourceKind;

/// Longest piece, in µs: bounds the work that one message can cause. Media cuts far below it.
const LONGEST_PIECE: Micros = 31 * 86_400 * SECOND;

/// The year 10,000 in µs since 1970: no time is later.
const LATEST: Micros = 253_402_300_800 * SECOND;

const MINUTE: Micros = 60 * SECOND;

/// Parts of one result. At 1 MiB each that is far more than a day of frames.
const MOST_PARTS: u32 = 4_096;

/// Pieces of one recording.
const MOST_PIECES: u32 = 1_000_000;

/// Longest names and labels, in bytes.
const LONGEST_NAME: usize = 128;
const LONGEST_LABEL: usize = 1_024;

/// How far what a piece yields may lie outside of it: rounding to samples and windows, generously.
pub(super) const MARGIN: Micros = 60 * SECOND;

/// One part of a result that is well formed.
pub(super) struct Incoming {
    pub(super) kind: SourceKind,
    /// The sensor's id, or the song's in its text form.
    pub(super) source: String,
    /// The 20 bytes of the recording's or song's id.
    pub(super) name: [u8; 20],
    pub(super) result: messages::Result,
    /// The message's bytes, to be staged.
    pub(super) body: Bytes,
}

impl Incoming {
    /// Reads and checks a message of the topic results.
    ///
    /// # Errors
    /// [`StoreError::Refused`]: it can never be stored, and why.
    pub(super) fn read(message: &Message) -> Result<Self, StoreError> {
        Self::decode(message.body.clone())
    }

    pub(super) fn decode(body: Bytes) -> Result<Self, StoreError> {
        let result = messages::Result::decode(body.clone())
            .map_err(|error| StoreError::Refused(format!("the message is no result: {error}")))?;
        let name: [u8; 20] = result.id.as_ref().try_into().map_err(|_| refused("the id has not 20 bytes"))?;
        let (kind, source) = match result.kind() {
            Kind::Sensor => (SourceKind::Sensor, result.sensor.clone()),
            Kind::Song => (SourceKind::Song, song_name(&name)),
            Kind::Unspecified => return Err(refused("it says neither sensor nor song")),
        };
        check_name("sensor", &source)?;
        check_name("group", &result.group)?;
        for group in &result.groups {
            check_name("group", group)?;
        }
        if result.parts > MOST_PARTS
            || (result.parts > 0 && result.part + 1 != result.parts)
            || result.part >= MOST_PARTS
        {
            return Err(refused("its number of parts makes no sense"));
        }
        if result.piece >= MOST_PIECES {
            return Err(refused("its number of pieces makes no sense"));
        }
        for time in [result.recording_start, result.accepted_at, result.from, result.to] {
            if !(0..LATEST).contains(&time) {
                return Err(refused("a time lies outside the years 1970 to 9999"));
            }
        }
        if result.parts > 0 && !(result.from..=result.from + LONGEST_PIECE).contains(&result.to) {
            return Err(refused("what was analysed ends before it begins, or is longer than 31 days"));
        }
        let incoming = Self { kind, source, name, result, body };
        incoming.check_contents()?;
        Ok(incoming)
    }

    /// Whether it says that it is, or holds, something of a foreign group.
    pub(super) fn is_foreign(&self) -> bool {
        let mut algorithms = self.result.blocks.iter().map(|block| &block.algorithm);
        self.result.group.starts_with(Group::FOREIGN_PREFIX)
            || algorithms.any(|algorithm| group_of(algorithm).is_some())
            || self.result.annotations.iter().any(|found| group_of(&found.algorithm).is_some())
    }

    /// Checks it against what foreign groups told, and brings it into the form in which it is stored.
    ///
    /// # Errors
    /// [`StoreError::NotKnownYet`] while its descriptor is not stored, [`StoreError::Refused`] if it does not fit.
    pub(super) fn fit(&mut self, known: &Known) -> Result<(), StoreError> {
        fit(&mut self.result, known).map_err(|misfit| match misfit {
            Misfit::Unknown { .. } => StoreError::NotKnownYet(misfit.to_string()),
            Misfit::Never(_) => StoreError::Refused(misfit.to_string()),
        })?;
        self.body = self.result.encode_to_vec().into();
        Ok(())
    }

    /// Whether this is all of the result.
    pub(super) fn is_whole(&self) -> bool {
        self.result.parts == 1
    }

    /// The groups whose results the plan expects.
    pub(super) fn groups(&self) -> &[String] {
        if self.result.groups.is_empty() { std::slice::from_ref(&self.result.group) } else { &self.result.groups }
    }

    /// The minutes of the epoch that its blocks are of.
    pub(super) fn minutes(&self) -> impl Iterator<Item = i64> {
        self.result.blocks.iter().map(|block| block.minute)
    }

    fn check_contents(&self) -> Result<(), StoreError> {
        for block in &self.result.blocks {
            check_name("algorithm", &block.algorithm)?;
            check_name("layer", &block.layer)?;
            if !(0..LATEST / MINUTE).contains(&block.minute) {
                return Err(refused("a block lies outside the years 1970 to 9999"));
            }
            check_block(block)?;
        }
        for annotation in &self.result.annotations {
            check_name("algorithm", &annotation.algorithm)?;
            check_name("type", &annotation.r#type)?;
            let numbers = [annotation.value, annotation.confidence];
            if annotation.label.len() > LONGEST_LABEL
                || annotation.label.contains('\0')
                || annotation.from > annotation.to
                || numbers.iter().flatten().any(|number| !number.is_finite())
            {
                return Err(refused("an annotation has a label, interval or number that makes no sense"));
            }
        }
        for summary in &self.result.summaries {
            check_name("algorithm", &summary.algorithm)?;
            check_name("output", &summary.output)?;
            if matches!(summary.value, Some(messages::summary::Value::Number(number)) if !number.is_finite()) {
                return Err(refused("a summary is not a finite number"));
            }
        }
        Ok(())
    }

    /// Checks that everything lies where the piece is; for a result with all its parts joined.
    pub(super) fn check_places(&self) -> Result<(), StoreError> {
        let result = &self.result;
        let near = result.from - MARGIN..=result.to + MARGIN;
        let mut keys: Vec<_> =
            result.blocks.iter().map(|block| (&block.algorithm, block.version, &block.layer, block.minute)).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refused("two blocks have the same layer and minute"));
        }
        let far = |block: &messages::Block| {
            let start = block.minute.saturating_mul(MINUTE);
            start > *near.end() || start.saturating_add(MINUTE) < *near.start()
        };
        if result.blocks.iter().any(far) {
            return Err(refused("a block lies outside of what was analysed"));
        }
        if result.annotations.iter().any(|found| !near.contains(&found.from) || !near.contains(&found.to)) {
            return Err(refused("an annotation lies outside of what was analysed"));
        }
        Ok(())
    }
}

/// The text form of a song's id.
pub(crate) fn song_name(id: &[u8; 20]) -> String {
    format!("s{}", data_encoding::BASE32_NOPAD.encode(id).to_ascii_lowercase())
}

fn check_name(what: &str, name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains('\0') {
        return Err(StoreError::Refused(format!(
            "the name of the {what} is empty, longer than {LONGEST_NAME} bytes, or holds the character NUL"
        )));
    }
    Ok(())
}

/// Reads a block once, so that nothing unreadable is ever stored.
fn check_block(block: &messages::Block) -> Result<(), StoreError> {
    if group_of(&block.algorithm).is_some() {
        // What it must be is not in the registry: `fit` checks it.
        return Ok(());
    }
    let damaged = |error| {
        let (algorithm, layer) = (&block.algorithm, &block.layer);
        StoreError::Refused(format!("a block of {algorithm}, layer {layer}, cannot be read: {error}"))
    };
    if block.layer == FRAMES {
        let descriptor = antiphon_features::find(&block.algorithm).ok_or_else(|| unknown(block))?;
        return decode_frames(descriptor, block.minute, &block.data).map(drop).map_err(damaged);
    }
    let layout = antiphon_features::cells::layer(&block.algorithm, &block.layer).ok_or_else(|| unknown(block))?;
    decode_block(layout, block.minute, &block.data).map(drop).map_err(damaged)
}

fn unknown(block: &messages::Block) -> StoreError {
    StoreError::UnknownLayer { algorithm: block.algorithm.clone(), layer: block.layer.clone() }
}

fn refused(why: &str) -> StoreError {
    StoreError::Refused(why.to_owned())
}
