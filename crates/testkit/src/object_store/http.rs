//! One request of HTTP, as bytes.

use object_store::client::HttpRequest;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A request without signature.
pub(crate) fn request(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<HttpRequest, Failed> {
    let uri = format!("http://127.0.0.1:{port}{target}");
    let mut request = ::http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.body(body.to_vec().into())?)
}

/// Sends it; the status and the body of the answer.
pub(crate) fn send(request: &HttpRequest) -> Result<(u16, String), Failed> {
    let mut stream = sent(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Sends it; what its answer comes from.
pub(crate) fn sent(request: &HttpRequest) -> Result<TcpStream, Failed> {
    let uri = request.uri();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().ok_or("no host")?.as_str();
    let body = request.body().as_bytes().ok_or("no body")?;
    let mut head = format!("{} {target} HTTP/1.1\r\nhost: {host}\r\n", request.method());
    for (name, value) in request.headers() {
        let _ = write!(head, "{name}: {}\r\n", value.to_str()?);
    }
    if !request.headers().contains_key("content-length") {
        let _ = write!(head, "content-length: {}\r\n", body.len());
    }
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    stream.write_all(body)?;
    Ok(stream)
}

/// A message as it came: its lines up to the empty one, and its body where its length is said.
pub(crate) struct Message {
    pub(crate) lines: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Reads one; of an answer without a length all that comes is its body. `None` at the end.
    pub(crate) fn read(stream: &TcpStream, is_answer: bool, is_bare: bool) -> Option<Self> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let mut message = Self {
            lines,
            body: Vec::new(),
        };
        let length = message
            .header("content-length")
            .and_then(|text| text.parse().ok());
        if is_bare {
            return Some(message);
        }
        match length {
            Some(length) => {
                message.body.resize(length, 0);
                stream.read_exact(&mut message.body).ok()?;
            }
            None if is_answer => {
                stream.read_to_end(&mut message.body).ok()?;
            }
            None => {}
        }
        Some(message)
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Replaces a header.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.lines.push(format!("{name}: {value}"));
    }

    /// Takes a header out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.lines.retain(|line| {
            let known = line.split_once(':').map_or("", |(known, _)| known);
            !known.eq_ignore_ascii_case(name)
        });
    }

    /// Its lines as they are sent.
    pub(crate) fn head(&self) -> Vec<u8> {
        format!("{}\r\n\r\n", self.lines.join("\r\n")).into_bytes()
    }
}
