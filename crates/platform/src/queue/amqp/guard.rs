//! Keeps texts that are no UTF-8 from the client.
//!
//! AMQP does not say how its short texts are encoded. The client ends the connection at one that is no UTF-8; the broker
//! then hands out the same message again, to whoever connects next: one property of one foreign message would stop every
//! consumer for good. So frames that carry properties are looked through on their way in, and each such byte becomes
//! a `?`. Nothing else is changed, and lengths stay.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use bytes::{Buf as _, BytesMut};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::tcp::AsyncTcpStream;

/// Frames of this many bytes and more are passed on as they are: brokers send none, they agree on less.
const FRAME_LIMIT: usize = 1024 * 1024;

/// Type, channel and size before a frame's payload.
const FRAME_HEADER: usize = 7;
/// The types of frames that are looked through.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const TYPES: std::ops::RangeInclusive<u8> = 1..=8;

/// How deep tables may lie in each other to be looked through.
const DEPTH: usize = 16;

/// The stream under a connection, TLS included.
pub(super) type Raw = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// What the client runs on: tokio, but for its streams.
pub(super) type Kit = RuntimeParts<Tokio, GuardedReactor>;

/// A stream whose frames are looked through when they are read.
pub(super) struct Guarded<S> {
    inner: S,
    frames: Frames,
    heard: Heard,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S, heard: Heard) -> Self {
        Self { inner, frames: Frames::default(), heard }
    }
}

/// When the broker was last heard.
#[derive(Clone, Debug)]
pub(super) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    pub(super) fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long nothing has come.
    pub(super) fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Bytes on their way from the broker.
#[derive(Debug, Default)]
struct Frames {
    /// Of a frame that is not whole yet.
    raw: BytesMut,
    /// Looked through.
    ready: BytesMut,
    /// So many of the next bytes belong to a frame that nobody looks through.
    pass: usize,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        loop {
            let passed = self.pass.min(self.raw.len());
            self.ready.extend_from_slice(&self.raw.split_to(passed));
            self.pass -= passed;
            if self.raw.len() < FRAME_HEADER {
                return;
            }
            let kind = self.raw[0];
            if !TYPES.contains(&kind) {
                // No frame: a broker that speaks another version. Nothing here is known any more.
                self.pass = usize::MAX;
                continue;
            }
            let size = u32::from_be_bytes([self.raw[3], self.raw[4], self.raw[5], self.raw[6]]) as usize;
            let whole = FRAME_HEADER + size + 1;
            if !matches!(kind, METHOD | HEADER) || whole > FRAME_LIMIT {
                self.pass = whole;
                continue;
            }
            if self.raw.len() < whole {
                return;
            }
            let mut frame = self.raw.split_to(whole);
            // What does not fit its own lengths is left to the client, which ends the connection.
            let _ = look_through(kind, &mut frame[FRAME_HEADER..FRAME_HEADER + size]);
            self.ready.extend_from_slice(&frame);
        }
    }

    /// Nothing more comes.
    fn end(&mut self) {
        let rest = self.raw.split();
        self.ready.extend_from_slice(&rest);
    }
}

/// Mends the texts of a frame's payload; none if it is not as the protocol says.
fn look_through(kind: u8, payload: &mut [u8]) -> Option<()> {
    let mut at = Cursor { bytes: payload, at: 0 };
    if kind == METHOD {
        // Of the methods that a broker sends, these carry what other programs wrote: class 60, method 50 or 60.
        match (at.number(2)?, at.number(2)?) {
            // basic.return: code, text, exchange, key.
            (60, 50) => at.skip(2)?,
            // basic.deliver: tag of the consumer, number, flag, exchange, key.
            (60, 60) => {
                at.text()?;
                at.skip(9)?;
                at.text()?;
                return at.text();
            }
            _ => return Some(()),
        }
        at.text()?;
        at.text()?;
        return at.text();
    }
    // Class, weight and the body's size; then flags, one bit a property, from the highest.
    at.skip(2 + 2 + 8)?;
    let flags = at.number(2)?;
    for property in 0..14 {
        if flags & (1 << (15 - property)) == 0 {
            continue;
        }
        match property {
            // headers
            2 => at.table(0)?,
            // delivery-mode, priority
            3 | 4 => at.skip(1)?,
            // timestamp
            9 => at.skip(8)?,
            _ => at.text()?,
        }
    }
    Some(())
}

struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, count: usize) -> Option<&mut [u8]> {
        let from = self.at;
        self.at = from.checked_add(count)?;
        self.bytes.get_mut(from..self.at)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn number(&mut self, width: usize) -> Option<usize> {
        Some(self.take(width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A text with its length in one byte.
    fn text(&mut self) -> Option<()> {
        let length = self.number(1)?;
        mend(self.take(length)?);
        Some(())
    }

    fn table(&mut self, depth: usize) -> Option<()> {
        let length = self.number(4)?;
        let end = self.at.checked_add(length)?;
        while self.at < end {
            self.text()?;
            self.value(depth)?;
        }
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        match self.number(1).and_then(|kind| u8::try_from(kind).ok())? {
            b't' | b'b' | b'B' => self.skip(1),
            b's' | b'U' | b'u' => self.skip(2),
            b'I' | b'i' | b'f' => self.skip(4),
            b'L' | b'l' | b'd' | b'T' => self.skip(8),
            b'D' => self.skip(5),
            b'V' => Some(()),
            b'S' | b'x' => {
                let length = self.number(4)?;
                self.skip(length)
            }
            b'F' => self.table(depth + 1),
            b'A' => {
                let length = self.number(4)?;
                let end = self.at.checked_add(length)?;
                while self.at < end {
                    self.value(depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}

/// Makes UTF-8 of `text`, in its place.
fn mend(mut text: &mut [u8]) {
    while let Err(error) = std::str::from_utf8(text) {
        let from = error.valid_up_to();
        let to = error.error_len().map_or(text.len(), |length| from + length);
        text[from..to].fill(b'?');
        text = &mut text[to..];
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while this.frames.ready.is_empty() {
            let mut bytes = [0; 16 * 1024];
            let count = ready!(Pin::new(&mut this.inner).poll_read(context, &mut bytes))?;
            if count == 0 {
                this.frames.end();
                break;
            }
            this.heard.mark();
            this.frames.push(&bytes[..count]);
        }
        let count = this.frames.ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&this.frames.ready[..count]);
        this.frames.ready.advance(count);
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

/// Tokio's reactor, with guarded streams.
#[derive(Clone, Debug)]
pub(super) struct GuardedReactor(pub(super) Tokio);

impl Reactor for GuardedReactor {
    type TcpStream = Guarded<Raw>;
    type Sleep = <Tokio as Reactor>::Sleep;

    // Sockets of others are not taken: the client has none.
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Guarded<Raw>, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Guarded::new(AsyncTcpStream::Plain(connecting.await?), Heard::now())) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &size[..], payload, &[0xCE]].concat()
    }

    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut frames = Frames::default();
        bytes.chunks(piece).for_each(|piece| frames.push(piece));
        frames.end();
        frames.ready.to_vec()
    }

    /// A content header with headers and a message-id; `text` is the key of a header in a table in it, and the id.
    fn content(text: &[u8]) -> Vec<u8> {
        let short = [&[u8::try_from(text.len()).unwrap()], text].concat();
        let inner = [&short[..], b"S\0\0\0\x02\xff\xfe"].concat();
        let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let headers = [b"\x01kF", &sized(&inner)[..], b"\x01nl\0\0\0\0\0\0\0\x07"].concat();
        // headers, delivery-mode and message-id: bits 13, 12 and 7.
        [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x30, 0x80], &sized(&headers)[..], &[2], &short].concat()
    }

    #[test]
    fn a_text_that_is_no_utf8_is_mended_and_nothing_else_is() {
        let bad = frame(HEADER, &content(b"gr\xfc\xdfe"));
        let good = frame(HEADER, &content(b"gr??e"));
        assert_eq!(through(&bad, 1), good);
        let fine = frame(HEADER, &content("grüße".as_bytes()));
        assert_eq!(through(&fine, 3), fine);
        let body = frame(3, b"\xff\xfe\xfd");
        assert_eq!(through(&[&body[..], &bad].concat(), 5), [&body[..], &good].concat());
    }

    #[test]
    fn routing_keys_are_mended() {
        let deliver = |key: &[u8]| {
            let key = [&[u8::try_from(key.len()).unwrap()], key].concat();
            frame(METHOD, &[b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x01\0\x01e", &key[..]].concat())
        };
        assert_eq!(through(&deliver(b"sensors.\xc3.recordings"), 4), deliver(b"sensors.?.recordings"));
    }

    proptest! {
        #[test]
        fn nothing_is_added_lost_or_thrown(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..300) {
            prop_assert_eq!(through(&bytes, piece).len(), bytes.len());
            let framed = frame(HEADER, &bytes);
            prop_assert_eq!(through(&framed, piece).len(), framed.len());
        }

        #[test]
        fn every_text_becomes_utf8(mut text in prop::collection::vec(any::<u8>(), 0..300)) {
            let before = text.clone();
            mend(&mut text);
            prop_assert!(std::str::from_utf8(&text).is_ok());
            if std::str::from_utf8(&before).is_ok() {
                prop_assert_eq!(text, before);
            }
        }
    }
}
