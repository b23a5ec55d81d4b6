//! Who is connected: at most so many, none of whom may take a place by saying nothing.

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tower::ServiceExt;

/// Connections at once. Further ones wait in the kernel until one ends.
const MOST: usize = 128;
/// Until the head of a request is there, from the moment that one is waited for: also an idle connection
/// ends then.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The head of a request at most, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// Who takes nothing of an answer for so long is cut off.
const STUCK: Duration = Duration::from_mins(2);
/// Not every turned-away connection is worth a line.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Answers everybody who connects until `stopped`; gives back those who still are connected then.
pub(super) async fn answer(
    listener: &TcpListener,
    router: &Router,
    mut stopped: oneshot::Receiver<()>,
) -> GracefulShutdown {
    let places = Arc::new(Semaphore::new(MOST));
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES);
    let mut said = None;
    loop {
        let (stream, peer, place) = tokio::select! {
            next = next(listener, &places, &mut said) => next,
            // A handle that is gone means the same as one that says so.
            _ = &mut stopped => return connections,
        };
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // How strangers hang up is nobody's concern.
            if let Err(error) = connection.await {
                tracing::debug!("http: {peer}: {error}");
            }
            drop(place);
        });
    }
}

/// The next who connects, once there is a place.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    said: &mut Option<Instant>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        if places.available_permits() == 0 && said.is_none_or(|at| at.elapsed() > SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                "http: {MOST} connections are open, which is all that may be; others wait until one ends"
            );
        }
        let place = Arc::clone(places).acquire_owned().await;
        let Ok(place) = place else {
            // Nobody closes them.
            continue;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                prepare(&stream);
                return (stream, peer, place);
            }
            // Somebody who hung up before.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                // As when there are no more files to be had: that passes.
                tracing::warn!("http: taking a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) {
    let limit = u32::try_from(STUCK.as_millis()).unwrap_or(u32::MAX);
    let set = stream.set_nodelay(true).and_then(|()| {
        // Also for a peer that answers and takes nothing (tcp(7), TCP_USER_TIMEOUT).
        Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, limit)?)
    });
    if let Err(error) = set {
        tracing::debug!("http: preparing a connection: {error}");
    }
}
