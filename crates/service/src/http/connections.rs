//! Accepts connections: a limited number, and an idle one keeps its slot only while nobody else needs it.

use super::slots::{MAX, Slot, Slots};
use super::write_rate::{MinWriteRate, WINDOW};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tower::ServiceExt;

/// How long the head of a request may take; an idle connection is closed after that, too.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The head of a request at most, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// Between two log lines about closed or refused connections.
const SAY_EVERY: Duration = Duration::from_mins(1);
/// The whole answer to a client if every slot is busy.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
                      content-length: 0\r\n\r\n";

/// Serves connections until `stopped`; returns those that are still open then.
pub(super) async fn answer(
    listener: &TcpListener,
    router: &Router,
    mut stopped: oneshot::Receiver<()>,
) -> GracefulShutdown {
    let slots = Slots::default();
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES);
    let mut said = None;
    loop {
        let (stream, peer, slot) = tokio::select! {
            next = next(listener, &slots, &mut said) => next,
            // A handle that is closed means the same as one that says so.
            _ = &mut stopped => return connections,
        };
        let router = router.clone();
        let slot = Arc::new(slot);
        let own = Arc::clone(&slot);
        let service =
            service_fn(move |request| one(router.clone(), Arc::clone(&own), peer, request));
        let connection = http.serve_connection(TokioIo::new(MinWriteRate::new(stream)), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    // How strangers hang up is nobody's concern.
                    tracing::debug!("http: {peer}: {error}");
                },
                () = slot.lost() => {}
            }
        });
    }
}

/// One request; its slot is kept until the answer is sent.
async fn one(
    router: Router,
    slot: Arc<Slot>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let active = slot.begin_request();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    Ok(super::transfer::until_sent(response, active))
}

/// Waits for the next connection that has a slot.
async fn next(
    listener: &TcpListener,
    slots: &Slots,
    said: &mut Option<Instant>,
) -> (TcpStream, SocketAddr, Slot) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                prepare(&stream);
                match slots.take(peer, Instant::now()) {
                    Some((slot, None)) => return (stream, peer, slot),
                    Some((slot, Some(closed))) => {
                        say(
                            said,
                            &format!(
                                "closed the connection of {closed}, idle longest, to accept {peer}"
                            ),
                        );
                        return (stream, peer, slot);
                    }
                    None => {
                        say(said, &format!("none is idle; refused {peer} (503)"));
                        // Whoever does not take these few bytes at once goes without.
                        let _ = stream.try_write(FULL);
                    }
                }
            }
            // Somebody who hung up before.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                // As when there are no more files to be had: that passes.
                tracing::warn!("http: accepting a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Logs, at most now and then, that a connection was closed for another one or refused.
fn say(said: &mut Option<Instant>, what: &str) {
    if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        tracing::warn!("http: all {MAX} connections, or all of one address, are open; {what}");
    }
}

fn prepare(stream: &TcpStream) {
    let limit = u32::try_from(WINDOW.as_millis()).unwrap_or(u32::MAX);
    let set = stream.set_nodelay(true).and_then(|()| {
        // Also for a peer that answers and takes nothing (tcp(7), TCP_USER_TIMEOUT).
        Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, limit)?)
    });
    if let Err(error) = set {
        tracing::debug!("http: preparing a connection: {error}");
    }
}
