//! Playlists: HLS (RFC 8216), and the simple lists that point to a radio stream (M3U, PLS). Strict where it matters,
//! deaf to the rest.

use url::Url;

/// Segments of one playlist that are looked at; a live one has a handful.
const SEGMENTS: usize = 10_000;

/// What a playlist is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Playlist {
    /// A list of other addresses for the same: the stream itself, by its smallest rendition.
    Points(Url),
    /// Segments of a stream.
    Segments(Segments),
}

/// A media playlist.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segments {
    /// The longest segment, in seconds.
    pub(super) target: u64,
    /// The number of the first segment.
    pub(super) first: u64,
    /// In order.
    pub(super) segments: Vec<Segment>,
    /// No segments follow.
    pub(super) is_over: bool,
}

/// A segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    /// Where it is.
    pub(super) url: Url,
    /// First byte and number of bytes, if it is a part of what is there.
    pub(super) range: Option<(u64, u64)>,
    /// What a decoder must be given before the first segment of its kind.
    pub(super) initialisation: Option<(Url, Option<(u64, u64)>)>,
    /// It does not go on where the one before ended.
    pub(super) is_new: bool,
    /// It is not there, and will not be.
    pub(super) is_gap: bool,
}

/// Reads a playlist that came from `base`.
pub(super) fn parse(text: &str, base: &Url) -> Result<Playlist, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next().unwrap_or_default();
    if first.eq_ignore_ascii_case("[playlist]") {
        let file = lines.find_map(|line| {
            let (key, value) = line.split_once('=')?;
            key.to_ascii_lowercase().starts_with("file").then_some(value.trim())
        });
        return points(file, base);
    }
    let has = |tag: &str| text.lines().any(|line| line.starts_with(tag));
    if has("#EXT-X-STREAM-INF") {
        return points(smallest(lines), base);
    }
    if has("#EXT-X-TARGETDURATION") {
        return segments(lines, base).map(Playlist::Segments);
    }
    points(lines.find(|line| !line.starts_with('#')), base)
}

fn points(address: Option<&str>, base: &Url) -> Result<Playlist, String> {
    let address = address.ok_or_else(|| String::from("the playlist names no stream"))?;
    join(base, address).map(Playlist::Points)
}

fn join(base: &Url, address: &str) -> Result<Url, String> {
    let url = base.join(address).map_err(|error| format!("the playlist names no address: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("the playlist names an address with {other}:")),
    }
}

/// The address of the rendition with the fewest bits: its audio is seldom worse, and there is no picture to throw away.
fn smallest<'a>(lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (mut best, mut bits) = (None, None);
    for line in lines {
        if let Some(attributes) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            bits =
                Some(attribute(attributes, "BANDWIDTH").and_then(|bits| bits.parse::<u64>().ok()).unwrap_or(u64::MAX));
        } else if !line.starts_with('#')
            && let Some(bits) = bits.take()
            && best.is_none_or(|(least, _)| bits < least)
        {
            best = Some((bits, line));
        }
    }
    best.map(|(_, line)| line)
}

/// One attribute of a list such as `A=1,B="x,y"`, without its quotes.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    while let Some((key, value)) = rest.split_once('=') {
        let (found, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if key.trim() == name {
            return Some(found);
        }
        rest = behind.trim_start_matches(',');
    }
    None
}

fn segments<'a>(lines: impl Iterator<Item = &'a str>, base: &Url) -> Result<Segments, String> {
    let mut list = Segments { target: 0, first: 0, segments: Vec::new(), is_over: false };
    let (mut initialisation, mut range, mut is_new, mut is_gap) = (None, None, false, false);
    let number =
        |text: &str, what: &str| text.trim().parse::<u64>().map_err(|_| format!("the playlist's {what} is no number"));
    for line in lines {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-TARGETDURATION" => list.target = number(value, "target duration")?.clamp(1, 3_600),
            "#EXT-X-MEDIA-SEQUENCE" => list.first = number(value, "media sequence")?,
            "#EXT-X-DISCONTINUITY" => is_new = true,
            "#EXT-X-GAP" => is_gap = true,
            "#EXT-X-ENDLIST" => list.is_over = true,
            "#EXT-X-BYTERANGE" => {
                let before = list.segments.last().and_then(|last: &Segment| last.range);
                range = Some(byte_range(value, before.map_or(0, |(begin, length)| begin.saturating_add(length)))?);
            }
            "#EXT-X-KEY" if attribute(value, "METHOD").is_some_and(|method| method != "NONE") => {
                return Err(String::from("the stream is encrypted, which is not received"));
            }
            "#EXT-X-MAP" => {
                let address =
                    attribute(value, "URI").ok_or_else(|| String::from("the playlist's map has no address"))?;
                let range = attribute(value, "BYTERANGE").map(|range| byte_range(range, 0)).transpose()?;
                initialisation = Some((join(base, address)?, range));
            }
            _ if line.starts_with('#') => {}
            _ => {
                let url = join(base, line)?;
                let initialisation = initialisation.clone();
                list.segments.push(Segment { url, range: range.take(), initialisation, is_new, is_gap });
                (is_new, is_gap) = (false, false);
                if list.segments.len() > SEGMENTS {
                    return Err(format!("the playlist has more than {SEGMENTS} segments"));
                }
            }
        }
    }
    Ok(list)
}

