//! HLS: segment after segment, as the playlist names them. Their bytes go through one decoder, as if they were one
//! stream; after a segment that was missed the stream begins anew, so that what is missing is a gap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_platform::clock::SECOND;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::decode::{Decoding, Memory};
use super::playlist::{self, Playlist, Segment, Segments};
use super::station::{PLAYLIST_LIMIT, Station, ask};
use crate::pieces::Following;

/// A playlist that names nothing new for so many of its target durations has ended.
const PATIENCE: u32 = 5;

/// Reads one playlist after the other until the stream ends, or must begin anew: why.
pub(super) async fn pull(
    station: &Station,
    memory: &Arc<Memory>,
    url: Url,
    first: Segments,
    stop: &CancellationToken,
) -> Result<(), String> {
    let following = following(first.target);
    let mut decoding = Decoding::of_bytes(Arc::clone(memory), following, &station.options.ffmpeg);
    // The last segment of the list was heard last; what lies before it would come all at once.
    let next = first.first + first.segments.len().saturating_sub(1) as u64;
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = follow(station, &url, first, next, &mut decoding) => ended,
    };
    decoding.finish().await;
    ended
}

async fn follow(
    station: &Station,
    url: &Url,
    mut list: Segments,
    mut next: u64,
    decoding: &mut Decoding,
) -> Result<(), String> {
    let mut initialised = None;
    let mut newest = Instant::now();
    loop {
        let target = Duration::from_secs(list.target);
        if list.first > next {
            return Err(format!("{} segments were missed", list.first - next));
        }
        let known = usize::try_from(next - list.first).unwrap_or(usize::MAX);
        let is_first = initialised.is_none() && newest.elapsed() < target;
        for (index, segment) in list.segments.iter().enumerate().skip(known) {
            if segment.is_gap || (segment.is_new && !(is_first && index == known)) {
                return if segment.is_gap { wait_behind(target).await } else { Err(String::from("it begins anew")) };
            }
            if segment.initialisation.is_some() && segment.initialisation != initialised {
                if initialised.is_some() {
                    return Err(String::from("its format changes"));
                }
                if let Some((url, range)) = &segment.initialisation {
                    fetch(station, url, *range, decoding, target).await?;
                }
            }
            initialised.clone_from(&segment.initialisation);
            load(station, segment, decoding, target).await?;
            next += 1;
            newest = Instant::now();
        }
        if list.is_over {
            return Err(String::from("the stream ended"));
        }
        if newest.elapsed() > target * PATIENCE {
            return Err(format!("the playlist names nothing new for {} s", newest.elapsed().as_secs()));
        }
        tokio::select! {
            reason = decoding.failure() => return Err(reason),
            () = tokio::time::sleep(target / 2) => {}
        }
        list = reload(station, url).await?;
    }
}

/// A segment that is not there will not come: the stream goes on behind it.
async fn wait_behind(target: Duration) -> Result<(), String> {
    tokio::time::sleep(target).await;
    Err(String::from("a segment is missing"))
}

async fn load(station: &Station, segment: &Segment, decoding: &mut Decoding, target: Duration) -> Result<(), String> {
    fetch(station, &segment.url, segment.range, decoding, target).await
}

/// Fetches bytes into the decoder, within a few times the time that they last.
async fn fetch(
    station: &Station,
    url: &Url,
    range: Option<(u64, u64)>,
    decoding: &mut Decoding,
    target: Duration,
) -> Result<(), String> {
    let fetching = async {
        let asked =
            range.map(|(begin, length)| format!("bytes={begin}-{}", begin.saturating_add(length).saturating_sub(1)));
        let headers: Vec<(&str, &str)> = asked.iter().map(|range| ("range", range.as_str())).collect();
        let mut response = ask(station, url, &headers).await?;
        if range.is_some() && response.status != http::StatusCode::PARTIAL_CONTENT {
            return Err(String::from("the server gives no parts of files"));
        }
        while let Some(bytes) = response.chunk().await.map_err(|error| error.to_string())? {
            decoding.write(bytes).await?;
        }
        Ok(())
    };
    match timeout(target * PATIENCE, fetching).await {
        Ok(fetched) => fetched,
        Err(_) => Err(String::from("a segment comes more slowly than it is heard")),
    }
}

async fn reload(station: &Station, url: &Url) -> Result<Segments, String> {
    let response = ask(station, url, &[]).await?;
    let base = response.url.clone();
    let text = response.whole(PLAYLIST_LIMIT).await.map_err(|error| error.to_string())?;
    match playlist::parse(&String::from_utf8_lossy(&text), &base)? {
        Playlist::Segments(list) => Ok(list),
        Playlist::Points(_) => Err(String::from("the playlist became another one")),
    }
}

/// A segment comes at once, up to its length and the time between two looks at the playlist late.
fn following(target: u64) -> Following {
    let target = i64::try_from(target).unwrap_or(10) * SECOND;
    Following { interrupted: 2 * target, certain: 4 * target, watch: 20 * target, settle: 2 * target + target / 2 }
}
