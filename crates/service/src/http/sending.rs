//! Answers on their way out: what is held until they are sent, and what of an archive was sent.

use super::shares::Share;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that keeps something until it was sent or given up.
struct Sending<T: Held> {
    body: Body,
    sent: u64,
    held: T,
}

/// Of an archive that is being sent; says at the end what came of it.
pub(super) struct Download {
    /// Who has it by which link: `3f2a… to 192.0.2.1, link of ci`.
    pub(super) what: String,
    /// What is to be sent, in bytes.
    pub(super) wanted: u64,
    /// One of those that may be at work.
    pub(super) _share: Share<IpAddr>,
}

/// What hears how much of a body was sent.
trait Held: Unpin {
    fn ended(&self, _sent: u64) {}
}

impl Held for super::places::AtWork {}

impl Held for Download {
    fn ended(&self, sent: u64) {
        let (what, wanted) = (&self.what, self.wanted);
        if sent >= wanted {
            tracing::info!("audit: download of {what} ended: {sent} bytes");
        } else {
            tracing::warn!("audit: download of {what} broke off: {sent} of {wanted} bytes");
        }
    }
}

/// Keeps `held` until the body is sent or given up.
pub(super) fn until_sent(response: Response, held: super::places::AtWork) -> Response {
    response.map(|body| Body::new(Sending::new(body, held)))
}

/// Says at its end how much of a download was sent.
pub(super) fn told(response: Response, download: Download) -> Response {
    response.map(|body| Body::new(Sending::new(body, download)))
}

impl<T: Held> Sending<T> {
    fn new(body: Body, held: T) -> Self {
        Self {
            body,
            sent: 0,
            held,
        }
    }
}

impl<T: Held> HttpBody for Sending<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.sent += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<T: Held> Drop for Sending<T> {
    fn drop(&mut self) {
        self.held.ended(self.sent);
    }
}
