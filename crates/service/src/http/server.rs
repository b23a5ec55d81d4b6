//! The thread that serves HTTP.

use super::connections::answer;
use super::{App, auth, error, routes};
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// The time limit for the start of an answer; sending events and archives may take longer.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The time that answers have when the server stops; after that they are cut off.
const GRACE: Duration = Duration::from_millis(700);

/// The running server.
pub(crate) struct Handle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Stops it within a second: no new requests, and a moment for those in progress.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody hears it when the server ended before.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("http: its thread crashed");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Puts more routes around those of the API.
pub(crate) type Around = Box<dyn FnOnce(Arc<App>, Router) -> Router + Send>;

/// Listens at `address` (`8080`, `:8080`, `host:8080`) and serves from a thread of its own.
pub(crate) fn start(app: App, address: &str, around: Option<Around>) -> Result<Handle> {
    let listener = listen(address)?;
    let local = listener.local_addr().context("asking where it listens")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(8)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .context("starting the runtime of the HTTP server")?;
    let (stop, stopped) = oneshot::channel();
    let app = Arc::new(app);
    let thread = std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(serve(app, around, listener, stopped)) {
                tracing::error!("http: {error:#}");
            }
            // A handler that still reads a disk is not waited for.
            runtime.shutdown_timeout(Duration::from_millis(100));
        })
        .context("starting the thread of the HTTP server")?;
    tracing::info!("http: listening on http://{local}");
    if !local.ip().is_loopback() {
        tracing::warn!(
            "http: {local} can be reached from other machines, without TLS; put a proxy \
             with TLS before it (docs/http.md), or say HTTP_ADDR=127.0.0.1:{}",
            local.port()
        );
    }
    Ok(Handle {
        stop: Some(stop),
        thread: Some(thread),
    })
}

fn listen(address: &str) -> Result<TcpListener> {
    let addresses: Vec<SocketAddr> = address
        .to_socket_addrs()
        .with_context(|| {
            format!("looking up {address}, where HTTP_ADDR listens; 127.0.0.1 needs no look-up")
        })?
        .collect();
    let listener = TcpListener::bind(addresses.as_slice()).with_context(|| {
        format!(
            "listening on {address}; is something else there (ss -ltnp names it), or is the port \
             below 1024? HTTP_ADDR names another one"
        )
    })?;
    listener
        .set_nonblocking(true)
        .context("preparing the socket of the HTTP server")?;
    Ok(listener)
}

async fn serve(
    app: Arc<App>,
    around: Option<Around>,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let router = routes::router()
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            TIME_LIMIT,
        ))
        .layer(from_fn_with_state(Arc::clone(&app), auth::guard))
        .layer(from_fn(error::shape))
        .with_state(Arc::clone(&app));
    let router = match around {
        Some(around) => around(app, router),
        None => router,
    };
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let connections = answer(&listener, &router, stopped).await;
    // Nobody new.
    drop(listener);
    // What has not ended then is cut off.
    let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_said_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let said = listen(&address).unwrap_err().to_string();
        assert!(
            said.contains(&address) && said.contains("ss -ltnp"),
            "{said}"
        );
    }
}
