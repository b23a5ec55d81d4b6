//! The settings of Azure's store that are no part of its URL.

use super::environment::Environment;
use super::problem::Problem;
use super::store_proxy::proxy_for;
use hubvault_store::{Credentials, ObjectOptions};
use secrecy::SecretString;

const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";

/// How a container is opened.
pub(crate) fn azure_options(environment: &Environment) -> Result<ObjectOptions, Problem> {
    let text = |name: &str| -> Result<Option<String>, Problem> {
        Ok(environment.setting(name)?.map(|(text, _)| text))
    };
    let connection = text(CONNECTION)?.unwrap_or_default();
    let part = |name: &str| {
        let mut parts = connection
            .split(';')
            .filter_map(|part| part.split_once('='));
        parts
            .find(|(known, value)| known.trim().eq_ignore_ascii_case(name) && !value.is_empty())
            .map(|(_, value)| value.trim().to_owned())
    };
    let or_part = |name: &str, of: &str| Ok::<_, Problem>(text(name)?.or_else(|| part(of)));
    let account = or_part("AZURE_STORAGE_ACCOUNT", "AccountName")?;
    let key = or_part("AZURE_STORAGE_KEY", "AccountKey")?;
    let sas = or_part("AZURE_STORAGE_SAS_TOKEN", "SharedAccessSignature")?;
    let endpoint = or_part("AZURE_STORAGE_SERVICE_ENDPOINT", "BlobEndpoint")?.or_else(|| {
        let suffix = part("EndpointSuffix").filter(|suffix| suffix != "core.windows.net")?;
        Some(format!("https://{}.blob.{suffix}", account.as_deref()?))
    });
    let server = endpoint.clone().unwrap_or_else(|| {
        let account = account.as_deref().unwrap_or_default();
        format!("https://{account}.blob.core.windows.net")
    });
    let credentials = match (key, sas) {
        (Some(key), _) => Some(Credentials::AzureKey(SecretString::from(key))),
        (None, Some(sas)) => {
            let sas = sas.trim_start_matches('?').to_owned();
            Some(Credentials::AzureSas(SecretString::from(sas)))
        }
        (None, None) => application(environment)?,
    };
    Ok(ObjectOptions {
        proxy: proxy_for(environment, &server),
        endpoint,
        account,
        credentials,
        ..ObjectOptions::default()
    })
}

/// An application with a secret; without the secret, the machine's identity.
fn application(environment: &Environment) -> Result<Option<Credentials>, Problem> {
    let Some((secret, origin)) = environment.setting("AZURE_CLIENT_SECRET")? else {
        return Ok(None);
    };
    let needed = |name: &str| {
        let text = environment.text(name).map(str::to_owned);
        text.ok_or_else(|| Problem::new(&origin, "", format!("set {name}, too")))
    };
    Ok(Some(Credentials::AzureClient {
        tenant: needed("AZURE_TENANT_ID")?,
        client: needed("AZURE_CLIENT_ID")?,
        secret: SecretString::from(secret),
    }))
}
