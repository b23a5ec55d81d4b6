//! How Google's and Azure's stores are opened.

use super::cause::chain;
use super::client::{Connector, connector};
use super::cloud::{Client, Cloud};
use super::failure::{Answer, Failure};
use super::waiting::prepare;
use crate::error::ErrorKind;
use crate::location::Bucket;
use crate::options::{Credentials, ObjectOptions, Options};
use object_store::RetryConfig;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use rustix::fs::{MemfdFlags, memfd_create};
use secrecy::ExposeSecret;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Opens a bucket of Google's.
pub(crate) fn google(bucket: &Bucket, options: &Options) -> Answer<Cloud> {
    let object = refuse_lock(
        options,
        "Google's store by objects; set a retention policy on the bucket and remove the setting lock",
    )?;
    let (client, connector) = connector(object)?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&bucket.name)
        .with_skip_signature(object.anonymous)
        .with_retry(once())
        .with_client_options(client)
        .with_http_connector(connector.clone().that_reads_answers());
    if let Some(endpoint) = &object.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    if object.anonymous {
        // The library asks for a token to write with in any case, and the machine's own where it has none.
        builder = builder.with_bearer_token("anonymous");
    }
    // The library reads a file; this one has no name, and is read once.
    let mut _file = None;
    match &object.credentials {
        None => {}
        Some(Credentials::GoogleJson(json)) => {
            let file = nameless(json.expose_secret()).map_err(|error| {
                Failure::new(
                    ErrorKind::Failed,
                    format!("keeping the credentials: {error}"),
                )
            })?;
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            builder = builder.with_application_credentials(path);
            _file = Some(file);
        }
        Some(_) => {
            return Err(wrong_credentials(
                "Google's store; give the JSON of a service account",
            ));
        }
    }
    let client = builder.build().map_err(|error| unopened(&error))?;
    Ok(cloud(Arc::new(client), connector, object, true))
}

/// Opens a container of Azure's.
pub(crate) fn azure(bucket: &Bucket, options: &Options) -> Answer<Cloud> {
    let object = refuse_lock(
        options,
        "Azure's store by objects; set an immutability policy on the container and remove the setting lock",
    )?;
    if object.storage_class.is_some() {
        let why = "Azure takes no access tier for what is sent in blocks; set it as the account's default, or by a rule";
        return Err(Failure::new(ErrorKind::Unsupported, why));
    }
    let (client, connector) = connector(object)?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(&bucket.name)
        .with_retry(once())
        .with_client_options(client)
        .with_skip_signature(object.anonymous)
        .with_http_connector(connector.clone().that_reads_answers());
    if let Some(account) = &object.account {
        builder = builder.with_account(account);
    }
    if let Some(endpoint) = &object.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    builder = match &object.credentials {
        None => builder,
        Some(Credentials::AzureKey(key)) => builder.with_access_key(key.expose_secret()),
        Some(Credentials::AzureSas(sas)) => {
            builder.with_config(AzureConfigKey::SasKey, sas.expose_secret())
        }
        Some(Credentials::AzureClient {
            tenant,
            client,
            secret,
        }) => builder.with_client_secret_authorization(client, secret.expose_secret(), tenant),
        Some(_) => {
            return Err(wrong_credentials(
                "Azure's store; give the account's key or a shared access signature",
            ));
        }
    };
    let client = builder.build().map_err(|error| unopened(&error))?;
    Ok(cloud(Arc::new(client), connector, object, false))
}

fn cloud(
    client: Arc<dyn Client>,
    connector: Connector,
    object: &ObjectOptions,
    has_generations: bool,
) -> Cloud {
    let patience = object.patience();
    Cloud::new(
        client,
        connector.counters,
        patience,
        has_generations,
        object.storage_class.as_ref(),
    )
}

fn refuse_lock<'a>(options: &'a Options, why: &str) -> Answer<&'a ObjectOptions> {
    prepare();
    if options.lock.is_some() {
        let text = format!("hubvault cannot lock in {why}");
        return Err(Failure::new(ErrorKind::Unsupported, text));
    }
    Ok(&options.object)
}

/// Requests are sent again by us.
fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

fn unopened(error: &object_store::Error) -> Failure {
    Failure::new(ErrorKind::Failed, chain(error))
}

fn wrong_credentials(whose: &str) -> Failure {
    Failure::new(
        ErrorKind::Failed,
        format!("these credentials are not those of {whose}"),
    )
}

fn nameless(content: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("credentials", MemfdFlags::CLOEXEC)?);
    file.write_all(content.as_bytes())?;
    Ok(file)
}
