//! The fields of all tags of a file as one.

use lofty::id3::v1::GENRES;
use lofty::tag::ItemKey;

use super::text::{clean, date, decibels, decimal, is_cut, isrc, number_and_total, uuids};
use super::{Found, Item, MusicBrainz, Raw, ReplayGain, Tags, WARNING_LENGTH, WARNINGS_LIMIT, picture};

/// Most characters of a field.
const TEXT_LENGTH: usize = 1_000;
/// Most characters of a comment.
const COMMENT_LENGTH: usize = 4_000;
/// Most characters of a language or a key.
const CODE_LENGTH: usize = 40;
/// Most values of a list.
const LIST_LENGTH: usize = 32;
/// The largest gain that can be meant, dB.
const GAIN_LIMIT: f64 = 128.0;
/// The largest peak that can be meant: floating point and lossy coding go over 1, but not far.
const PEAK_LIMIT: f64 = 1_000.0;
/// The fastest tempo that can be meant.
const BPM_LIMIT: f64 = 1_000.0;

/// The fields of `raw`; its warnings, and those about fields that are not what they should be.
pub(super) fn collect(raw: Raw) -> Found {
    let Raw { tags, warnings } = raw;
    let mut fields = Fields { tags: Vec::new(), warnings };
    let mut pictures = Vec::new();
    for tag in tags {
        fields.tags.push(tag.items);
        pictures.extend(tag.pictures);
    }
    let tags = fields.all();
    let mut warnings = fields.warnings;
    let cover = picture::best(pictures, &mut warnings);
    let warnings = warnings.iter().filter_map(|warning| clean(warning, WARNING_LENGTH)).take(WARNINGS_LIMIT);
    Found { tags, cover, warnings: warnings.collect() }
}

/// The fields of each tag, the one that says most first.
struct Fields {
    tags: Vec<Vec<Item>>,
    warnings: Vec<String>,
}

impl Fields {
    fn all(&mut self) -> Tags {
        use ItemKey as K;
        let (track, track_total) = self.number(K::TrackNumber, K::TrackTotal, "track number");
        let (disc, disc_total) = self.number(K::DiscNumber, K::DiscTotal, "disc number");
        let date = self.parsed(&[K::RecordingDate, K::Year, K::ReleaseDate], "date", date);
        let artist = self.shown(K::TrackArtist);
        let named = self.list(&[K::TrackArtists]);
        Tags {
            title: self.shown(K::TrackTitle),
            artist: artist.or_else(|| (!named.is_empty()).then(|| named.join("; "))),
            artists: if named.is_empty() { self.list(&[K::TrackArtist]) } else { named },
            album: self.shown(K::AlbumTitle),
            album_artist: self.shown(K::AlbumArtist).or_else(|| self.shown(K::AlbumArtists)),
            composers: self.list(&[K::Composer]),
            genres: self.genres(),
            track,
            track_total,
            disc,
            disc_total,
            year: date.as_deref().and_then(|date| date[..4].parse().ok()),
            date,
            original_date: self.parsed(&[K::OriginalReleaseDate], "original date", super::text::date),
            comment: self.comment(),
            language: self.text(K::Language, CODE_LENGTH),
            bpm: self
                .parsed(&[K::Bpm, K::IntegerBpm], "tempo", |text| {
                    // Some programs write 0 for what they do not know, which is no fault of the file's.
                    decimal(text).filter(|bpm| (0.0..=BPM_LIMIT).contains(bpm))
                })
                .filter(|bpm| *bpm > 0.0),
            key: self.text(K::InitialKey, CODE_LENGTH),
            compilation: self.parsed(&[K::FlagCompilation], "compilation flag", |text| match text.trim() {
                "1" | "true" | "True" | "yes" => Some(true),
                "0" | "false" | "False" | "no" => Some(false),
                _ => None,
            }),
            labels: self.list(&[K::Label, K::Publisher]),
            catalogue_numbers: self.list(&[K::CatalogNumber]),
            isrcs: self.isrcs(),
            musicbrainz: MusicBrainz {
                recording: self.uuid(K::MusicBrainzRecordingId, "MusicBrainz recording"),
                track: self.uuid(K::MusicBrainzTrackId, "MusicBrainz track"),
                release: self.uuid(K::MusicBrainzReleaseId, "MusicBrainz release"),
                release_group: self.uuid(K::MusicBrainzReleaseGroupId, "MusicBrainz release group"),
                artists: self.uuid_list(K::MusicBrainzArtistId, "MusicBrainz artist"),
                album_artists: self.uuid_list(K::MusicBrainzReleaseArtistId, "MusicBrainz album artist"),
            },
            acoustid: self.uuid(K::AcoustId, "AcoustID"),
            replay_gain: ReplayGain {
                track_gain: self.gain(K::ReplayGainTrackGain),
                track_peak: self.peak(K::ReplayGainTrackPeak),
                album_gain: self.gain(K::ReplayGainAlbumGain),
                album_peak: self.peak(K::ReplayGainAlbumPeak),
                r128_track_gain: self.r128(K::R128TrackGain),
                r128_album_gain: self.r128(K::R128AlbumGain),
            },
            lyrics: [K::Lyrics, K::UnsyncLyrics].iter().any(|key| self.values(&[*key]).any(|_| true)),
        }
    }

