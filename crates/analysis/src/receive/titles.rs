//! The titles that radio servers put between the bytes of the audio (ICY metadata): after every `icy-metaint` bytes of
//! audio one byte that says how many times 16 bytes of `StreamTitle='...';` follow.

use bytes::{Bytes, BytesMut};

/// Longest title that is kept, in letters.
const LETTERS: usize = 200;

/// Takes titles out of the bytes of one answer.
pub(super) struct Titles {
    /// Bytes of audio between two titles; none: there are no titles.
    interval: Option<usize>,
    /// Bytes of audio before the next title.
    audio_left: usize,
    /// Bytes of the title that comes, once its length is known.
    title_left: Option<usize>,
    title: BytesMut,
}

impl Titles {
    /// For an answer whose header `icy-metaint` says `interval`.
    pub(super) fn new(interval: Option<usize>) -> Self {
        let interval = interval.filter(|interval| *interval > 0);
        Self { interval, audio_left: interval.unwrap_or(0), title_left: None, title: BytesMut::new() }
    }

    /// Splits the next bytes: hands on the audio, returns the newest title if one ended here.
    pub(super) fn take(&mut self, mut bytes: Bytes, mut audio: impl FnMut(Bytes)) -> Option<String> {
        let Some(interval) = self.interval else {
            audio(bytes);
            return None;
        };
        let mut newest = None;
        while !bytes.is_empty() {
            match self.title_left {
                None if self.audio_left > 0 => {
                    let part = bytes.split_to(self.audio_left.min(bytes.len()));
                    self.audio_left -= part.len();
                    audio(part);
                }
                None => self.title_left = Some(usize::from(bytes.split_to(1)[0]) * 16),
                Some(left) => {
                    let part = bytes.split_to(left.min(bytes.len()));
                    self.title.extend_from_slice(&part);
                    self.title_left = Some(left - part.len());
                }
            }
            if self.title_left == Some(0) {
                newest = title_of(&self.title).or(newest);
                self.title.clear();
                self.title_left = None;
                self.audio_left = interval;
            }
        }
        newest
    }
}

/// The title in one block of metadata; an empty one says that nothing is known any more, no block that nothing changed.
fn title_of(block: &[u8]) -> Option<String> {
    const BEGIN: &[u8] = b"StreamTitle='";
    let begin = block.windows(BEGIN.len()).position(|window| window == BEGIN)? + BEGIN.len();
    let rest = &block[begin..];
    // A title may hold quotes; what ends it is a quote before a semicolon.
    let end = rest.windows(2).position(|window| window == b"';")?;
    Some(clean(&rest[..end]))
}

/// A title as text: UTF-8, or else Latin-1, without control characters.
fn clean(title: &[u8]) -> String {
    let text = match std::str::from_utf8(title) {
        Ok(text) => text.to_owned(),
        Err(_) => title.iter().map(|byte| char::from(*byte)).collect(),
    };
    let letters: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    letters.trim().chars().take(LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(title: &[u8]) -> Vec<u8> {
        let mut text = title.to_vec();
        text.resize(text.len().div_ceil(16) * 16, 0);
        let mut block = vec![(text.len() / 16) as u8];
        block.extend(text);
        block
    }

    #[test]
    fn titles_are_read_and_cleaned() {
        let cases: [(&[u8], Option<&str>); 6] = [
            (b"StreamTitle='Nina Simone - Don't Explain';StreamUrl='';", Some("Nina Simone - Don't Explain")),
            (b"StreamTitle='J\xfcrgen';", Some("Jürgen")),
            ("StreamTitle='Jürgen\u{7} ';".as_bytes(), Some("Jürgen")),
            (b"StreamTitle='';", Some("")),
            (b"StreamUrl='x';", None),
            (b"StreamTitle='never ends", None),
        ];
        for (text, expected) in cases {
            assert_eq!(title_of(text).as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn audio_comes_through_however_it_is_cut(
            interval in 1_usize..40, chunk in 1_usize..50, audio: Vec<u8>, titles in prop::collection::vec("[a-z ]{0,40}", 1..5)
        ) {
            let mut sent = Vec::new();
            let mut said = titles.iter().cycle();
            for part in audio.chunks(interval) {
                sent.extend_from_slice(part);
                if part.len() == interval {
                    let title = said.next().unwrap();
                    sent.extend(block(format!("StreamTitle='{title}';").as_bytes()));
                }
            }
            let mut reader = Titles::new(Some(interval));
            let (mut heard, mut newest) = (Vec::new(), None);
            for part in sent.chunks(chunk) {
                newest = reader.take(Bytes::copy_from_slice(part), |bytes| heard.extend_from_slice(&bytes)).or(newest);
            }
            prop_assert_eq!(&heard, &audio);
            let count = audio.len() / interval;
            let last = count.checked_sub(1).map(|last| titles[last % titles.len()].trim().to_owned());
            prop_assert_eq!(newest, last);
        }
    }
}
