//! What a server stores of a random password. It needs no stretching, which takes some milliseconds at every login.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hubvault_model::quote_literal;
use sha2::{Digest, Sha256};

/// The SCRAM secret (RFC 5803) of a random password with one iteration, as SQL. Nobody guesses the password, however fast a
/// guess is, and no other is the same, so that the salt can be known.
pub(crate) fn random_secret(password: &str) -> String {
    let secret = secret(password);
    quote_literal(secret.as_deref().unwrap_or(password))
}

fn secret(password: &str) -> Option<String> {
    const SALT: &[u8] = b"hubvault's logins";
    let salted = mac(password.as_bytes(), &[SALT, &1_u32.to_be_bytes()])?;
    let stored = Sha256::digest(mac(&salted, &[b"Client Key"])?);
    let server = mac(&salted, &[b"Server Key"])?;
    let [salt, stored, server] =
        [SALT, &stored[..], &server].map(|bytes| BASE64_STANDARD.encode(bytes));
    Some(format!("SCRAM-SHA-256$1:{salt}${stored}:{server}"))
}

/// The HMAC of some parts, one after the other, with SHA-256.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    #[test]
    fn a_client_that_knows_the_password_proves_it() {
        let secret = secret("p'w").unwrap();
        let (rounds, keys) = secret.rsplit_once('$').unwrap();
        let (salt, stored) = (rounds.rsplit(':').next().unwrap(), keys.split(':').next());
        let mut client = ScramSha256::new(b"p'w", ChannelBinding::unsupported());
        let first = String::from_utf8(client.message().to_vec()).unwrap();
        let bare = first.strip_prefix("n,,").unwrap().to_owned();
        let nonce = bare.rsplit_once("r=").unwrap().1;
        let challenge = format!("r={nonce}more,s={salt},i=1");
        client.update(challenge.as_bytes()).unwrap();
        let last = String::from_utf8(client.message().to_vec()).unwrap();
        let (without, proof) = last.split_once(",p=").unwrap();
        let stored = BASE64_STANDARD.decode(stored.unwrap()).unwrap();
        let signature = mac(
            &stored,
            &[format!("{bare},{challenge},{without}").as_bytes()],
        )
        .unwrap();
        let proof = BASE64_STANDARD.decode(proof).unwrap();
        let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha256::digest(key).to_vec(), stored);
    }
}
