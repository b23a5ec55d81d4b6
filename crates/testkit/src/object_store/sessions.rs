//! What gives out temporary credentials, as Amazon documents it, and a way to an S3 server that takes no others.

use super::http::{Message, request, sent};
use super::s3::S3Server;
use jiff::{SignedDuration, Timestamp};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Credentials that were given out.
struct Session {
    id: String,
    ends: Instant,
}

struct Inner {
    port: u16,
    server: Arc<S3Server>,
    lasts: Duration,
    sessions: Mutex<Vec<Session>>,
    used: Mutex<Vec<String>>,
    has_role: AtomicBool,
    is_silent: AtomicBool,
    stop: AtomicBool,
}

/// The metadata service of a machine (version 2 alone), the credentials of a container and of a pod, the token service;
/// and before an [`S3Server`] of its own key whoever takes only what they gave out. It ends when dropped.
pub struct Sessions {
    inner: Arc<Inner>,
}

/// What a container or a pod shows of itself.
const TOKEN: &str = "the-token-of-a-pod";

impl Sessions {
    /// What a container or a pod shows of itself.
    pub const TOKEN: &'static str = TOKEN;

    /// Starts it; what is given out lasts for so long.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(server: Arc<S3Server>, lasts: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("sessions: {e}"));
        let inner = Arc::new(Inner {
            port: listener.local_addr().map_or(0, |address| address.port()),
            server,
            lasts,
            sessions: Mutex::default(),
            used: Mutex::default(),
            has_role: AtomicBool::new(true),
            is_silent: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let inner = Arc::clone(&shared);
                // A client that goes away meanwhile is no concern of the server.
                thread::spawn(move || inner.serve(client));
            }
        });
        Self { inner }
    }

    /// An address of it: `http://127.0.0.1:<port><path>`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.inner.port)
    }

    /// The machine has no role from now on.
    pub fn take_role(&self) {
        self.inner.has_role.store(false, Ordering::Relaxed);
    }

    /// Whoever asks for credentials gets no answer while this is so.
    pub fn set_silent(&self, is_silent: bool) {
        self.inner.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// The ids of the keys by which the store was asked, each once, in order.
    pub fn used(&self) -> Vec<String> {
        lock(&self.inner.used).clone()
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(("127.0.0.1", self.inner.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let asked = Message::read(&client, false, false)?;
        let first = asked.lines.first()?.clone();
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let is_store = asked
            .header("authorization")
            .is_some_and(|text| text.starts_with("AWS4-HMAC-SHA256"));
        let (status, body) = if is_store {
            return self.pass(&mut client, &asked, method, target);
        } else if self.is_silent.load(Ordering::Relaxed) {
            while self.is_silent.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            return None;
        } else {
            self.issue(&asked, method, target)
        };
        answer(&mut client, status, &body)
    }

    /// Who gives out credentials.
    fn issue(&self, asked: &Message, method: &str, target: &str) -> (u16, String) {
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        let has_role = self.has_role.load(Ordering::Relaxed);
        let is_known = asked.header("x-aws-ec2-metadata-token") == Some("metadata-token");
        let is_pod = asked.header("authorization") == Some(TOKEN);
        match (method, target) {
            ("PUT", "/latest/api/token") => {
                let lasts = asked.header("x-aws-ec2-metadata-token-ttl-seconds");
                match lasts.and_then(|text| text.parse::<u32>().ok()) {
                    Some(1..=21_600) => (200, "metadata-token".into()),
                    _ => (400, String::new()),
                }
            }
            ("GET", path) if path.starts_with(ROLES) && !is_known => (401, String::new()),
            ("GET", path) if path.starts_with(ROLES) && !has_role => (404, String::new()),
            ("GET", ROLES) => (200, "hub-role".into()),
            ("GET", path) if path.strip_prefix(ROLES) == Some("hub-role") => (200, self.json()),
            ("GET", "/container") if is_pod => (200, self.json()),
            ("POST", path) if is_of_pod(path) => (200, self.xml()),
            _ => (403, String::new()),
        }
    }

    /// The id, the key, the token and the end of new credentials.
    fn new_session(&self) -> (String, &'static str, String, String) {
        let mut sessions = lock(&self.sessions);
        let id = format!("TEMPORARY{}", sessions.len());
        let session = Session {
            id: id.clone(),
            ends: Instant::now() + self.lasts,
        };
        sessions.push(session);
        let token = format!("token-of-{id}");
        let end = Timestamp::now() + SignedDuration::try_from(self.lasts).unwrap_or_default();
        let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        (id, "temporary-hunter2", token, end)
    }

    fn json(&self) -> String {
        let (id, key, token, end) = self.new_session();
        serde_json::json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": key, "Token": token,
            "Expiration": end,
        })
        .to_string()
    }

    fn xml(&self) -> String {
        let (id, key, token, end) = self.new_session();
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>{token}</SessionToken>\
             <SecretAccessKey>{key}</SecretAccessKey><Expiration>{end}</Expiration><AccessKeyId>{id}</AccessKeyId>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
    }

    /// Passes a request of known credentials on to the store, signed by the owner.
    fn pass(
        &self,
        client: &mut TcpStream,
        asked: &Message,
        method: &str,
        target: &str,
    ) -> Option<()> {
        let by = asked.header("authorization")?;
        let (_, credential) = by.split_once("Credential=")?;
        let id = credential.split('/').next()?;
        let token = asked.header("x-amz-security-token").unwrap_or_default();
        if let Some(code) = self.refusal(id, token) {
            let body =
                format!("<Error><Code>{code}</Code><Message>said by a test</Message></Error>");
            return answer(client, 400, &body);
        }
        let mut used = lock(&self.used);
        if !used.iter().any(|known| known == id) {
            used.push(id.to_owned());
        }
        drop(used);
        let headers = asked
            .lines
            .iter()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let is_kept = |name: &str| {
            let name = name.to_ascii_lowercase();
            (name.starts_with("x-amz-") || ["range", "if-match", "if-none-match"].contains(&&*name))
                && !["x-amz-security-token", "x-amz-date", "x-amz-content-sha256"].contains(&&*name)
        };
        let headers: Vec<_> = headers.filter(|(name, _)| is_kept(name)).collect();
        let port = self.server.port();
        let mut request = request(port, method, target, &headers, &asked.body).ok()?;
        let owner = AwsCredential {
            key_id: S3Server::OWNER.id.into(),
            secret_key: S3Server::OWNER.secret.into(),
            token: None,
        };
        let signer = AwsAuthorizer::new(&owner, "s3", "us-east-1");
        signer.try_authorize(&mut request, None).ok()?;
        let stored = Message::read(&sent(&request).ok()?, true, method == "HEAD")?;
        client.write_all(&stored.head()).ok()?;
        client.write_all(&stored.body).ok()
    }

    fn refusal(&self, id: &str, token: &str) -> Option<&'static str> {
        let sessions = lock(&self.sessions);
        match sessions.iter().find(|session| session.id == id) {
            None => Some("InvalidAccessKeyId"),
            Some(_) if token != format!("token-of-{id}") => Some("InvalidToken"),
            Some(session) if session.ends <= Instant::now() => Some("ExpiredToken"),
            Some(_) => None,
        }
    }
}

fn is_of_pod(path: &str) -> bool {
    let needed = [
        "Action=AssumeRoleWithWebIdentity",
        "WebIdentityToken=the-token-of-a-pod",
        "RoleArn=arn",
        "Version=2011-06-15",
    ];
    path.starts_with("/?") && needed.iter().all(|part| path.contains(part))
}

fn answer(client: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} .\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    client.write_all(head.as_bytes()).ok()
}
