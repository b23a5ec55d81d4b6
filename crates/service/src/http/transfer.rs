//! Answers while they are sent: what is held until they are, and how much of an archive was sent.

use super::permits::Permit;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that holds something until it is sent or dropped.
struct Transfer<T: Held> {
    body: Body,
    sent: u64,
    held: T,
}

/// A download of an archive; its end is logged.
pub(super) struct Download {
    /// The archive, the client and the link: `3f2a… to 192.0.2.1, link of ci`.
    pub(super) what: String,
    /// What is to be sent, in bytes.
    pub(super) wanted: u64,
    /// Its permit, given back at the end.
    pub(super) _permit: Permit<IpAddr>,
}

/// What is held while a body is sent.
trait Held: Unpin {
    fn ended(&self, _sent: u64) {}
}

impl Held for super::slots::ActiveRequest {}

impl Held for Download {
    fn ended(&self, sent: u64) {
        let (what, wanted) = (&self.what, self.wanted);
        if sent >= wanted {
            tracing::info!("audit: download of {what} ended: {sent} bytes");
        } else {
            tracing::warn!("audit: download of {what} was interrupted: {sent} of {wanted} bytes");
        }
    }
}

/// Holds `held` until the body is sent or dropped.
pub(super) fn until_sent(response: Response, held: super::slots::ActiveRequest) -> Response {
    response.map(|body| Body::new(Transfer::new(body, held)))
}

/// Logs at the end how much of a download was sent.
pub(super) fn logged(response: Response, download: Download) -> Response {
    response.map(|body| Body::new(Transfer::new(body, download)))
}

impl<T: Held> Transfer<T> {
    fn new(body: Body, held: T) -> Self {
        Self {
            body,
            sent: 0,
            held,
        }
    }
}

impl<T: Held> HttpBody for Transfer<T> {
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

impl<T: Held> Drop for Transfer<T> {
    fn drop(&mut self) {
        self.held.ended(self.sent);
    }
}