/// `LENGTH` or `LENGTH@BEGIN`; without a beginning it goes on at `next`.
fn byte_range(text: &str, next: u64) -> Result<(u64, u64), String> {
    let wrong = |_| format!("{:?} is no range of bytes", text.chars().take(50).collect::<String>());
    let (length, begin) = match text.split_once('@') {
        Some((length, begin)) => (length, begin.trim().parse().map_err(wrong)?),
        None => (text, next),
    };
    Ok((begin, length.trim().parse().map_err(wrong)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Url {
        Url::parse("https://radio.example.org/a/list.m3u8").unwrap()
    }

    fn media(text: &str) -> Segments {
        match parse(text, &base()).unwrap() {
            Playlist::Segments(segments) => segments,
            other => panic!("{other:?}"),
        }
    }

    fn address(playlist: Result<Playlist, String>) -> String {
        match playlist.unwrap() {
            Playlist::Points(url) => url.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_smallest_rendition_is_taken() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS=\"mp4a.40.2,avc1\"\nhigh.m3u8\n\
                    #EXT-X-STREAM-INF:CODECS=\"mp4a.40.2\",BANDWIDTH=64000\n\nlow.m3u8\n#EXT-X-STREAM-INF:X=1\nother.m3u8\n";
        assert_eq!(address(parse(text, &base())), "https://radio.example.org/a/low.m3u8");
    }

    #[test]
    fn simple_lists_point_to_a_stream() {
        assert_eq!(
            address(parse("# radio\r\nhttp://x.example.org:8000/live\r\n", &base())),
            "http://x.example.org:8000/live"
        );
        assert_eq!(
            address(parse("[playlist]\nNumberOfEntries=1\nFile1=http://x.example.org/", &base())),
            "http://x.example.org/"
        );
        assert!(parse("#EXTM3U\n", &base()).is_err());
        assert!(parse("file:///etc/passwd", &base()).is_err());
    }

    #[test]
    fn segments_are_read_with_what_belongs_to_them() {
        let list = media(
            "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:17\n#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"10@0\"\n\
             #EXTINF:6.0,title, with: all\nall.mp4\n#EXT-X-BYTERANGE:100@20\n#EXTINF:5.9,\nall.mp4\n#EXT-X-BYTERANGE:50\n\
             #EXT-X-DISCONTINUITY\n#EXTINF:6\n/b.mp4\n#EXT-X-GAP\n#EXTINF:6\nc.mp4\n#EXT-X-ENDLIST\n",
        );
        assert_eq!((list.target, list.first, list.is_over, list.segments.len()), (6, 17, true, 4));
        assert_eq!(list.segments[1].range, Some((20, 100)));
        assert_eq!(list.segments[2].range, Some((120, 50)));
        assert_eq!(list.segments[2].url.path(), "/b.mp4");
        assert!(list.segments[2].is_new && !list.segments[3].is_new && list.segments[3].is_gap);
        let (map, range) = list.segments[0].initialisation.clone().unwrap();
        assert_eq!((map.path(), range), ("/a/init.mp4", Some((0, 10))));
    }

    #[test]
    fn what_is_not_received_is_said() {
        let key = "#EXT-X-TARGETDURATION:6\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:6\na.ts\n";
        assert!(parse(key, &base()).unwrap_err().contains("encrypted"));
        assert!(parse("#EXT-X-TARGETDURATION:x\na.ts\n", &base()).unwrap_err().contains("no number"));
        assert!(parse("#EXT-X-TARGETDURATION:6\nfile:///a.ts\n", &base()).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(#EXT-X-(TARGETDURATION|MAP|BYTERANGE|KEY|STREAM-INF)[:=@,\"A-Z0-9]{0,20}\n|[ -~]{0,30}\n){0,20}") {
            let _ = parse(&text, &base());
        }
    }
}