    /// The values of the first of `keys`, in the first tag, that has any which are not empty.
    fn values(&self, keys: &[ItemKey]) -> impl Iterator<Item = &Item> + use<'_> {
        let of = |items: &[Item], key: ItemKey| items.iter().any(|item| is_value(item, key));
        let found = self.tags.iter().find_map(|items| {
            let key = keys.iter().copied().find(|key| of(items, *key))?;
            Some((items, key))
        });
        found.into_iter().flat_map(|(items, key)| items.iter().filter(move |item| is_value(item, key)))
    }

    fn text(&mut self, key: ItemKey, limit: usize) -> Option<String> {
        let (text, cut) = {
            let item = self.values(&[key]).next()?;
            (clean(&item.text, limit), is_cut(&item.text, limit))
        };
        self.tell_cut(cut, limit);
        text
    }

    /// One text of all values.
    fn shown(&mut self, key: ItemKey) -> Option<String> {
        let values = self.list(&[key]);
        if values.is_empty() { None } else { clean(&values.join("; "), TEXT_LENGTH) }
    }

    fn list(&mut self, keys: &[ItemKey]) -> Vec<String> {
        let mut list: Vec<String> = Vec::new();
        let (mut cut, mut more) = (false, false);
        for item in self.values(keys) {
            let Some(text) = clean(&item.text, TEXT_LENGTH) else { continue };
            if list.contains(&text) {
                continue;
            }
            if list.len() == LIST_LENGTH {
                more = true;
                break;
            }
            cut |= is_cut(&item.text, TEXT_LENGTH);
            list.push(text);
        }
        self.tell_cut(cut, TEXT_LENGTH);
        if more {
            self.tell(format!("a field has more than {LIST_LENGTH} values; the first are taken"));
        }
        list
    }

    fn tell_cut(&mut self, cut: bool, limit: usize) {
        if cut {
            self.tell(format!("a field is cut after {limit} characters"));
        }
    }

    fn tell(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The first value that can be read; that there are only others is told.
    fn parsed<T>(&mut self, keys: &[ItemKey], what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut unreadable = false;
        for items in &self.tags {
            for key in keys {
                for item in items.iter().filter(|item| is_value(item, *key)) {
                    match parse(&item.text) {
                        Some(value) => return Some(value),
                        None => unreadable = true,
                    }
                }
            }
        }
        if unreadable {
            self.tell(format!("the {what} cannot be read"));
        }
        None
    }

    /// A number and of how many there are, which may stand in one field.
    fn number(&mut self, number: ItemKey, total: ItemKey, what: &str) -> (Option<u32>, Option<u32>) {
        // A 0 says that it is not known.
        let unknown = |text: &str| text.trim().trim_matches(['0', '/']).is_empty();
        let read = |text: &str| {
            let read = number_and_total(text);
            (read != (None, None) || unknown(text)).then_some(read)
        };
        let (first, second) = self.parsed(&[number], what, read).unwrap_or_default();
        let own = self.parsed(&[total], "total", read).unwrap_or_default();
        (first, own.0.or(second))
    }

    fn comment(&mut self) -> Option<String> {
        // Programs keep numbers of theirs in comments with a description.
        let item = self.tags.iter().flatten().find(|item| is_value(item, ItemKey::Comment) && !item.is_described)?;
        let (text, cut) = (clean(&item.text, COMMENT_LENGTH), is_cut(&item.text, COMMENT_LENGTH));
        self.tell_cut(cut, COMMENT_LENGTH);
        text
    }

    /// Genres by name: ID3 also knows them by number, alone or in brackets before a name.
    fn genres(&mut self) -> Vec<String> {
        let mut genres: Vec<String> = Vec::new();
        for value in self.list(&[ItemKey::Genre]) {
            let mut rest = value.as_str();
            let mut named = Vec::new();
            while let Some((number, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
                let Some(genre) = genre_by_number(number) else { break };
                named.push(genre.to_owned());
                rest = after.trim();
            }
            if !rest.is_empty() {
                // A name after numbers says the last of them again, or better.
                let better = genre_by_number(rest).unwrap_or(rest).to_owned();
                named.push(better);
            }
            named.retain(|genre| !genres.contains(genre));
            named.dedup();
            genres.extend(named);
        }
        genres.truncate(LIST_LENGTH);
        genres
    }

    fn isrcs(&mut self) -> Vec<String> {
        let values = self.list(&[ItemKey::Isrc]);
        // Several in one field are told apart by anything that an ISRC does not have.
        let parts = values.iter().flat_map(|value| value.split([';', ',', '/']));
        let (mut codes, mut others) = (Vec::new(), false);
        for part in parts {
            match isrc(part) {
                Some(code) if !codes.contains(&code) => codes.push(code),
                Some(_) => {}
                None => others = true,
            }
        }
        if others {
            self.tell(String::from("an ISRC cannot be read"));
        }
        codes.truncate(LIST_LENGTH);
        codes
    }

    fn uuid(&mut self, key: ItemKey, what: &str) -> Option<String> {
        self.parsed(&[key], what, |text| uuids(text).into_iter().next())
    }

    fn uuid_list(&mut self, key: ItemKey, what: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut others = false;
        for item in self.values(&[key]) {
            let ids = uuids(&item.text);
            others |= ids.is_empty();
            for id in ids {
                if !found.contains(&id) && found.len() < LIST_LENGTH {
                    found.push(id);
                }
            }
        }
        if others {
            self.tell(format!("the {what} cannot be read"));
        }
        found
    }

    fn gain(&mut self, key: ItemKey) -> Option<f64> {
        self.parsed(&[key], "replay gain", |text| decibels(text, GAIN_LIMIT))
    }

    fn peak(&mut self, key: ItemKey) -> Option<f64> {
        self.parsed(&[key], "peak", |text| decimal(text).filter(|peak| (0.0..=PEAK_LIMIT).contains(peak)))
    }

    /// A whole number of 1/256 dB (RFC 7845, section 5.2.1).
    fn r128(&mut self, key: ItemKey) -> Option<f64> {
        self.parsed(&[key], "R128 gain", |text| text.trim().parse::<i16>().ok().map(|gain| f64::from(gain) / 256.0))
    }
}

fn is_value(item: &Item, key: ItemKey) -> bool {
    item.key == key && !item.text.trim_matches(|c: char| c.is_whitespace() || c.is_control()).is_empty()
}

fn genre_by_number(text: &str) -> Option<&'static str> {
    match text {
        "RX" => Some("Remix"),
        "CR" => Some("Cover"),
        number => number.parse::<usize>().ok().and_then(|number| GENRES.get(number).copied()),
    }
}
