//! Which codec a sample description means, and how it is set up.

use super::boxes::u32_at;
use crate::aac::Config;
use crate::coded::Codec;
use crate::decode::Info;
use crate::{AudioError, Format, codecs, opus};

/// A codec and what is known of its samples.
pub(super) struct Described {
    pub(super) codec: Box<dyn Codec>,
    pub(super) info: Info,
    pub(super) is_aac: bool,
}

/// The codec of a sample description: its type and body.
pub(super) fn open(kind: [u8; 4], body: &[u8]) -> Result<Described, AudioError> {
    let damaged = || AudioError::Unsupported("MP4 with a damaged sample description".into());
    // Six bytes of nothing, a reference, a version, and channels, bits and rate that need not be true.
    let fields = body.get(..28).ok_or_else(damaged)?;
    let extra = match u16::from_be_bytes([fields[8], fields[9]]) {
        0 => 0,
        1 => 16,
        2 => 36,
        _ => return Err(damaged()),
    };
    let boxes = body.get(28 + extra..).ok_or_else(damaged)?;
    let lossy = |rate, channels| Info { format: Format::Mp4, rate, channels, bits: 32, float: true, frames: None };
    let plain = |codec, info| Described { codec, info, is_aac: false };
    match &kind {
        b"mp4a" => {
            let stream = find(boxes, b"esds").ok_or_else(damaged)?;
            let (object, specific) = elementary_stream(stream).ok_or_else(damaged)?;
            match object {
                0x40 | 0x66..=0x68 => {
                    let config = Config::parse(specific.unwrap_or_default())?;
                    let channels = config.channels()?;
                    crate::decode::check(config.rate, channels)?;
                    Ok(Described { codec: codecs::aac(&config)?, info: lossy(config.rate, channels), is_aac: true })
                }
                0x69 | 0x6b => mpeg_audio(fields, lossy),
                other => Err(AudioError::Unsupported(format!("MP4 audio of object type {other:#04x}"))),
            }
        }
        b".mp3" => mpeg_audio(fields, lossy),
        b"alac" => {
            let cookie = find(boxes, b"alac").and_then(|cookie| cookie.get(4..)).ok_or_else(damaged)?;
            codecs::alac(cookie).map(|(codec, info)| plain(codec, info))
        }
        b"fLaC" => {
            let blocks = find(boxes, b"dfLa").and_then(|blocks| blocks.get(8..42)).ok_or_else(damaged)?;
            codecs::flac(blocks).map(|(codec, info)| plain(codec, Info { format: Format::Mp4, ..info }))
        }
        b"Opus" => {
            let head = opus::Head::parse_mp4(find(boxes, b"dOps").ok_or_else(damaged)?)?;
            Ok(plain(codecs::opus(&head)?, lossy(opus::RATE, head.channels())))
        }
        b"enca" | b"drms" => Err(AudioError::Unsupported("encrypted MP4".into())),
        other => Err(AudioError::Unsupported(format!("MP4 with {}", other.escape_ascii()))),
    }
}

/// MP3, of whose samples the description says how many channels and which rate.
fn mpeg_audio(fields: &[u8], info: impl Fn(u32, u16) -> Info) -> Result<Described, AudioError> {
    let channels = u16::from_be_bytes([fields[16], fields[17]]);
    let rate = u32_at(fields, 24) >> 16;
    crate::decode::check(rate, channels)?;
    Ok(Described { codec: codecs::mp3(rate, channels)?, info: info(rate, channels), is_aac: false })
}

/// The body of a box, also inside QuickTime's `wave`.
fn find<'a>(mut boxes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    while boxes.len() >= 8 {
        let length = u32_at(boxes, 0) as usize;
        let (own, rest) = boxes.split_at_checked(length).filter(|(own, _)| own.len() >= 8)?;
        if own[4..8] == *wanted {
            return Some(&own[8..]);
        }
        if own[4..8] == *b"wave"
            && let Some(found) = find(&own[8..], wanted)
        {
            return Some(found);
        }
        boxes = rest;
    }
    None
}

/// Reads `esds`: the type of the object, and its own description (ISO/IEC 14496-1, 7.2.6).
fn elementary_stream(bytes: &[u8]) -> Option<(u8, Option<&[u8]>)> {
    let (tag, stream, _) = descriptor(bytes.get(4..)?)?;
    let flags = *stream.get(2)?;
    let mut at = 3;
    if flags & 0x80 != 0 {
        at += 2;
    }
    if flags & 0x40 != 0 {
        at += 1 + usize::from(*stream.get(at)?);
    }
    if flags & 0x20 != 0 {
        at += 2;
    }
    let (config_tag, config, _) = descriptor(stream.get(at..)?)?;
    if tag != 3 || config_tag != 4 {
        return None;
    }
    let object = *config.first()?;
    let specific = config.get(13..).and_then(descriptor).filter(|(tag, ..)| *tag == 5);
    Some((object, specific.map(|(_, body, _)| body)))
}

/// A descriptor: its tag, its body and what follows. Lengths have seven bits a byte.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let mut length = 0_usize;
    for _ in 0..4 {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    // Some writers count wrong in the outer ones.
    let (body, behind) = rest.split_at(length.min(rest.len()));
    Some((tag, body, behind))
}
