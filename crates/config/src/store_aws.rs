//! The settings of an S3 store that are no part of its URL: the variables and profiles of AWS.

use super::aws_profile::Profile;
use super::environment::Environment;
use super::problem::Problem;
use super::store_proxy::proxy_for;
use hubvault_store::{Bucket, Credentials, ObjectOptions};
use secrecy::SecretString;
use std::path::PathBuf;

const REGION: &[&str] = &["AWS_REGION", "AWS_DEFAULT_REGION"];
/// What a container or a pod is given.
const CONTAINER: &[&str] = &[
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];
/// Where the machine's role is asked for, if not where Amazon has it.
const MACHINE: &[&str] = &["AWS_EC2_METADATA_SERVICE_ENDPOINT"];
const POD: &[&str] = &[
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
];

/// How a bucket is opened.
pub(crate) fn aws_options(
    environment: &Environment,
    bucket: &Bucket,
) -> Result<ObjectOptions, Problem> {
    let key = key(environment)?;
    let is_set = |variable: &&str| environment.text(variable).is_some();
    // What is needed is given, so that nothing has to come from a profile.
    let is_complete = key.is_some() && REGION.iter().any(is_set);
    let profile = Profile::chosen(environment, !is_complete)?;
    let setting = |variables: &[&str], name: &str| -> Result<Option<String>, Problem> {
        for variable in variables {
            if let Some((text, _)) = environment.setting(variable)? {
                return Ok(Some(text));
            }
        }
        Ok(profile.text(name).map(str::to_owned))
    };
    let endpoint = setting(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"], "endpoint_url")?;
    if let Some(endpoint) = &endpoint {
        check_endpoint(endpoint)?;
    }
    let region = setting(REGION, "region")?;
    let ca_file = setting(&["AWS_CA_BUNDLE"], "ca_bundle")?;
    let server = endpoint.clone().unwrap_or_else(|| {
        let region = region.as_deref().unwrap_or("us-east-1");
        format!("https://{}.s3.{region}.amazonaws.com", bucket.name)
    });
    Ok(ObjectOptions {
        // Other servers seldom have a name for each bucket.
        path_style: !server.contains(".amazonaws.com"),
        proxy: proxy_for(environment, &server),
        credentials: credentials(environment, key, &profile)?,
        ca_file: ca_file.map(PathBuf::from),
        endpoint,
        region,
        ..ObjectOptions::default()
    })
}

fn check_endpoint(endpoint: &str) -> Result<(), Problem> {
    let wrong = |what| Err(Problem::new("AWS_ENDPOINT_URL", "", what));
    match endpoint.split_once("://") {
        Some(("http" | "https", rest)) if rest.contains('@') => {
            wrong("credentials are settings of their own and never part of the URL")
        }
        Some(("http" | "https", rest)) if !rest.is_empty() => Ok(()),
        _ => wrong("expected a URL such as https://s3.example.com:9000"),
    }
}

/// In the order of the tools of AWS: a key, the identity of a pod, the profile's, the identity of a container. Without
/// any of them, the machine's.
fn credentials(
    environment: &Environment,
    key: Option<Credentials>,
    profile: &Profile,
) -> Result<Option<Credentials>, Problem> {
    if key.is_some() {
        return Ok(key);
    }
    if let Some(pod) = given(environment, POD, &["AWS_WEB_IDENTITY_TOKEN_FILE"]) {
        return Ok(Some(pod));
    }
    if let Some(id) = profile.text("aws_access_key_id") {
        let secret = profile.text("aws_secret_access_key").ok_or_else(|| {
            let what = "it has aws_access_key_id without aws_secret_access_key";
            Problem::new("AWS profile", "", what)
        })?;
        return Ok(Some(Credentials::Key {
            id: id.to_owned(),
            secret: SecretString::from(secret),
            token: profile.text("aws_session_token").map(SecretString::from),
        }));
    }
    if let (Some(file), Some(role)) = (
        profile.text("web_identity_token_file"),
        profile.text("role_arn"),
    ) {
        let session = profile.text("role_session_name");
        let mut given = vec![
            ("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), file.to_owned()),
            ("AWS_ROLE_ARN".to_owned(), role.to_owned()),
        ];
        given.extend(session.map(|name| ("AWS_ROLE_SESSION_NAME".to_owned(), name.to_owned())));
        return Ok(Some(Credentials::AwsIdentity(given)));
    }
    profile.refuse_elsewhere()?;
    let is_set = |name: &str| environment.text(name).is_some();
    if is_set(CONTAINER[1]) && !is_set(CONTAINER[0]) && !is_set(CONTAINER[2]) {
        let what = format!(
            "set {}, too: credentials are asked for with a token alone",
            CONTAINER[2]
        );
        return Err(Problem::new(format!("variable {}", CONTAINER[1]), "", what));
    }
    let container = given(environment, CONTAINER, &CONTAINER[..2]);
    Ok(container.or_else(|| given(environment, MACHINE, MACHINE)))
}

fn key(environment: &Environment) -> Result<Option<Credentials>, Problem> {
    let id = environment.setting("AWS_ACCESS_KEY_ID")?;
    let secret = environment.setting("AWS_SECRET_ACCESS_KEY")?;
    match (id, secret) {
        (None, None) => Ok(None),
        (Some((id, _)), Some((secret, _))) => Ok(Some(Credentials::Key {
            id,
            secret: SecretString::from(secret),
            token: (environment.setting("AWS_SESSION_TOKEN")?)
                .map(|(token, _)| SecretString::from(token)),
        })),
        (Some((_, origin)), None) => {
            Err(Problem::new(origin, "", "set AWS_SECRET_ACCESS_KEY, too"))
        }
        (None, Some((_, origin))) => Err(Problem::new(origin, "", "set AWS_ACCESS_KEY_ID, too")),
    }
}

/// What is set of these variables, if one of `needed` is.
fn given(environment: &Environment, names: &[&str], needed: &[&str]) -> Option<Credentials> {
    let is_set = |name: &&str| environment.text(name).is_some();
    needed.iter().any(is_set).then(|| {
        let pair = |name: &&str| Some(((*name).to_owned(), environment.text(name)?.to_owned()));
        Credentials::AwsIdentity(names.iter().filter_map(pair).collect())
    })
}
