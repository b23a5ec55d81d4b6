//! Single sign-on to the page, by `OpenID` Connect.

use super::address::host_and_port;
use super::problem::Problem;
use super::setting::Values;
use secrecy::SecretString;
use std::path::PathBuf;

/// How people log in with an identity provider.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// The provider's issuer, letter for letter.
    pub issuer: String,
    /// Authorities to trust besides the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// What the provider knows hubvault as.
    pub client_id: String,
    /// Its secret; a public client has none.
    pub client_secret: Option<SecretString>,
    /// Where the provider sends the browser back to.
    pub redirect: String,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim of the ID token that has the groups.
    pub groups_claim: String,
    /// The groups of each role.
    pub read_groups: Vec<String>,
    /// Of the role operate.
    pub operate_groups: Vec<String>,
    /// Of the role admin.
    pub admin_groups: Vec<String>,
}

/// `None` where no provider is named.
pub(crate) fn oidc(values: &Values) -> Option<Oidc> {
    let text = |key: &str| values.text(key).to_owned();
    let list = |key: &str| values.list(key).to_vec();
    let issuer = text("http.oidc_issuer");
    (!issuer.is_empty()).then(|| Oidc {
        issuer,
        ca_file: values.path("http.oidc_ca_file"),
        client_id: text("http.oidc_client_id"),
        client_secret: values.secret("http.oidc_client_secret").cloned(),
        redirect: format!(
            "{}/login/oidc/callback",
            values.text("http.public_url").trim_end_matches('/')
        ),
        scopes: list("http.oidc_scopes"),
        groups_claim: text("http.oidc_groups_claim"),
        read_groups: list("http.oidc_read_groups"),
        operate_groups: list("http.oidc_operate_groups"),
        admin_groups: list("http.oidc_admin_groups"),
    })
}

/// What a login would fail for.
pub(crate) fn check(values: &Values, problems: &mut Vec<Problem>) {
    let Some(oidc) = oidc(values) else { return };
    let mut problem = |key: &str, what: &str| problems.push(values.problem(key, what));
    let rest = oidc.issuer.strip_prefix("http://");
    let (host, _) = host_and_port(
        rest.unwrap_or_default()
            .split('/')
            .next()
            .unwrap_or_default(),
    );
    if rest.is_some() && !hubvault_notify::is_loopback(host) {
        let what = "the login would cross the network unencrypted; use https, or http only to this machine";
        problem("http.oidc_issuer", what);
    }
    if oidc.client_id.is_empty() {
        let what =
            "is needed with http.oidc_issuer: the name under which the provider knows hubvault";
        problem("http.oidc_client_id", what);
    }
    if values.text("http.public_url").is_empty() {
        let what = "is needed with http.oidc_issuer: the provider sends the browser back there";
        problem("http.public_url", what);
    }
    if [&oidc.read_groups, &oidc.operate_groups, &oidc.admin_groups]
        .iter()
        .all(|of| of.is_empty())
    {
        let what = "with http.oidc_issuer, name groups in at least one of http.oidc_read_groups, http.oidc_operate_groups \
                    and http.oidc_admin_groups; nobody could log in";
        problem("http.oidc_admin_groups", what);
    }
}
