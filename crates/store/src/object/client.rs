//! HTTP for the stores: one client whose requests are counted.

use super::cause::chain;
use super::failure::{Failure, NOT_A_STORE};
use crate::error::ErrorKind;
use crate::options::ObjectOptions;
use crate::usage::Requests;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderValue, Method, Uri};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy};
use secrecy::{ExposeSecret, SecretString};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// What was asked so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    writes: AtomicU64,
    reads: AtomicU64,
    deletes: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    has_answered: AtomicBool,
}

impl Counters {
    /// The sums.
    pub(crate) fn requests(&self) -> Requests {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            writes: load(&self.writes),
            reads: load(&self.reads),
            deletes: load(&self.deletes),
            bytes_sent: load(&self.sent),
            bytes_received: load(&self.received),
        }
    }

    /// So much content came.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether any answer came so far, be it a refusal.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    fn count(&self, request: &HttpRequest) {
        let counter = match *request.method() {
            Method::DELETE => &self.deletes,
            Method::HEAD => &self.reads,
            Method::GET if !lists(request) => &self.reads,
            _ => &self.writes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if *request.method() == Method::PUT {
            let bytes = request.body().content_length() as u64;
            self.sent.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

fn lists(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let lists = ["list-type=", "comp=list", "uploads"];
    lists.iter().any(|list| query.contains(list))
}

/// Makes clients that count, and that follow no redirect: a signature and a token are for nobody but the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// What its clients count.
    pub(crate) counters: Arc<Counters>,
    certificates: Vec<Certificate>,
    proxy: Option<SecretString>,
    /// Whether answers that are no object's content are read here, up to so much.
    reads_answers: bool,
    /// Who gives out credentials beside the machine, or to it, and is never asked by a proxy.
    beside: Option<String>,
    patience: Duration,
}

impl Connector {
    fn client(&self, timeout: Duration, proxy: Option<&SecretString>) -> reqwest::Result<Client> {
        let mut client = Client::builder()
            .user_agent(concat!("hubvault/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(Policy::none())
            .tls_certs_merge(self.certificates.iter().cloned())
            .connect_timeout(timeout.min(self.patience))
            // What is sent and not taken says earlier than a missing answer that the store is silent.
            .tcp_user_timeout(self.patience);
        client = match proxy {
            Some(proxy) => client.proxy(Proxy::all(proxy.expose_secret())?),
            // What the variables say of proxies was read before.
            None => client.no_proxy(),
        };
        client.build()
    }

    /// The same for who reads an answer whatever its length is.
    pub(crate) fn that_reads_answers(mut self) -> Self {
        self.reads_answers = true;
        self
    }

    /// The same with an address of the user's where credentials are given out, such as `http://127.0.0.1:81/role`.
    pub(crate) fn with_issuer(mut self, address: &str) -> Self {
        let uri: Option<Uri> = address.parse().ok();
        self.beside = uri.and_then(|uri| Some(uri.authority()?.to_string()));
        self
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let limit =
            |options: &ClientOptions| options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let usual = limit(&ClientOptions::new().with_connect_timeout(CONNECT));
        // The library wants less for the metadata of a machine, which most machines do not have.
        let limit = if limit(options) == usual {
            CONNECT
        } else {
            METADATA
        };
        let failed = |error| object_store::Error::Generic {
            store: "HTTP client",
            source: Box::new(error),
        };
        let proxy = self.proxy.as_ref();
        let client = HttpClient::new(self.client(limit, proxy).map_err(failed)?);
        let direct = match proxy {
            Some(_) => HttpClient::new(self.client(METADATA, None).map_err(failed)?),
            None => client.clone(),
        };
        Ok(HttpClient::new(Counted {
            client,
            direct,
            beside: self.beside.clone(),
            reads_answers: self.reads_answers,
            counters: Arc::clone(&self.counters),
        }))
    }
}

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The same of what runs beside the machine.
const METADATA: Duration = Duration::from_secs(1);
/// How long an answer of it may take. A container that may not ask gets none.
const METADATA_ANSWER: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Counted {
    client: HttpClient,
    /// By no proxy.
    direct: HttpClient,
    beside: Option<String>,
    reads_answers: bool,
    counters: Arc<Counters>,
}

impl Counted {
    /// Whether this is where a machine, a container or a pod is given credentials.
    fn is_beside(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default().trim_start_matches('[');
        BESIDE.iter().any(|beside| host.starts_with(beside))
            || self.beside.is_some() && uri.authority().map(ToString::to_string) == self.beside
    }
}

/// Where the providers' machines are given credentials: such addresses lead to no other machine.
const BESIDE: &[&str] = &["169.254.", "fd00:ec2:", "metadata."];
/// Who else gives out credentials, and bills nobody.
const ISSUERS: &[&str] = &["sts.", "oauth2.", "login."];

impl HttpService for Counted {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let is_beside = self.is_beside(request.uri());
        let host = request.uri().host().unwrap_or_default();
        if !is_beside && !ISSUERS.iter().any(|issuer| host.starts_with(issuer)) {
            self.counters.count(&request);
        }
        let counters = Arc::clone(&self.counters);
        let is_object = matches!(*request.method(), Method::GET | Method::HEAD) && !lists(&request);
        let reads_answers = self.reads_answers;
        Box::pin(async move {
            if is_beside {
                let silent = |_| {
                    let why = io::Error::new(io::ErrorKind::TimedOut, "no answer within 3 seconds");
                    Err(HttpError::new(HttpErrorKind::Timeout, why))
                };
                let answer = async {
                    let answer = self.direct.execute(request).await?;
                    if reads_answers {
                        whole(answer).await
                    } else {
                        Ok(answer)
                    }
                };
                let answer = timeout(METADATA_ANSWER, answer).await;
                return answer.unwrap_or_else(silent);
            }
            let answer = self.client.execute(request).await?;
            counters.has_answered.store(true, Ordering::Relaxed);
            if is_page(&answer, is_object) {
                return Err(HttpError::new(
                    HttpErrorKind::Decode,
                    io::Error::other(NOT_A_STORE),
                ));
            }
            if reads_answers && !(is_object && answer.status().is_success()) {
                return whole(answer).await;
            }
            Ok(answer)
        })
    }
}

/// The longest answer that is read whole, in bytes: a page of a list has a few thousand keys.
pub(crate) const LONGEST: usize = 8 << 20;
/// What is said of a longer one.
pub(crate) const ENDLESS: &str = "the store's answer does not end";

/// The same answer, read to its end.
async fn whole(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (head, body) = answer.into_parts();
    let mut content = body.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(more) = content.next().await {
        bytes.extend_from_slice(&more?);
        if bytes.len() > LONGEST {
            let why = io::Error::other(ENDLESS);
            return Err(HttpError::new(HttpErrorKind::Decode, why));
        }
    }
    Ok(HttpResponse::from_parts(head, bytes.into()))
}

/// Whether a success is the page of somebody in between. What people store may be a page, too, but has a tag.
fn is_page(answer: &HttpResponse, is_object: bool) -> bool {
    let headers = answer.headers();
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    answer.status().is_success()
        && kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"text/html"))
        && !(is_object && headers.contains_key(ETAG))
}

