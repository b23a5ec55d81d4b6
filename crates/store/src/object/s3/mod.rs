//! Amazon's S3 and whoever speaks like it.
//!
//! Requests are our own, over the signer, the credentials and the HTTP client of `object_store`, whose own S3 client has
//! no object lock, no checksum of a finished upload, no list of unfinished ones and no conditions of several kinds.

mod answers;
mod place;
mod request;
mod objects;
mod uploads;

use super::cause::chain;
use super::client::{Counters, connector};
use super::failure::Failure;
use super::waiting::prepare;
use crate::error::ErrorKind;
use crate::location::Bucket;
use crate::options::{Credentials, Encryption, Lock, LockMode, ObjectOptions, Options};
use jiff::{SignedDuration, Timestamp};
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector};
use place::Place;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A bucket.
#[derive(Debug)]
pub(crate) struct S3 {
    client: HttpClient,
    counters: Arc<Counters>,
    /// `None`: nobody.
    credentials: Option<AwsCredentialProvider>,
    /// Whether there were any: then those that are missing now may come.
    had_credentials: AtomicBool,
    place: Place,
    /// Headers of what begins an object.
    creating: Vec<(&'static str, String)>,
    lock: Option<Lock>,
    patience: Duration,
}

impl S3 {
    /// Opens it; nothing is asked yet.
    pub(crate) fn open(bucket: &Bucket, options: &Options) -> Result<Self, Failure> {
        prepare();
        let object = &options.object;
        let place = Place::new(&bucket.name, object)?;
        let (connect, mut connector) = connector(object)?;
        if let Some(Credentials::AwsIdentity(variables)) = &object.credentials {
            let mut issuers = variables
                .iter()
                .filter(|(name, _)| ISSUERS.contains(&&**name));
            if let Some((_, address)) = issuers.next() {
                connector = connector.with_issuer(address);
            }
        }
        let failed = |error: object_store::Error| Failure::new(ErrorKind::Failed, chain(&error));
        let client = connector.connect(&connect).map_err(failed)?;
        let credentials = if object.anonymous {
            None
        } else {
            let builder = AmazonS3Builder::new()
                .with_bucket_name(&bucket.name)
                .with_region(place.region())
                .with_client_options(connect)
                .with_retry(few())
                .with_http_connector(connector.clone().that_reads_answers());
            let built = with_credentials(builder, object.credentials.as_ref())?.build();
            Some(Arc::clone(built.map_err(failed)?.credentials()))
        };
        Ok(Self {
            client,
            counters: connector.counters,
            credentials,
            had_credentials: AtomicBool::new(false),
            place,
            creating: creating(object),
            lock: options.lock,
            patience: object.patience(),
        })
    }

    /// The headers that lock what is stored from now on.
    fn locking(&self) -> Vec<(&'static str, String)> {
        let Some(lock) = self.lock else {
            return Vec::new();
        };
        let mode = match lock.mode {
            LockMode::Governance => "GOVERNANCE",
            LockMode::Compliance => "COMPLIANCE",
        };
        let until = Timestamp::now() + SignedDuration::from_hours(24 * i64::from(lock.days));
        vec![
            ("x-amz-object-lock-mode", mode.into()),
            (
                "x-amz-object-lock-retain-until-date",
                until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ),
        ]
    }
}

/// Where the machine's own metadata is, if not where Amazon has it.
const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// Variables with addresses where credentials are given out.
const ISSUERS: &[&str] = &[METADATA, "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

/// How often whoever gives out credentials is asked again: most machines have no such service.
fn few() -> RetryConfig {
    RetryConfig {
        max_retries: 2,
        retry_timeout: Duration::from_secs(5),
        ..RetryConfig::default()
    }
}

fn with_credentials(
    builder: AmazonS3Builder,
    credentials: Option<&Credentials>,
) -> Result<AmazonS3Builder, Failure> {
    match credentials {
        None => Ok(builder),
        Some(Credentials::Key { id, secret, token }) => {
            let builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret.expose_secret());
            Ok(match token {
                Some(token) => builder.with_token(token.expose_secret()),
                None => builder,
            })
        }
        Some(Credentials::AwsIdentity(variables)) => {
            let known = variables.iter().filter_map(|(name, value)| {
                if name == METADATA {
                    let address = value.trim_end_matches('/');
                    return Some((AmazonS3ConfigKey::MetadataEndpoint, address));
                }
                let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().ok()?;
                Some((key, value))
            });
            Ok(known.fold(builder, |builder, (key, value)| {
                builder.with_config(key, value)
            }))
        }
        Some(_) => Err(Failure::new(
            ErrorKind::Failed,
            "these credentials are not those of an S3 store; give a key and its secret",
        )),
    }
}

fn creating(options: &ObjectOptions) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some(class) = &options.storage_class {
        headers.push(("x-amz-storage-class", class.clone()));
    }
    let method = objects::ENCRYPTION;
    match &options.encryption {
        None => {}
        Some(Encryption::StoreKey) => headers.push((method, "AES256".into())),
        Some(Encryption::KeyService(key)) => {
            headers.push((method, "aws:kms".into()));
            if let Some(key) = key {
                headers.push(("x-amz-server-side-encryption-aws-kms-key-id", key.clone()));
            }
        }
    }
    headers
}
