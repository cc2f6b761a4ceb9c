//! Old radio servers (SHOUTcast 1) begin their answers with `ICY 200 OK`: here it becomes HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const OLD: &[u8] = b"ICY ";
const NEW: &[u8] = b"HTTP/1.0 ";

/// A connection whose first bytes are looked at.
pub(super) struct Icy<S> {
    stream: S,
    /// What was read and not handed on yet.
    held: Vec<u8>,
    is_decided: bool,
}

impl<S> Icy<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), is_decided: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Icy<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_decided {
            let mut bytes = [0; OLD.len()];
            let missing = OLD.len() - self.held.len();
            let mut head = ReadBuf::new(&mut bytes[..missing]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut head))?;
            let is_over = head.filled().is_empty();
            self.held.extend_from_slice(head.filled());
            if self.held == OLD {
                self.held = NEW.to_vec();
                self.is_decided = true;
            } else {
                self.is_decided = is_over || !OLD.starts_with(&self.held);
            }
        }
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.held.len().min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.held.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Icy<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio_test_stream::pieces;

    use super::*;

    /// A stream that gives its bytes in pieces of one size.
    mod tokio_test_stream {
        use super::*;

        pub(super) struct Pieces(Vec<u8>, usize);

        pub(super) fn pieces(bytes: &[u8], size: usize) -> Pieces {
            Pieces(bytes.to_vec(), size)
        }

        impl AsyncRead for Pieces {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let count = self.1.min(self.0.len()).min(buffer.remaining());
                buffer.put_slice(&self.0[..count]);
                self.0.drain(..count);
                Poll::Ready(Ok(()))
            }
        }
    }

    #[tokio::test]
    async fn only_the_old_greeting_is_changed_however_it_is_cut() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"ICY 200 OK\r\n\r\nICY ", b"HTTP/1.0 200 OK\r\n\r\nICY "),
            (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK"),
            (b"IC", b"IC"),
            (b"ICE 200", b"ICE 200"),
            (b"ICY ", b"HTTP/1.0 "),
            (b"", b""),
        ];
        for (sent, expected) in cases {
            for size in 1..8 {
                let mut read = Vec::new();
                Icy::new(pieces(sent, size)).read_to_end(&mut read).await.unwrap();
                assert_eq!(read, expected, "{size}");
            }
        }
    }
}
