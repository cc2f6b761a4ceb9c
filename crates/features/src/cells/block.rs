//! The bytes of a block (the partials of one layer, recording and minute) and of a cell.

use super::bytes::{CellError, Input, Rows, put_varint};
use super::histogram::Histogram;
use super::loudness::{Energies, Loudness, Slot};
use super::{Cell, Layer, LayerKind, PREVIEW_BANDS, Partial, PreviewRows, SECOND, Values};

/// First byte of every block and cell: this layout.
pub(super) const FORMAT: u8 = 1;

/// Energies and true peak of a second of loudness.
const LOUDNESS_ROW: usize = 11;

/// The interval of a partial inside its second, µs.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// The bytes of the partials of one minute, which must be at most 60 with rising seconds.
///
/// After the format byte, each partial is: a number whose lowest bit says that its interval follows (else it is
/// the whole second) and whose others are how many seconds are skipped; the interval; the values.
pub fn encode_block(layer: &Layer, partials: &[Partial]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let mut rows = Rows::new(row_width(layer));
    let mut next = partials.first().map_or(0, |partial| partial.second.div_euclid(60) * 60);
    for partial in partials {
        let skipped = (partial.second - next).max(0) as u64;
        let whole = partial.from == 0 && partial.to == SECOND;
        put_varint(&mut out, skipped << 1 | u64::from(!whole));
        if !whole {
            put_varint(&mut out, u64::from(partial.from));
            put_varint(&mut out, u64::from(partial.to - partial.from));
        }
        match &partial.values {
            Values::Fields { count, values } => {
                put_varint(&mut out, *count);
                rows.put(&mut out, values);
            }
            Values::Histogram(histogram) => histogram.put(&mut out),
            Values::Energies(energies) => energies.put(&mut out, &mut rows),
            Values::Preview(preview) => put_preview(&mut out, preview),
            // No partial holds derived loudness.
            Values::Loudness(_) => {}
        }
        next = partial.second + 1;
    }
    out
}

/// The partials of a block, in rising order of their seconds. Any bytes are safe to give.
pub fn decode_block(layer: &Layer, minute: i64, bytes: &[u8]) -> Result<Vec<Partial>, CellError> {
    let mut input = open(bytes)?;
    let mut rows = Rows::new(row_width(layer));
    let mut partials = Vec::new();
    let mut next = 0;
    while !input.is_empty() {
        let head = input.varint()?;
        let place = (head >> 1).saturating_add(next);
        if place >= 60 {
            return Err(CellError::Range("second"));
        }
        let second = minute.checked_mul(60).and_then(|first| first.checked_add(place as i64));
        let second = second.ok_or(CellError::Range("minute"))?;
        let header = if head & 1 == 0 { Header { from: 0, to: SECOND } } else { take_interval(&mut input)? };
        let values = match &layer.kind {
            LayerKind::Fields { .. } => Values::Fields { count: input.varint()?, values: rows.take(&mut input)? },
            LayerKind::Histogram => Values::Histogram(Histogram::take(&mut input)?),
            LayerKind::Loudness => Values::Energies(Energies::take(&mut input, header, &mut rows)?),
            LayerKind::Preview => Values::Preview(Box::new(take_preview(&mut input)?)),
        };
        partials.push(Partial { second, from: header.from, to: header.to, values });
        next = place + 1;
    }
    Ok(partials)
}

/// The same partials as blocks of at most `most` bytes each, or of one partial each where that is not enough. Their
/// lengths are about equal.
pub fn split_block(layer: &Layer, minute: i64, bytes: &[u8], most: usize) -> Result<Vec<Vec<u8>>, CellError> {
    let partials = decode_block(layer, minute, bytes)?;
    let mut parts = bytes.len().div_ceil(most.max(1)).max(1);
    loop {
        let share = partials.len().div_ceil(parts).max(1);
        let blocks: Vec<Vec<u8>> = partials.chunks(share).map(|some| encode_block(layer, some)).collect();
        if share == 1 || blocks.iter().all(|block| block.len() <= most) {
            return Ok(blocks);
        }
        parts += 1;
    }
}

