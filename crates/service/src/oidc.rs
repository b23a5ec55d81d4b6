//! Single sign-on by `OpenID` Connect: the code flow with PKCE, state and nonce. What the provider offers is asked for at each
//! login, so that keys that it changed are known; nothing of it is kept.

use crate::token::{Role, hash};
use anyhow::{Context, Result, bail};
use hubvault_config::Oidc;
use hubvault_engine::delivery::exchange;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthenticationFlow, AuthorizationCode, Client, ClientId, ClientSecret,
    CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse,
    TokenResponse,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io;
use std::time::Duration;

/// One request to the provider; each half of a login makes three at most, and a page has 30 s.
const LIMIT: Duration = Duration::from_secs(6);
/// Signatures with a key of the provider. `none`, and what the client's secret would sign, is not among them.
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// So many groups of a person are kept for the session, and so long may the name of one be.
const GROUPS: usize = 500;
const LONGEST: usize = 256;

/// Every claim that has no meaning in the standard: one of them has the groups.
#[derive(Debug, Deserialize, Serialize)]
struct Others(Map<String, Value>);

impl AdditionalClaims for Others {}

type Fields = IdTokenFields<
    Others,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type Provider = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// A login that was begun.
pub(crate) struct Begun {
    /// Where the browser goes.
    pub(crate) url: String,
    /// What comes back with it.
    pub(crate) state: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// For people; it may change, and does not say who it is.
    pub(crate) name: String,
    /// Of issuer and subject, which never change.
    pub(crate) id: String,
    /// The provider's own word for the person, for the log.
    pub(crate) subject: String,
    /// The provider: groups of another one mean nothing.
    pub(crate) issuer: String,
    /// What the role is made of.
    pub(crate) groups: Vec<String>,
}

/// The highest role that a person's groups give.
pub(crate) fn role(oidc: &Oidc, person: &Person) -> Option<Role> {
    if person.issuer != oidc.issuer {
        return None;
    }
    let has = |of: &[String]| of.iter().any(|group| person.groups.contains(group));
    let roles = [
        (Role::Admin, &oidc.admin_groups),
        (Role::Operate, &oidc.operate_groups),
        (Role::Read, &oidc.read_groups),
    ];
    let mut given = roles.into_iter().filter(|(_, of)| has(of));
    given.next().map(|(role, _)| role)
}

/// Asks the provider where its login is.
pub(crate) fn begin(oidc: &Oidc) -> Result<Begun> {
    let provider = provider(oidc)?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
    let scopes = oidc.scopes.iter().cloned().map(Scope::new);
    let (url, state, nonce) = provider
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scopes(scopes)
        .set_pkce_challenge(challenge)
        .url();
    Ok(Begun {
        url: url.to_string(),
        state: state.secret().clone(),
        nonce,
        verifier,
    })
}

/// Takes the code that the browser brought back to the provider, and checks who it says that it is.
pub(crate) fn end(oidc: &Oidc, begun: Begun, code: String) -> Result<Person> {
    let provider = provider(oidc)?;
    let answer = provider
        .exchange_code(AuthorizationCode::new(code))?
        .set_pkce_verifier(begun.verifier)
        .request(&|request: HttpRequest| ask(oidc, request))
        .context("exchanging the code of the login")?;
    let token = answer.id_token().context("the provider sent no ID token")?;
    let verifier = provider.id_token_verifier().set_allowed_algs(SIGNATURES);
    let claims = token
        .claims(&verifier, &begun.nonce)
        .context("checking the ID token")?;
    let subject = claims.subject().as_str();
    if subject.is_empty() {
        bail!("the ID token names nobody");
    }
    Ok(Person {
        name: name(claims),
        id: hash(&format!("{}\n{subject}", oidc.issuer)),
        subject: subject.chars().take(LONGEST).collect(),
        issuer: oidc.issuer.clone(),
        groups: groups(&claims.additional_claims().0, &oidc.groups_claim),
    })
}

