//! Packs results into parts of at most 1 MiB.

use antiphon_features::session::{Analysis, Annotation, Block, Summary, SummaryValue};
use prost::Message;

use super::Failure;
use crate::messages;

/// Encoded bytes from which on a part is closed, below 1 MiB by what its frame may need. A single block may be
/// larger only if its algorithm's frames are.
const PART_LIMIT: usize = 1024 * 1024 - 8 * 1024;

/// Where finished parts of a result go, in order. What it answers is to be passed on: the result cannot be published.
pub type Emit<'a> = dyn FnMut(messages::Result) -> Result<(), Failure> + 'a;

/// Gathers results and emits a part whenever one is full.
pub(super) struct Parts {
    /// What every part says.
    frame: messages::Result,
    open: messages::Result,
    size: usize,
}

impl Parts {
    /// Parts that all say what `frame` says.
    pub(super) fn new(frame: messages::Result) -> Self {
        Self { open: frame.clone(), frame, size: 0 }
    }

    pub(super) fn add_blocks(&mut self, blocks: Vec<Block>, emit: &mut Emit<'_>) -> Result<(), Failure> {
        for block in blocks {
            let block = messages::Block::from(block);
            self.make_room(block.encoded_len(), emit)?;
            self.open.blocks.push(block);
        }
        Ok(())
    }

    /// Adds what is left and emits the last part: `last` says in it what only the last part says.
    pub(super) fn finish(
        mut self,
        analysis: Analysis,
        last: impl FnOnce(&mut messages::Result),
        emit: &mut Emit<'_>,
    ) -> Result<(), Failure> {
        self.add_blocks(analysis.blocks, emit)?;
        for annotation in analysis.annotations {
            let annotation = messages::Annotation::from(annotation);
            self.make_room(annotation.encoded_len(), emit)?;
            self.open.annotations.push(annotation);
        }
        for summary in analysis.summaries {
            let summary = messages::Summary::from(summary);
            self.make_room(summary.encoded_len(), emit)?;
            self.open.summaries.push(summary);
        }
        last(&mut self.open);
        self.open.parts = self.open.part + 1;
        emit(self.open)
    }

    fn make_room(&mut self, size: usize, emit: &mut Emit<'_>) -> Result<(), Failure> {
        // A tag and a length come before each item.
        let size = size + 6;
        if self.size > 0 && self.size + size > PART_LIMIT {
            let next = messages::Result { part: self.open.part + 1, ..self.frame.clone() };
            emit(std::mem::replace(&mut self.open, next))?;
            self.size = 0;
        }
        self.size += size;
        Ok(())
    }
}

impl From<Block> for messages::Block {
    fn from(block: Block) -> Self {
        Self {
            algorithm: block.algorithm.to_owned(),
            version: block.version,
            layer: block.layer.to_owned(),
            minute: block.minute,
            data: block.data.into(),
            partials: Vec::new(),
        }
    }
}

impl From<Annotation> for messages::Annotation {
    fn from(annotation: Annotation) -> Self {
        Self {
            algorithm: annotation.algorithm.to_owned(),
            version: annotation.version,
            r#type: annotation.kind.to_owned(),
            label: annotation.label,
            from: annotation.from,
            to: annotation.to,
            value: annotation.value,
            confidence: annotation.confidence,
            open_start: annotation.open_start,
            open_end: annotation.open_end,
        }
    }
}

impl From<Summary> for messages::Summary {
    fn from(summary: Summary) -> Self {
        let (value, reason) = match summary.value {
            SummaryValue::Number(number) => (Some(messages::summary::Value::Number(number)), String::new()),
            SummaryValue::Text(text) => (Some(messages::summary::Value::Text(text)), String::new()),
            SummaryValue::Missing(reason) => (None, reason),
        };
        Self {
            algorithm: summary.algorithm.to_owned(),
            version: summary.version,
            output: summary.output.to_owned(),
            value,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(parts: &mut Vec<messages::Result>) -> impl FnMut(messages::Result) -> Result<(), Failure> {
        |part| {
            parts.push(part);
            Ok(())
        }
    }

    fn block(minute: i64, bytes: usize) -> Block {
        Block { algorithm: "level", version: 1, layer: "main", minute, data: vec![0xff; bytes] }
    }

    #[test]
    fn parts_stay_small_and_only_the_last_says_how_many() {
        let mut parts = Parts::new(messages::Result { sensor: String::from("roof"), ..Default::default() });
        let mut emitted: Vec<messages::Result> = Vec::new();
        for minute in 0..50 {
            parts.add_blocks(vec![block(minute, 100_000)], &mut collect(&mut emitted)).unwrap();
        }
        let rest = Analysis { blocks: vec![block(50, 10)], ..Default::default() };
        parts.finish(rest, |last| last.to = 9, &mut collect(&mut emitted)).unwrap();
        assert_eq!(emitted.len(), 5);
        for (number, part) in emitted.iter().enumerate() {
            let last = number == 4;
            assert_eq!(
                (part.part, part.parts, part.to),
                (number as u32, if last { 5 } else { 0 }, if last { 9 } else { 0 })
            );
            assert!(part.encoded_len() <= 1024 * 1024 && part.sensor == "roof");
        }
        let minutes: Vec<i64> = emitted.iter().flat_map(|part| &part.blocks).map(|block| block.minute).collect();
        assert_eq!(minutes, (0..=50).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_found_is_one_part() {
        let mut emitted = Vec::new();
        Parts::new(messages::Result::default())
            .finish(Analysis::default(), |_| (), &mut collect(&mut emitted))
            .unwrap();
        assert_eq!((emitted.len(), emitted[0].part, emitted[0].parts), (1, 0, 1));
    }
}
