//! A proxy before a server of HTTP, of which chosen requests fail.

use super::http::Message;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How a request fails.
#[derive(Clone, Debug)]
pub enum HttpFault {
    /// The server does not get it; this status and code are the answer.
    Refused(u16, &'static str),
    /// The server does not get it; the answer says that the bucket is in this region.
    OtherRegion(&'static str),
    /// The server does it; this status and code are the answer.
    DoneBut(u16, &'static str),
    /// The server does not get it; the connection ends.
    Cut,
    /// The server does it; the connection ends without an answer.
    AnswerLost,
    /// The connection ends after so many bytes of the answer's body.
    CutAfter(usize),
    /// Nothing comes as long as the proxy is there.
    Silence,
    /// So many bytes of the answer's body come, then nothing.
    SilenceAfter(usize),
    /// The answer's body comes a byte at a time, after so long each.
    Trickle(Duration),
    /// The answer has these headers instead.
    Headers(Vec<(&'static str, String)>),
    /// The answer's body, and its length with it, ends after so many bytes.
    Shorter(usize),
}

struct Rule {
    method: &'static str,
    part: String,
    times: usize,
    fault: HttpFault,
}

#[derive(Default)]
struct Inner {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
    held: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
    is_google: bool,
}

/// The proxy; it ends when dropped.
pub struct HttpFaults {
    port: u16,
    inner: Arc<Inner>,
}

impl HttpFaults {
    /// Starts one before a server on loopback.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(server: u16) -> Self {
        Self::listen(server, false)
    }

    /// Starts one that makes of Google's requests those of S3, before a server that has a bucket for everyone: they
    /// differ in who asks and in how a condition is written.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start_for_google(server: u16) -> Self {
        Self::listen(server, true)
    }

    fn listen(server: u16, is_google: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("proxy: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let inner = Arc::new(Inner {
            is_google,
            ..Inner::default()
        });
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let inner = Arc::clone(&shared);
                // A client that goes away meanwhile is no concern of the proxy.
                thread::spawn(move || inner.pass(client, server));
            }
        });
        Self { port, inner }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next `times` requests of this method whose target has `part` in it fail.
    pub fn fail(&self, method: &'static str, part: &str, times: usize, fault: HttpFault) {
        lock(&self.inner.rules).push(Rule {
            method,
            part: part.to_owned(),
            times,
            fault,
        });
    }

    /// Every fault of `fail` that has not happened.
    pub fn left(&self) -> usize {
        lock(&self.inner.rules).iter().map(|rule| rule.times).sum()
    }

    /// What was asked so far: `PUT /bucket/key?partNumber=1`.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.inner.seen).clone()
    }
}

impl Drop for HttpFaults {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        lock(&self.inner.held).clear();
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn fault(&self, method: &str, target: &str) -> Option<HttpFault> {
        let mut rules = lock(&self.rules);
        let rule = rules
            .iter_mut()
            .find(|rule| rule.times > 0 && rule.method == method && target.contains(&rule.part))?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    /// One request a connection.
    fn pass(&self, mut client: TcpStream, server: u16) -> Option<()> {
        let mut request = Message::read(&client, false, false)?;
        let first = request.lines.first()?.clone();
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        lock(&self.seen).push(format!("{method} {target}"));
        let fault = self.fault(method, target);
        match &fault {
            Some(HttpFault::Refused(status, code)) => {
                return refuse(&mut client, *status, code, "");
            }
            Some(HttpFault::OtherRegion(region)) => {
                let header = format!("x-amz-bucket-region: {region}\r\n");
                return refuse(&mut client, 400, "AuthorizationHeaderMalformed", &header);
            }
            Some(HttpFault::Cut) => return Some(()),
            Some(HttpFault::Silence) => {
                lock(&self.held).push(client);
                return Some(());
            }
            _ => {}
        }
        request.set("Connection", "close");
        if self.is_google {
            request.remove("Authorization");
            if request.header("x-goog-if-generation-match") == Some("0") {
                request.set("If-None-Match", "*");
            }
        }
        let mut server = TcpStream::connect(("127.0.0.1", server)).ok()?;
        server.write_all(&request.head()).ok()?;
        server.write_all(&request.body).ok()?;
        let mut answer = Message::read(&server, true, method == "HEAD")?;
        let mut sent = answer.body.len();
        match fault {
            Some(HttpFault::DoneBut(status, code)) => return refuse(&mut client, status, code, ""),
            Some(HttpFault::AnswerLost) => return Some(()),
            Some(HttpFault::CutAfter(bytes) | HttpFault::SilenceAfter(bytes)) => sent = bytes,
            Some(HttpFault::Shorter(bytes)) => {
                answer.body.truncate(bytes);
                sent = answer.body.len();
                answer.set("Content-Length", &sent.to_string());
            }
            Some(HttpFault::Headers(ref headers)) => {
                for (name, value) in headers {
                    answer.set(name, value);
                }
            }
            _ => {}
        }
        client.write_all(&answer.head()).ok()?;
        if let Some(HttpFault::Trickle(pause)) = fault {
            for byte in answer.body.chunks(1) {
                client.write_all(byte).ok()?;
                thread::sleep(pause);
            }
            return Some(());
        }
        client.write_all(answer.body.get(..sent)?).ok()?;
        if let Some(HttpFault::SilenceAfter(_)) = fault {
            lock(&self.held).push(client);
        }
        Some(())
    }
}

fn refuse(client: &mut TcpStream, status: u16, code: &str, header: &str) -> Option<()> {
    let body = format!("<Error><Code>{code}</Code><Message>said by the proxy</Message></Error>");
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Fault\r\n{header}Content-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    client.write_all(answer.as_bytes()).ok()
}