fn provider(oidc: &Oidc) -> Result<Provider> {
    let issuer = IssuerUrl::new(oidc.issuer.clone())?;
    let metadata =
        CoreProviderMetadata::discover(&issuer, &|request: HttpRequest| ask(oidc, request))
            .with_context(|| format!("asking the identity provider {}", oidc.issuer))?;
    let secret = oidc.client_secret.as_ref();
    let secret = secret.map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
    let id = ClientId::new(oidc.client_id.clone());
    let redirect = RedirectUrl::new(oidc.redirect.clone())?;
    Ok(Provider::from_provider_metadata(metadata, id, secret).set_redirect_uri(redirect))
}

fn ask(oidc: &Oidc, request: HttpRequest) -> Result<HttpResponse, io::Error> {
    exchange(request, oidc.ca_file.as_deref(), LIMIT).map_err(io::Error::other)
}

/// An address that the provider verified, or the name that it gives, which a person may choose: it never looks like an
/// address. `oidc:` begins no name of a token.
fn name(claims: &IdTokenClaims<Others, CoreGenderClaim>) -> String {
    let email = claims
        .email()
        .filter(|_| claims.email_verified() == Some(true));
    let chosen = claims.preferred_username().map(|name| name.as_str());
    let (text, signs) = match email {
        Some(email) => (email.as_str(), "._-+@"),
        None => (chosen.unwrap_or_else(|| claims.subject().as_str()), "._-+"),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    let plain = |c: char| if is_plain(c) { c } else { '_' };
    let text: String = text.chars().take(64).map(plain).collect();
    format!("oidc:{text}")
}

/// The groups in a claim, which may be inside another one: `realm_access.roles`.
fn groups(claims: &Map<String, Value>, claim: &str) -> Vec<String> {
    let inside = || {
        let mut parts = claim.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    };
    let names: Vec<&str> = match claims.get(claim).or_else(inside) {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    };
    let names = names.into_iter().filter(|name| name.len() <= LONGEST);
    names.take(GROUPS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn groups_of_another_provider_give_nothing() {
        let oidc = Oidc {
            issuer: "https://id.example".to_owned(),
            ca_file: None,
            client_id: String::new(),
            client_secret: None,
            redirect: String::new(),
            scopes: Vec::new(),
            groups_claim: String::new(),
            read_groups: vec!["all".to_owned()],
            operate_groups: Vec::new(),
            admin_groups: vec!["dba".to_owned()],
        };
        let of = |issuer: &str, groups: &[&str]| {
            let person = Person {
                name: String::new(),
                id: String::new(),
                subject: String::new(),
                issuer: issuer.to_owned(),
                groups: groups.iter().map(ToString::to_string).collect(),
            };
            role(&oidc, &person)
        };
        assert_eq!(of(&oidc.issuer, &["all", "dba"]), Some(Role::Admin));
        assert_eq!(of(&oidc.issuer, &["all"]), Some(Role::Read));
        assert_eq!(of(&oidc.issuer, &[]), None);
        assert_eq!(of("https://old.example", &["dba"]), None);
    }

    #[test]
    fn groups_are_found_in_their_claim_alone() {
        let claims = json!({
            "groups": ["a", 1, "b", null],
            "one": "ops",
            "realm_access": {"roles": ["admin"]},
            "dotted.name": ["x"],
        });
        let claims = claims.as_object().unwrap();
        assert_eq!(groups(claims, "groups"), ["a", "b"]);
        assert_eq!(groups(claims, "one"), ["ops"]);
        assert_eq!(groups(claims, "realm_access.roles"), ["admin"]);
        assert_eq!(groups(claims, "dotted.name"), ["x"]);
        for none in ["", "realm_access", "groups.a", "nothing"] {
            assert!(groups(claims, none).is_empty(), "{none}");
        }
    }
}
