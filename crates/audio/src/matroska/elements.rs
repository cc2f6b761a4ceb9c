//! Elements of EBML: an identifier, a length, a body (RFC 8794).

use crate::AudioError;
use crate::coded::BROKEN_OFF;
use crate::input::Input;
use crate::wav::read_header;

use super::malformed;

/// Most bytes of a number, a text or the description of a codec.
const MOST_VALUE_BYTES: u64 = 1 << 20;

/// An element whose header was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub(super) id: u32,
    /// Where it ends; `None` if that is not known, as in live streams.
    pub(super) end: Option<u64>,
}

/// Reads the header of the next element; `None` at the end of the file.
pub(super) fn next(source: &mut Input) -> Result<Option<Element>, AudioError> {
    if source.peek(1)?.is_empty() {
        return Ok(None);
    }
    let (id, _) = read_number(source, 4, true)?;
    let (length, is_known) = read_number(source, 8, false)?;
    let end = is_known.then(|| source.position().saturating_add(length));
    Ok(Some(Element { id: id as u32, end }))
}

/// A number whose first byte tells how long it is, and whether it is any other than all ones.
fn read_number(source: &mut Input, most_bytes: u32, with_marker: bool) -> Result<(u64, bool), AudioError> {
    let mut first = [0];
    read_header(source, &mut first)?;
    let length = first[0].leading_zeros() + 1;
    if length > most_bytes {
        return Err(malformed("an element begins with no number"));
    }
    let marker = 0x80_u8 >> (length - 1);
    let mut value = u64::from(if with_marker { first[0] } else { first[0] & !marker });
    for _ in 1..length {
        let mut byte = [0];
        read_header(source, &mut byte)?;
        value = value << 8 | u64::from(byte[0]);
    }
    Ok((value, value != (1 << (7 * length)) - 1))
}

/// The same of bytes in memory, as blocks have it; with how many bytes it took.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let body = bytes.get(..length).filter(|_| length <= 8)?;
    let value = body.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Some((value & !(1 << (7 * length)), length))
}

/// Goes through the elements inside one that ends at `end`. What `visit` leaves unread is passed over.
pub(super) fn each(
    source: &mut Input,
    end: u64,
    mut visit: impl FnMut(&mut Input, u32, u64) -> Result<(), AudioError>,
) -> Result<(), AudioError> {
    while source.position() < end {
        let element = next(source)?.ok_or(BROKEN_OFF)?;
        let own_end = element.end.filter(|own| *own <= end);
        let own_end = own_end.ok_or_else(|| malformed("an element is longer than the one around it"))?;
        visit(source, element.id, own_end)?;
        let rest = own_end.checked_sub(source.position());
        if !source.skip(rest.ok_or_else(|| malformed("an element is shorter than its content"))?)? {
            return Err(BROKEN_OFF);
        }
    }
    Ok(())
}

/// The body of an element that ends at `end`.
pub(super) fn bytes(source: &mut Input, end: u64) -> Result<Vec<u8>, AudioError> {
    let length = end.saturating_sub(source.position());
    if length > MOST_VALUE_BYTES {
        return Err(malformed("an element is too long"));
    }
    let mut body = Vec::new();
    if source.append(length as usize, &mut body)? { Ok(body) } else { Err(BROKEN_OFF) }
}

/// The body as an unsigned number.
pub(super) fn unsigned(source: &mut Input, end: u64) -> Result<u64, AudioError> {
    Ok(bytes(source, end)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// The body as a floating point number.
pub(super) fn float(source: &mut Input, end: u64) -> Result<f64, AudioError> {
    let body = bytes(source, end)?;
    match (<[u8; 4]>::try_from(body.as_slice()), <[u8; 8]>::try_from(body.as_slice())) {
        (Ok(bytes), _) => Ok(f64::from(f32::from_be_bytes(bytes))),
        (_, Ok(bytes)) => Ok(f64::from_be_bytes(bytes)),
        _ => Err(malformed("a number of a wrong length")),
    }
}
