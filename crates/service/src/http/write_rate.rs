//! A minimum rate for writes: a client that reads its answer too slowly is disconnected.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How much the client must read in every [`WINDOW`] in which a write waits for it.
const MIN_BYTES: usize = 32 * 1024;
/// How long the client has for it.
pub(super) const WINDOW: Duration = Duration::from_mins(2);

/// A stream with a minimum rate for its writes.
pub(super) struct MinWriteRate<S> {
    stream: S,
    stalled: Option<Stalled>,
    window: Duration,
}

/// A write waits for the client.
struct Stalled {
    end: Pin<Box<Sleep>>,
    read: usize,
}

impl<S> MinWriteRate<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            stalled: None,
            window: WINDOW,
        }
    }

    /// The result of a write, or an error if the client was too slow.
    fn check(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) if *bytes >= wanted => self.stalled = None,
            Poll::Ready(Ok(bytes)) => {
                if let Some(stalled) = &mut self.stalled {
                    stalled.read += bytes;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let window = self.window;
                let fresh = || Stalled {
                    end: Box::pin(sleep(window)),
                    read: 0,
                };
                let stalled = self.stalled.get_or_insert_with(fresh);
                if stalled.end.as_mut().poll(context).is_ready() {
                    if stalled.read < MIN_BYTES {
                        let what = "the client reads its answer too slowly";
                        return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, what)));
                    }
                    *stalled = fresh();
                    // So that the new end wakes this task.
                    let _ = stalled.end.as_mut().poll(context);
                }
            }
        }
        wrote
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MinWriteRate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MinWriteRate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(context, wrote, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = pieces.iter().map(|piece| piece.len()).sum();
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.check(context, wrote, wanted)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::AsyncWriteExt;

    /// What comes of writing without end to somebody who reads `each` bytes every 10 ms.
    fn write_to(each: usize) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (writer, _) = listener.accept().unwrap();
        writer.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; each.max(1)];
            let wanted = || each > 0 && !stop.load(Ordering::Relaxed);
            while wanted() && std::io::Read::read(&mut reader, &mut buffer).is_ok_and(|n| n > 0) {
                std::thread::sleep(Duration::from_millis(10));
            }
            reader
        });
        let wrote = runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(writer).unwrap();
            let mut stream = MinWriteRate {
                window: Duration::from_millis(200),
                ..MinWriteRate::new(stream)
            };
            let block = vec![b'x'; 64 << 10];
            for _ in 0..600 {
                stream.write_all(&block).await?;
            }
            stream.shutdown().await
        });
        // What is still on its way would take crumbs an hour.
        over.store(true, Ordering::Relaxed);
        drop(reading.join().unwrap());
        wrote
    }

    #[test]
    fn a_client_that_reads_nothing_or_crumbs_is_disconnected_and_a_slow_one_is_not() {
        for crumbs in [0, 64] {
            let error = write_to(crumbs).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{crumbs}");
        }
        write_to(1 << 20).unwrap();
    }
}
