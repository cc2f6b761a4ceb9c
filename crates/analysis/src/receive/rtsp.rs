//! RTSP by ffmpeg: the one case in which it speaks to the network itself. It is given an address on this machine, a relay
//! that passes bytes on to the address that was checked, and to no other: where a server says that the stream is
//! elsewhere, the connection ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::decode::{Decoding, Memory};
use super::station::{Station, Watch};

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether something is decoded.
const LOOK: Duration = Duration::from_secs(1);

/// What begins an answer that sends elsewhere (RFC 2326, section 11.3).
const ELSEWHERE: &[u8] = b"RTSP/1.0 3";

/// Receives until the stream ends; why.
pub(super) async fn pull(station: &Station, memory: &Arc<Memory>, stop: &CancellationToken) -> Result<(), String> {
    let url = &station.stream.url;
    let host = url.host_str().unwrap_or_default();
    let addresses = station.outbound.resolve(host, url.port().unwrap_or(554)).await;
    let address =
        *addresses.map_err(|error| error.to_string())?.first().ok_or_else(|| format!("{host} has no address"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("no relay: {error}"))?;
    let here = listener.local_addr().map_err(|error| format!("no relay: {error}"))?;
    let mut decoding = Decoding::of_relay(
        Arc::clone(memory),
        station.options.following,
        &station.options.ffmpeg,
        &relayed(url, here)?,
    )?;
    let mut watch = Watch::new(memory);
    let mut looks = interval(LOOK);
    let relaying = relay(listener, address);
    tokio::pin!(relaying);
    let ended = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            reason = decoding.failure() => return Err(reason),
            reason = &mut relaying => break Err(reason),
            _ = looks.tick() => if let Err(reason) = watch.check(memory) { break Err(reason) },
        }
    };
    decoding.finish().await;
    ended
}

/// The stream's address by way of the relay: path, query, user and password stay.
fn relayed(url: &Url, here: SocketAddr) -> Result<String, String> {
    let mut url = url.clone();
    let unusable = || String::from("the address cannot be relayed");
    url.set_ip_host(here.ip()).map_err(|()| unusable())?;
    url.set_port(Some(here.port())).map_err(|()| unusable())?;
    Ok(url.into())
}

/// Passes one connection on; why it ended. Whoever else connects is not answered.
async fn relay(listener: TcpListener, to: SocketAddr) -> String {
    let Ok((here, _)) = listener.accept().await else { return String::from("ffmpeg did not connect") };
    drop(listener);
    let there = match timeout(PATIENCE, TcpStream::connect(to)).await {
        Ok(Ok(there)) => there,
        Ok(Err(error)) => return format!("the camera cannot be reached: {error}"),
        Err(_) => return format!("the camera did not answer for {} s", PATIENCE.as_secs()),
    };
    let (here_reads, here_writes) = here.into_split();
    let (there_reads, there_writes) = there.into_split();
    tokio::select! {
        reason = pass(here_reads, there_writes, None) => reason,
        reason = pass(there_reads, here_writes, Some(ELSEWHERE)) => reason,
    }
}

/// Passes bytes on until one end closes, or `forbidden` comes before the first packet of audio.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut forbidden: Option<&[u8]>,
) -> String {
    let mut buffer = vec![0; 16 * 1024];
    let mut seen: Vec<u8> = Vec::new();
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => return String::from("the stream ended"),
            Ok(read) => &buffer[..read],
            Err(error) => return format!("the stream broke off: {error}"),
        };
        if let Some(pattern) = forbidden {
            seen.extend_from_slice(read);
            // A packet (RFC 2326, section 10.12) begins with a dollar sign, which no head of an answer does.
            let packets = seen.windows(5).position(|window| window == b"\r\n\r\n$");
            let heads = &seen[..packets.unwrap_or(seen.len())];
            if heads.windows(pattern.len()).any(|window| window == pattern) {
                return String::from("the server says that the stream is elsewhere; give that address");
            }
            if packets.is_some() {
                forbidden = None;
            }
            let keep = seen.len().saturating_sub(pattern.len());
            seen.drain(..keep);
        }
        if let Err(error) = to.write_all(read).await {
            return format!("the stream broke off: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_sent_elsewhere_is_not_let_go_however_it_is_cut() {
        for size in 1..30 {
            let (mut server, reads) = tokio::io::duplex(size);
            let writing = tokio::spawn(async move {
                let _ = server
                    .write_all(b"RTSP/1.0 200 OK\r\n\r\nRTSP/1.0 302 Moved\r\nLocation: rtsp://10.0.0.1/\r\n\r\n")
                    .await;
            });
            let mut passed = Vec::new();
            let reason = pass(reads, &mut passed, Some(ELSEWHERE)).await;
            assert!(reason.contains("elsewhere"), "{size}: {reason}");
            assert!(!String::from_utf8_lossy(&passed).contains("Location"), "{size}");
            writing.await.unwrap();
        }
    }

    #[tokio::test]
    async fn audio_is_passed_on_whatever_is_in_it() {
        let stream = b"RTSP/1.0 200 OK\r\n\r\n$\0\0\x0aRTSP/1.0 3".repeat(3);
        let mut passed = Vec::new();
        assert_eq!(pass(stream.as_slice(), &mut passed, Some(ELSEWHERE)).await, "the stream ended");
        assert_eq!(passed, stream);
    }

    #[test]
    fn the_relay_takes_the_place_of_the_host_only() {
        let url = Url::parse("rtsp://me:pa%2Fss@cam.example.org:8554/live/1?x=y").unwrap();
        let here = SocketAddr::from(([127, 0, 0, 1], 4_321));
        assert_eq!(relayed(&url, here).unwrap(), "rtsp://me:pa%2Fss@127.0.0.1:4321/live/1?x=y");
    }
}
