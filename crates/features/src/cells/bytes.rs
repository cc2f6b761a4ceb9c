//! Reading and writing the compact bytes of blocks and cells.

/// Stored bytes that are no block, cell or frames of their layer.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum CellError {
    /// The bytes end in the middle of something.
    #[error("the stored values end too early")]
    Truncated,
    /// Bytes follow the end.
    #[error("the stored values are followed by {0} bytes that belong to nothing")]
    Trailing(usize),
    /// A format that this build does not know.
    #[error("the stored values have format {0}, which this build does not know")]
    Format(u8),
    /// A number outside its range.
    #[error("the stored values hold a {0} outside its range")]
    Range(&'static str),
}

/// Appends an unsigned number, 7 bits a byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Maps small numbers of either sign to small unsigned ones.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads from the front of stored bytes.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], CellError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CellError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, CellError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn varint(&mut self) -> Result<u64, CellError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(CellError::Range("number"))
    }

    pub(super) fn end(&self) -> Result<(), CellError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(CellError::Trailing(more)),
        }
    }
}

/// Appends numbers bit by bit, in Elias' gamma code: as many zeros as the number has bits after its first, then its
/// bits. Small numbers are short: 1 is one bit.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { out, used: 8 }
    }

    /// Appends a number above 0.
    pub(super) fn put(&mut self, number: u64) {
        let bits = number.max(1).ilog2();
        for _ in 0..bits {
            self.put_bit(0);
        }
        for shift in (0..=bits).rev() {
            self.put_bit((number.max(1) >> shift & 1) as u8);
        }
    }

    fn put_bit(&mut self, bit: u8) {
        if self.used == 8 {
            self.out.push(0);
            self.used = 0;
        }
        if let Some(last) = self.out.last_mut() {
            *last |= bit << (7 - self.used);
        }
        self.used += 1;
    }
}

/// Reads what [`BitWriter`] wrote; bits left in the last byte are ignored.
pub(super) struct BitReader<'a, 'b> {
    input: &'b mut Input<'a>,
    byte: u8,
    left: u32,
}

impl<'a, 'b> BitReader<'a, 'b> {
    pub(super) fn new(input: &'b mut Input<'a>) -> BitReader<'a, 'b> {
        BitReader { input, byte: 0, left: 0 }
    }

    /// The next number, above 0 and below 2^53.
    pub(super) fn take(&mut self) -> Result<u64, CellError> {
        let mut bits = 0;
        while self.bit()? == 0 {
            bits += 1;
            if bits > 52 {
                return Err(CellError::Range("number"));
            }
        }
        let mut number = 1;
        for _ in 0..bits {
            number = number << 1 | u64::from(self.bit()?);
        }
        Ok(number)
    }

    fn bit(&mut self) -> Result<u8, CellError> {
        if self.left == 0 {
            self.byte = self.input.byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Ok(self.byte >> self.left & 1)
    }
}

const SAME: u8 = 0;
const ABSENT: u8 = 1;
const SAME_TOP: u8 = 2;

/// Codes rows of f32 against the row before, without loss: two bits a value say whether it is the same, absent
/// (NaN), or written whole or without its top byte (sign and seven bits of exponent), which seldom changes from
/// one second to the next.
pub(super) struct Rows {
    previous: Vec<u32>,
}

impl Rows {
    pub(super) fn new(width: usize) -> Rows {
        Rows { previous: vec![0; width] }
    }

    /// Appends a row. A value that is not finite is written as absent.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, values: &[f32]) {
        let codes = out.len();
        out.resize(codes + self.previous.len().div_ceil(4), 0);
        for (index, (previous, value)) in self.previous.iter_mut().zip(values).enumerate() {
            let bits = value.to_bits();
            let code = if !value.is_finite() {
                ABSENT
            } else if bits == *previous {
                SAME
            } else if bits >> 24 == *previous >> 24 {
                out.extend_from_slice(&bits.to_le_bytes()[..3]);
                SAME_TOP
            } else {
                out.extend_from_slice(&bits.to_le_bytes());
                3
            };
            out[codes + index / 4] |= code << (index % 4 * 2);
            if code != ABSENT {
                *previous = bits;
            }
        }
    }

    /// Reads the next row; absent values are NaN.
    pub(super) fn take(&mut self, input: &mut Input<'_>) -> Result<Vec<f32>, CellError> {
        let codes = input.take(self.previous.len().div_ceil(4))?;
        let mut values = Vec::with_capacity(self.previous.len());
        for (index, previous) in self.previous.iter_mut().enumerate() {
            let bits = match codes[index / 4] >> (index % 4 * 2) & 3 {
                SAME => *previous,
                ABSENT => {
                    values.push(f32::NAN);
                    continue;
                }
                SAME_TOP => {
                    let low = input.take(3)?;
                    u32::from_le_bytes([low[0], low[1], low[2], (*previous >> 24) as u8])
                }
                _ => {
                    let whole = input.take(4)?;
                    u32::from_le_bytes([whole[0], whole[1], whole[2], whole[3]])
                }
            };
            let value = f32::from_bits(bits);
            if !value.is_finite() {
                return Err(CellError::Range("value"));
            }
            *previous = bits;
            values.push(value);
        }
        Ok(values)
    }
}
