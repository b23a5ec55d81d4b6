//! How a store is opened whose URL is all that was said of it: by the variables and files that the tools of its provider
//! read, too.

use super::environment::Environment;
use super::problem::Problem;
use super::store_aws::aws_options;
use super::store_azure::azure_options;
use super::store_proxy::proxy_for;
use super::trusted_file::{existing, text_of};
use hubvault_engine::state::ownership::ReadOnlyMount;
use hubvault_store::{Credentials, Location, ObjectOptions, Options, SftpOptions};
use secrecy::SecretString;
use std::path::{Path, PathBuf};

/// How the store of a location is opened by what the environment says. What nothing is said of stays unset.
pub fn store_options(environment: &Environment, location: &Location) -> Result<Options, Problem> {
    let object = match location {
        Location::Directory(_) => ObjectOptions::default(),
        Location::S3(bucket) => aws_options(environment, bucket)?,
        Location::Gcs(_) => google_options(environment)?,
        Location::Azure(_) => azure_options(environment)?,
        Location::Sftp(_) => {
            let sftp = SftpOptions {
                agent: environment.text("SSH_AUTH_SOCK").map(PathBuf::from),
                home: environment.home(),
                ..SftpOptions::default()
            };
            return Ok(Options {
                sftp,
                ..Options::default()
            });
        }
    };
    Ok(Options {
        object,
        ..Options::default()
    })
}

fn google_options(environment: &Environment) -> Result<ObjectOptions, Problem> {
    // The variable that Google's own clients know for their emulators, which ask nobody who they are.
    let endpoint = environment.text("STORAGE_EMULATOR_HOST").map(|host| {
        if host.contains("://") {
            host.to_owned()
        } else {
            format!("http://{host}")
        }
    });
    let server = endpoint.as_deref();
    let server = server.unwrap_or("https://storage.googleapis.com");
    Ok(ObjectOptions {
        proxy: proxy_for(environment, server),
        credentials: google_key(environment)?,
        anonymous: endpoint.is_some(),
        endpoint,
        ..ObjectOptions::default()
    })
}

