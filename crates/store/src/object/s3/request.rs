//! One signed request.

use super::super::backend::{Content, Piece};
use super::super::cause::{chain, plain};
use super::super::client::{ENDLESS, LONGEST};
use super::super::failure::{self, Answer, Failure};
use super::S3;
use super::answers::{ErrorAnswer, Named, read};
use crate::error::ErrorKind;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use hubvault_model::excerpt;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpResponse, HttpResponseBody};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// The SHA-256 of nothing.
const NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];
/// The slowest link that is no stall: bytes a second.
const SLOWEST: u64 = 64 << 10;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Empty: the bucket itself.
    pub(crate) key: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Piece,
}

impl<'a> Ask<'a> {
    /// A request without a body.
    pub(crate) fn new(method: Method, key: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        let body = Piece {
            bytes: Bytes::new(),
            sha256: NOTHING,
        };
        Self {
            method,
            key,
            query,
            headers: Vec::new(),
            body,
        }
    }

    /// The same with these headers, too.
    pub(crate) fn with(
        mut self,
        headers: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        self.headers.extend(headers);
        self
    }

    /// The same with a body.
    pub(crate) fn body(mut self, body: Piece) -> Self {
        self.body = body;
        self
    }
}

impl S3 {
    /// Sends a request; what is no success is a failure.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Answer<HttpResponse> {
        let answer = self.send(&ask).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let region = header(answer.headers(), "x-amz-bucket-region").unwrap_or_default();
        if self.place.learn(&region) {
            let again = self.send(&ask).await?;
            if again.status().is_success() {
                return Ok(again);
            }
            return Err(self.failure(again).await);
        }
        Err(self.failure(answer).await)
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn answer<T: Named>(&self, ask: Ask<'_>) -> Answer<T> {
        let body = self.ask(ask).await?.into_body();
        let text = self.text(body).await?;
        read(&text)
    }

    async fn send(&self, ask: &Ask<'_>) -> Answer<HttpResponse> {
        let request = self.request(ask).await?;
        let limit = self.patience + Duration::from_secs(ask.body.bytes.len() as u64 / SLOWEST);
        match timeout(limit, self.client.execute(request)).await {
            Ok(answered) => answered.map_err(|error| Failure::unanswered(&error)),
            Err(_) => Err(Failure::stalled(limit)),
        }
    }

    async fn request(&self, ask: &Ask<'_>) -> Answer<HttpRequest> {
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(self.place.uri(ask.key, ask.query));
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let invalid = |error: http::Error| Failure::new(ErrorKind::Failed, error.to_string());
        let body = ask.body.bytes.clone();
        let mut request: HttpRequest = request.body(body.into()).map_err(invalid)?;
        if let Some(credentials) = &self.credentials {
            let credential = timeout(self.patience, credentials.get_credential()).await;
            let credential = credential
                .map_err(|_| Failure::stalled(self.patience).because("who gives out credentials"))?
                .map_err(|error| self.no_credentials(&error))?;
            self.had_credentials.store(true, Ordering::Relaxed);
            AwsAuthorizer::new(&credential, "s3", &self.place.region())
                .try_authorize(&mut request, Some(&ask.body.sha256))
                .map_err(|error| self.no_credentials(&error))?;
        }
        Ok(request)
    }

    fn no_credentials(&self, error: &object_store::Error) -> Failure {
        let text = plain(&chain(error));
        let why = excerpt(&text, failure::LONGEST);
        if self.had_credentials.load(Ordering::Relaxed) {
            let text = format!("the credentials could not be renewed: {why}");
            return Failure::new(ErrorKind::Unavailable, text);
        }
        let text = if text.contains("/latest/") {
            let said = text.rsplit(": ").next().unwrap_or(&text);
            let why = excerpt(said, failure::LONGEST);
            format!(
                "no credentials are set, and this machine has no role (its metadata service: {why}); set access_key \
                 and secret_key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the machine a role"
            )
        } else {
            format!("no credentials: {why}; set those of the store")
        };
        Failure::new(ErrorKind::Denied, text)
    }

    /// The failure that an answer is.
    async fn failure(&self, answer: HttpResponse) -> Failure {
        let status = answer.status();
        let region = header(answer.headers(), "x-amz-bucket-region");
        let text = self.text(answer.into_body()).await.unwrap_or_default();
        let mut failure = failure_of(status, &text);
        if let Some(region) = region
            && (status == StatusCode::BAD_REQUEST || status.is_redirection())
        {
            failure.kind = ErrorKind::Denied;
            failure.text = format!("the bucket is in the region {region}; set that");
        }
        failure
    }

    /// A short answer, which is to be there in twice the patience however it comes.
    pub(crate) async fn text(&self, body: HttpResponseBody) -> Answer<String> {
        let limit = self.patience * 2;
        let stalled = |_| Err(Failure::stalled(limit));
        let whole = timeout(limit, self.whole_text(body)).await;
        whole.unwrap_or_else(stalled)
    }

    async fn whole_text(&self, body: HttpResponseBody) -> Answer<String> {
        let mut content = self.content(body);
        let mut bytes = Vec::new();
        while let Some(more) = content.next().await {
            bytes.extend_from_slice(&more?);
            if bytes.len() > LONGEST {
                return Err(Failure::new(ErrorKind::Failed, ENDLESS));
            }
        }
        String::from_utf8(bytes)
            .map_err(|_| Failure::new(ErrorKind::Failed, "the store's answer is no text"))
    }

    /// An answer's body as it comes, each piece of it in time.
    pub(crate) fn content(&self, body: HttpResponseBody) -> Content {
        let patience = self.patience;
        let stream = body.bytes_stream();
        futures_util::stream::unfold(Some(stream), move |stream| async move {
            let mut stream = stream?;
            match timeout(patience, stream.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(stream))),
                Ok(Some(Err(error))) => Some((Err(Failure::cut(&error)), None)),
                Err(_) => Some((Err(Failure::stalled(patience)), None)),
            }
        })
        .boxed()
    }
}

/// The failure that an answer of this status and text is.
pub(crate) fn failure_of(status: StatusCode, text: &str) -> Failure {
    let error: ErrorAnswer = quick_xml::de::from_str(text).unwrap_or_default();
    Failure::answered(status.as_u16(), &error.code, &error.message)
}

/// A header's value.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}
