//! A receiver of HTTP on loopback that records requests and sends prepared answers.

use crate::certificates::Certificates;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tempfile::TempDir;

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With this status and no body.
    Status(u16),
    /// With 307 and this location.
    Redirect(String),
    /// With 200 and a body that does not end.
    Endless,
    /// With a closed connection.
    Cut,
    /// Not at all; the connection stays open as long as the sink.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// The value of a header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The receiver; closed when dropped.
pub struct HttpSink {
    /// Its port on loopback.
    pub port: u16,
    /// The authority that its certificate can be checked with; only of one with TLS.
    pub ca_file: Option<PathBuf>,
    inner: Arc<Inner>,
    _directory: TempDir,
}

struct Inner {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<HttpRequest>>,
    held: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

impl HttpSink {
    /// Starts one in the clear; after these answers it says 200 to everything.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::listen(answers.into_iter().collect(), false)
    }

    /// Starts one with TLS and a certificate for `localhost`.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start_tls(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::listen(answers.into_iter().collect(), true)
    }

    fn listen(answers: VecDeque<Answer>, encrypted: bool) -> Self {
        let directory = TempDir::with_prefix("hv-http-").unwrap_or_else(|e| panic!("{e}"));
        let certificates = encrypted.then(|| Certificates::make(directory.path(), "localhost"));
        let config = certificates.as_ref().map(|made| {
            server_config(made).unwrap_or_else(|e| panic!("TLS for the receiver: {e}"))
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("sink: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let inner = Arc::new(Inner {
            answers: Mutex::new(answers),
            requests: Mutex::default(),
            held: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (inner, config) = (Arc::clone(&shared), config.clone());
                // A client that goes away meanwhile is no concern of the receiver.
                thread::spawn(move || inner.serve(client, config));
            }
        });
        Self {
            port,
            ca_file: certificates.map(|made| made.authority),
            inner,
            _directory: directory,
        }
    }

    /// What came so far, in order.
    pub fn requests(&self) -> Vec<HttpRequest> {
        lock(&self.inner.requests).clone()
    }

    /// `http://127.0.0.1:<port><path>`, or `https://localhost:...`.
    pub fn url(&self, path: &str) -> String {
        let base = match self.ca_file {
            Some(_) => "https://localhost",
            None => "http://127.0.0.1",
        };
        format!("{base}:{}{path}", self.port)
    }
}

impl Drop for HttpSink {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        lock(&self.inner.held).clear();
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Inner {
    fn serve(&self, client: TcpStream, config: Option<Arc<ServerConfig>>) -> std::io::Result<()> {
        let held = client.try_clone()?;
        match config {
            None => self.answer(client, held),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
                self.answer(StreamOwned::new(session, client), held)
            }
        }
    }

    fn answer(&self, stream: impl Read + Write, held: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let request = read_request(&mut stream)?;
        lock(&self.requests).push(request);
        let answer = lock(&self.answers).pop_front();
        let stream = stream.get_mut();
        let start = match answer.unwrap_or(Answer::Status(200)) {
            Answer::Status(status) => format!("HTTP/1.1 {status} .\r\nContent-Length: 0\r\n"),
            Answer::Redirect(to) => {
                format!("HTTP/1.1 307 .\r\nContent-Length: 0\r\nLocation: {to}\r\n")
            }
            Answer::Endless => {
                stream.write_all(b"HTTP/1.1 200 .\r\n\r\n")?;
                while !self.stop.load(Ordering::Relaxed) {
                    stream.write_all(&[b'x'; 4096])?;
                }
                return Ok(());
            }
            Answer::Cut => return held.shutdown(std::net::Shutdown::Both),
            Answer::Silence => {
                lock(&self.held).push(held);
                return Ok(());
            }
        };
        stream.write_all(format!("{start}Connection: close\r\n\r\n").as_bytes())?;
        stream.flush()
    }
}

fn read_request(stream: &mut impl BufRead) -> std::io::Result<HttpRequest> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = HttpRequest {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length");
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    stream.read_exact(&mut request.body)?;
    Ok(request)
}

fn server_config(made: &Certificates) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter(&made.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&made.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