/// The file that is named, which must be there, or the one that `gcloud auth application-default login` writes.
fn google_key(environment: &Environment) -> Result<Option<Credentials>, Problem> {
    const NAMED: &str = "GOOGLE_APPLICATION_CREDENTIALS";
    let read = |path: &Path| text_of(path, ReadOnlyMount::Trusted);
    let json = |text: String| Some(Credentials::GoogleJson(SecretString::from(text)));
    let wrong = |path: &Path, origin: &str, error: std::io::Error| {
        Problem::new(origin, "", format!("reading {}: {error}", path.display()))
    };
    if let Some(path) = environment.text(NAMED).map(Path::new) {
        let text = read(path).map_err(|error| wrong(path, &format!("variable {NAMED}"), error))?;
        return Ok(json(text));
    }
    let of_home = || Some(environment.home()?.join(".config/gcloud"));
    let directory = environment.text("CLOUDSDK_CONFIG").map(PathBuf::from);
    let Some(directory) = directory.or_else(of_home) else {
        return Ok(None);
    };
    let path = directory.join("application_default_credentials.json");
    match existing(&path) {
        Ok(text) => Ok(text.and_then(json)),
        Err(error) => Err(wrong(&path, "credentials of gcloud", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn options(variables: &[(&str, &str)], url: &str) -> Result<ObjectOptions, String> {
        let location = Location::parse(url).unwrap();
        store_options(&Environment::of(variables), &location)
            .map(|options| options.object)
            .map_err(|problem| problem.to_string())
    }

    /// The id, the secret and the token.
    fn key(options: &ObjectOptions) -> (String, String, Option<String>) {
        let Some(Credentials::Key { id, secret, token }) = &options.credentials else {
            panic!("{options:?}");
        };
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        (id.clone(), text(secret), token.as_ref().map(text))
    }

    fn home(files: &[(&str, &str)]) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        home
    }

    const CONFIG: &str = "[default]\nregion = eu-west-1\n\n# work\n[profile work]\nregion=eu-central-1\n\
                          endpoint_url = https://s3.example:9000\ns3 =\n  addressing_style = virtual\n\
                          [profile sso]\nsso_session = x\n[services work]\nregion = wrong\n";
    const CREDENTIALS: &str = "[default]\naws_access_key_id = D\naws_secret_access_key = d/1=\n\
                               [work]\naws_access_key_id=W\naws_secret_access_key=w\naws_session_token=t\n";

    #[test]
    fn a_profile_counts_unless_variables_say_otherwise() {
        let home = home(&[(".aws/config", CONFIG), (".aws/credentials", CREDENTIALS)]);
        let home = ("HOME", home.path().to_str().unwrap());
        let plain = options(&[home], "s3://b").unwrap();
        assert_eq!(key(&plain), ("D".to_owned(), "d/1=".to_owned(), None));
        assert_eq!(plain.region.as_deref(), Some("eu-west-1"));
        assert!(!plain.path_style && plain.endpoint.is_none());

        let work = options(&[home, ("AWS_PROFILE", "work")], "s3://b").unwrap();
        let expected = ("W".to_owned(), "w".to_owned(), Some("t".to_owned()));
        assert_eq!(key(&work), expected);
        assert_eq!(work.region.as_deref(), Some("eu-central-1"));
        assert_eq!(work.endpoint.as_deref(), Some("https://s3.example:9000"));
        assert!(work.path_style);

        let variables = [
            home,
            ("AWS_ACCESS_KEY_ID", "V"),
            ("AWS_SECRET_ACCESS_KEY", "v"),
            ("AWS_DEFAULT_REGION", "us-west-2"),
        ];
        let set = options(&variables, "s3://b").unwrap();
        assert_eq!(key(&set), ("V".to_owned(), "v".to_owned(), None));
        assert_eq!(set.region.as_deref(), Some("us-west-2"));
        // Where no profile has a region of this name, a setting of another section counts for nothing.
        let sso = options(&[home, ("AWS_PROFILE", "sso")], "s3://b").unwrap_err();
        assert!(
            sso.contains("single sign-on") && sso.contains("export-credentials"),
            "{sso}"
        );
        let none = options(&[home, ("AWS_PROFILE", "no")], "s3://b").unwrap_err();
        assert!(none.contains("AWS_PROFILE: no profile no"), "{none}");
    }

    #[test]
    fn a_home_that_others_can_write_counts_where_a_file_of_it_is_needed() {
        let home = home(&[]);
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let of_home = ("HOME", home.path().to_str().unwrap());
        assert!(options(&[of_home], "s3://b").unwrap().credentials.is_none());
        assert!(options(&[of_home], "gs://b").unwrap().credentials.is_none());
        let file = home.path().join(".aws/credentials");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, CREDENTIALS).unwrap();
        // The file is named, and no variable that nobody set.
        let refused = options(&[of_home], "s3://b").unwrap_err();
        assert!(refused.starts_with(file.to_str().unwrap()), "{refused}");
        let given = [
            of_home,
            ("AWS_ACCESS_KEY_ID", "V"),
            ("AWS_SECRET_ACCESS_KEY", "v"),
            ("AWS_REGION", "us-west-2"),
        ];
        assert_eq!(key(&options(&given, "s3://b").unwrap()).0, "V");
    }

    #[test]
    fn files_of_other_editors_are_read_and_one_without_the_profile_is_named() {
        let text = format!("\u{feff}{}", CREDENTIALS.replace('\n', "\r\n"));
        let home = home(&[("keys", &text), ("others", "[work]\nregion = x\n")]);
        let at = |name: &str| home.path().join(name).display().to_string();
        let found = options(&[("AWS_SHARED_CREDENTIALS_FILE", &at("keys"))], "s3://b").unwrap();
        assert_eq!(key(&found), ("D".to_owned(), "d/1=".to_owned(), None));
        let others = at("others");
        let said = options(&[("AWS_SHARED_CREDENTIALS_FILE", &others)], "s3://b").unwrap_err();
        assert!(
            said.contains(&format!("no profile default in {others}")),
            "{said}"
        );
        assert!(options(&[("AWS_SHARED_CREDENTIALS_FILE", &at("no"))], "s3://b").is_ok());
    }

    #[test]
    fn half_a_key_is_a_mistake_and_no_secret_is_told() {
        let half = options(&[("AWS_SECRET_ACCESS_KEY", "hunter2")], "s3://b").unwrap_err();
        assert_eq!(
            half,
            "variable AWS_SECRET_ACCESS_KEY: set AWS_ACCESS_KEY_ID, too"
        );
        let endpoint = options(&[("AWS_ENDPOINT_URL", "http://u:hunter2@s3")], "s3://b");
        assert!(!endpoint.unwrap_err().contains("hunter2"));
        assert!(options(&[("AWS_ENDPOINT_URL_S3", "s3:9000")], "s3://b").is_err());
    }

    #[test]
    fn a_secret_may_be_in_a_file() {
        let home = home(&[("secret", "hunter2\n")]);
        let secret = home.path().join("secret");
        let variables = [
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY_FILE", secret.to_str().unwrap()),
        ];
        let found = options(&variables, "s3://b").unwrap();
        assert_eq!(key(&found).1, "hunter2");
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn a_pod_has_an_identity() {
        let variables = [
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token"),
        ];
        let found = options(&variables, "s3://b").unwrap();
        let Some(Credentials::AwsIdentity(given)) = found.credentials else {
            panic!("{found:?}");
        };
        assert_eq!(given.len(), 2);
        let machine = [(
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "http://[fd00:ec2::254]",
        )];
        let found = options(&machine, "s3://b").unwrap().credentials;
        assert!(matches!(found, Some(Credentials::AwsIdentity(given)) if given.len() == 1));
        // The library would ask the machine instead.
        let container = [(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://127.0.0.1:81/x",
        )];
        let said = options(&container, "s3://b").unwrap_err();
        assert!(
            said.contains("set AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, too"),
            "{said}"
        );
        // A role alone is of no use.
        assert!(
            options(&variables[..1], "s3://b")
                .unwrap()
                .credentials
                .is_none()
        );
    }

    #[test]
    fn google_has_a_file_for_each_way_to_log_in() {
        let usual = ".config/gcloud/application_default_credentials.json";
        let home = home(&[(usual, "{\"usual\":1}"), ("key.json", "{\"named\":1}")]);
        let in_home = ("HOME", home.path().to_str().unwrap());
        let text =
            |variables: &[(&str, &str)]| match options(variables, "gs://b").unwrap().credentials {
                Some(Credentials::GoogleJson(json)) => json.expose_secret().to_owned(),
                other => panic!("{other:?}"),
            };
        assert_eq!(text(&[in_home]), "{\"usual\":1}");
        let named = home.path().join("key.json");
        let named = ("GOOGLE_APPLICATION_CREDENTIALS", named.to_str().unwrap());
        assert_eq!(text(&[in_home, named]), "{\"named\":1}");
        let missing = ("GOOGLE_APPLICATION_CREDENTIALS", "/missing/key.json");
        let problem = options(&[in_home, missing], "gs://b").unwrap_err();
        assert!(problem.contains("/missing/key.json"), "{problem}");
        assert!(options(&[], "gs://b").unwrap().credentials.is_none());
    }

    #[test]
    fn azure_has_variables_or_one_for_all() {
        let one = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=aGk==;EndpointSuffix=core.windows.net";
        let found = options(&[("AZURE_STORAGE_CONNECTION_STRING", one)], "az://c").unwrap();
        assert_eq!(found.account.as_deref(), Some("acme"));
        assert!(found.endpoint.is_none());
        match found.credentials {
            Some(Credentials::AzureKey(key)) => assert_eq!(key.expose_secret(), "aGk=="),
            other => panic!("{other:?}"),
        }
        let sas = [
            ("AZURE_STORAGE_ACCOUNT", "acme"),
            ("AZURE_STORAGE_SAS_TOKEN", "?sv=1"),
        ];
        match options(&sas, "az://c").unwrap().credentials {
            Some(Credentials::AzureSas(sas)) => assert_eq!(sas.expose_secret(), "sv=1"),
            other => panic!("{other:?}"),
        }
        let half = options(&[("AZURE_CLIENT_SECRET", "hunter2")], "az://c").unwrap_err();
        assert!(
            half.contains("AZURE_TENANT_ID") && !half.contains("hunter2"),
            "{half}"
        );
    }
}