/// The bytes of a cell.
pub fn encode_cell(cell: &Cell) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_varint(&mut out, cell.heard);
    match &cell.values {
        Values::Fields { count, values } => {
            put_varint(&mut out, *count);
            Rows::new(values.len()).put(&mut out, values);
        }
        Values::Histogram(histogram) => histogram.put(&mut out),
        Values::Energies(energies) => {
            out.push(1);
            for slot in &energies.slots {
                put_varint(&mut out, u64::from(slot.length));
            }
            energies.put(&mut out, &mut Rows::new(LOUDNESS_ROW));
        }
        Values::Loudness(loudness) => {
            out.push(0);
            loudness.put(&mut out);
        }
        Values::Preview(preview) => put_preview(&mut out, preview),
    }
    out
}

/// The cell of a layer that was encoded as these bytes. Any bytes are safe to give.
pub fn decode_cell(layer: &'static Layer, bytes: &[u8]) -> Result<Cell, CellError> {
    let mut input = open(bytes)?;
    let heard = input.varint()?;
    let values = match &layer.kind {
        LayerKind::Fields { .. } => {
            Values::Fields { count: input.varint()?, values: Rows::new(layer.width()).take(&mut input)? }
        }
        LayerKind::Histogram => Values::Histogram(Histogram::take(&mut input)?),
        LayerKind::Loudness => match input.byte()? {
            0 => Values::Loudness(Loudness::take(&mut input)?),
            1 => Values::Energies(take_energies(&mut input)?),
            _ => return Err(CellError::Range("kind of loudness")),
        },
        LayerKind::Preview => Values::Preview(Box::new(take_preview(&mut input)?)),
    };
    input.end()?;
    Ok(Cell { layer, heard, values })
}

/// Checks the format byte.
pub(super) fn open(bytes: &[u8]) -> Result<Input<'_>, CellError> {
    let mut input = Input::new(bytes);
    match input.byte()? {
        FORMAT => Ok(input),
        other => Err(CellError::Format(other)),
    }
}

fn row_width(layer: &Layer) -> usize {
    match &layer.kind {
        LayerKind::Loudness => LOUDNESS_ROW,
        _ => layer.width(),
    }
}

fn take_interval(input: &mut Input<'_>) -> Result<Header, CellError> {
    let (from, length) = (input.varint()?, input.varint()?);
    let to = from.saturating_add(length);
    if length == 0 || to > u64::from(SECOND) {
        return Err(CellError::Range("interval"));
    }
    Ok(Header { from: from as u32, to: to as u32 })
}

fn take_energies(input: &mut Input<'_>) -> Result<Energies, CellError> {
    let mut slots = [Slot::default(); 10];
    for slot in &mut slots {
        slot.length = u32::try_from(input.varint()?).map_err(|_| CellError::Range("length"))?;
    }
    let row = Rows::new(LOUDNESS_ROW).take(input)?;
    for (slot, energy) in slots.iter_mut().zip(&row) {
        if slot.length > 0 {
            slot.energy = if *energy >= 0.0 { *energy } else { return Err(CellError::Range("energy")) };
        }
    }
    Ok(Energies { slots, true_peak: row[10] })
}

fn put_preview(out: &mut Vec<u8>, rows: &PreviewRows) {
    let present = rows.iter().enumerate().fold(0u64, |bits, (index, row)| bits | u64::from(row.is_some()) << index);
    put_varint(out, present);
    for row in rows.iter().flatten() {
        out.extend_from_slice(row);
    }
}

fn take_preview(input: &mut Input<'_>) -> Result<PreviewRows, CellError> {
    let present = input.varint()?;
    if present >> 10 != 0 {
        return Err(CellError::Range("number of preview rows"));
    }
    let mut rows = [None; 10];
    for (index, row) in rows.iter_mut().enumerate() {
        if present >> index & 1 == 1 {
            let mut bands = [0; PREVIEW_BANDS];
            bands.copy_from_slice(input.take(PREVIEW_BANDS)?);
            *row = Some(bands);
        }
    }
    Ok(rows)
}
