//! A server of HTTP that answers whatever a test wants: a store that is broken, or hostile.

use super::http::Message;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Writes the answer to a request, such as `GET /bucket?list-type=2`, of which so many came before.
type Script = dyn Fn(&str, usize, &mut TcpStream) + Send + Sync;

#[derive(Default)]
struct Inner {
    asked: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// The server, one request a connection; it ends when dropped.
pub struct ScriptedServer {
    port: u16,
    inner: Arc<Inner>,
}

impl ScriptedServer {
    /// Starts one on loopback.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(script: impl Fn(&str, usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("server: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let (inner, script): (_, Arc<Script>) = (Arc::new(Inner::default()), Arc::new(script));
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (inner, script) = (Arc::clone(&shared), Arc::clone(&script));
                thread::spawn(move || inner.answer(client, &*script));
            }
        });
        Self { port, inner }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.inner.asked).clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn answer(&self, mut client: TcpStream, script: &Script) -> Option<()> {
        let request = Message::read(&client, false, false)?;
        let first = request.lines.first()?;
        let asked = first.strip_suffix(" HTTP/1.1").unwrap_or(first);
        let before = {
            let mut all = lock(&self.asked);
            all.push(asked.to_owned());
            all.len() - 1
        };
        script(asked, before, &mut client);
        Some(())
    }
}

/// Writes an answer with these headers; whether the client took it.
pub fn answer(client: &mut TcpStream, status: u16, headers: &str, body: &str) -> bool {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).is_ok() && client.write_all(body.as_bytes()).is_ok()
}

/// Writes an answer whose body begins so and does not end, up to so many bytes; how many the client took.
pub fn answer_without_end(client: &mut TcpStream, status: u16, begin: &str, most: usize) -> usize {
    let head = format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\n\r\n{begin}");
    let more = vec![b'a'; 1 << 16];
    let mut taken = 0;
    if client.write_all(head.as_bytes()).is_err() {
        return 0;
    }
    while taken < most && client.write_all(&more).is_ok() {
        taken += more.len();
    }
    taken
}