/// How a client connects, and by what.
pub(crate) fn connector(options: &ObjectOptions) -> Result<(ClientOptions, Connector), Failure> {
    let client = ClientOptions::new()
        .with_allow_http(is_plain(options))
        // Each request has a limit of its own, by its size.
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT);
    if let Some(proxy) = options.proxy.as_ref().map(ExposeSecret::expose_secret) {
        let is_http = !proxy.contains("://") || proxy.starts_with("http");
        if !is_http || Proxy::all(proxy).is_err() {
            let why =
                "the proxy is no address such as http://proxy:3128; correct proxy (or HTTPS_PROXY)";
            return Err(Failure::new(ErrorKind::Failed, why));
        }
    }
    let mut connector = Connector {
        counters: Arc::default(),
        certificates: Vec::new(),
        proxy: options.proxy.clone(),
        reads_answers: false,
        beside: None,
        patience: options.patience(),
    };
    if let Some(path) = &options.ca_file {
        let failed = |error: &(dyn Error + 'static)| {
            let (shown, why) = (path.display(), chain(error));
            let text = format!("reading the certificates in {shown}: {why}");
            Failure::new(ErrorKind::Failed, text)
        };
        let pem = std::fs::read(path).map_err(|error| failed(&error))?;
        connector.certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
    }
    Ok((client, connector))
}

fn is_plain(options: &ObjectOptions) -> bool {
    let endpoint = options.endpoint.as_deref().unwrap_or_default();
    endpoint.starts_with("http://")
}
