//! Who logs in, and by what.

use super::failure::Failure;
use crate::location::Server;
use crate::options::SftpOptions;
use russh::client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_secret_key};
use russh::{MethodKind, MethodSet};
use secrecy::{ExposeSecret, SecretString};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The keys that `ssh` uses by itself.
const USUAL: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Who logs in.
pub(super) fn user(server: &Server) -> Result<String, Failure> {
    if let Some(user) = &server.user {
        return Ok(user.clone());
    }
    let id = rustix::process::geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
        .map(|fields| fields[0].to_owned())
        .ok_or_else(|| {
            Failure::denied("the user of this process has no name; write it: sftp://user@host/…")
        })
}

/// A login, with what was tried.
struct Login<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    user: &'a str,
    tried: Vec<String>,
    /// What the server says it would take.
    accepted: Option<MethodSet>,
}

/// Logs in, with everything that the options have until something is accepted.
pub(super) async fn login<H: Handler>(
    handle: &mut Handle<H>,
    user: &str,
    options: &SftpOptions,
) -> Result<(), Failure> {
    let mut login = Login {
        handle,
        user,
        tried: Vec::new(),
        accepted: None,
    };
    if login.with_everything(options).await? {
        return Ok(());
    }
    let accepted = match &login.accepted {
        Some(methods) if !methods.is_empty() => {
            let names: Vec<&str> = methods.iter().map(Into::into).collect();
            format!("; it accepts {}", names.join(", "))
        }
        _ => String::new(),
    };
    let tried = match login.tried.as_slice() {
        [] => "there is no key file, no agent and no password to log in with".to_owned(),
        tried => format!("tried {}", tried.join(", ")),
    };
    Err(Failure::denied(format!(
        "the server refuses the login of user {user:?}: {tried}{accepted}; add the public key to that user's \
         ~/.ssh/authorized_keys on the server, or give another key"
    )))
}

impl<H: Handler> Login<'_, H> {
    async fn with_everything(&mut self, options: &SftpOptions) -> Result<bool, Failure> {
        if let Some(file) = &options.key_file {
            let key = load(file, options.key_passphrase.as_ref()).map_err(Failure::denied)?;
            if self.with_key(file, key).await? {
                return Ok(true);
            }
        } else {
            if let Some(socket) = &options.agent
                && self.with_agent(socket).await?
            {
                return Ok(true);
            }
            for name in USUAL {
                let Some(home) = &options.home else { break };
                let file = home.join(".ssh").join(name);
                if !file.exists() {
                    continue;
                }
                match load(&file, options.key_passphrase.as_ref()) {
                    Ok(key) => {
                        if self.with_key(&file, key).await? {
                            return Ok(true);
                        }
                    }
                    Err(why) => self.tried.push(why),
                }
            }
        }
        match &options.password {
            Some(password) => self.with_password(password).await,
            None => Ok(false),
        }
    }

    async fn with_key(&mut self, file: &Path, key: PrivateKey) -> Result<bool, Failure> {
        self.tried
            .push(shown(&format!("key {}", file.display()), key.public_key()));
        let hash = self.rsa_hash(key.public_key()).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let answer = self.handle.authenticate_publickey(self.user, key).await;
        Ok(self.is_accepted(answer.map_err(ended)?))
    }

    async fn with_agent(&mut self, socket: &Path) -> Result<bool, Failure> {
        let agent = format!("agent {}", socket.display());
        let keys = match AgentClient::connect_uds(socket).await {
            Ok(mut client) => client.request_identities().await.map(|keys| (client, keys)),
            Err(error) => Err(error),
        };
        let (mut client, keys) = match keys {
            Ok(found) => found,
            Err(error) => {
                self.tried.push(format!("{agent} ({error})"));
                return Ok(false);
            }
        };
        if keys.is_empty() {
            self.tried.push(format!("{agent} (it has no keys)"));
        }
        for key in keys {
            let AgentIdentity::PublicKey { key, .. } = key else {
                continue;
            };
            let shown = shown(&agent, &key);
            let hash = self.rsa_hash(&key).await?;
            let answer = self
                .handle
                .authenticate_publickey_with(self.user, key, hash, &mut client)
                .await;
            match answer {
                Ok(answer) => {
                    self.tried.push(shown);
                    if self.is_accepted(answer) {
                        return Ok(true);
                    }
                }
                Err(error) => self.tried.push(format!("{shown} ({error})")),
            }
        }
        Ok(false)
    }

    async fn with_password(&mut self, password: &SecretString) -> Result<bool, Failure> {
        self.tried.push("the password".to_owned());
        let secret = password.expose_secret();
        let answer = self.handle.authenticate_password(self.user, secret).await;
        if self.is_accepted(answer.map_err(ended)?) {
            return Ok(true);
        }
        let asks = MethodKind::KeyboardInteractive;
        if !self
            .accepted
            .as_ref()
            .is_some_and(|all| all.contains(&asks))
        {
            return Ok(false);
        }
        // Many servers ask for the same password so.
        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(self.user, None::<String>)
            .await;
        // A server that asks for ever is not answered for ever.
        for _ in 0..5 {
            match answer.map_err(ended)? {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let answers = prompts.iter().map(|_| secret.to_owned()).collect();
                    answer = self
                        .handle
                        .authenticate_keyboard_interactive_respond(answers)
                        .await;
                }
            }
        }
        Ok(false)
    }

    /// The hash of a signature by an RSA key: SHA-512 where the server does not say.
    async fn rsa_hash(&self, key: &PublicKey) -> Result<Option<HashAlg>, Failure> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let best = self.handle.best_supported_rsa_hash().await.map_err(ended)?;
        Ok(best.unwrap_or(Some(HashAlg::Sha512)))
    }

    fn is_accepted(&mut self, answer: AuthResult) -> bool {
        match answer {
            AuthResult::Success => true,
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                if partial_success {
                    self.tried
                        .push("(accepted, but more is asked for)".to_owned());
                }
                self.accepted = Some(remaining_methods);
                false
            }
        }
    }
}

fn shown(what: &str, key: &PublicKey) -> String {
    format!("{what} ({})", key.fingerprint(HashAlg::Sha256))
}

fn ended(error: russh::Error) -> Failure {
    match error {
        // After too many tries, too.
        russh::Error::SendError | russh::Error::HUP | russh::Error::Disconnect => Failure::lost(
            "the server ended the connection during the login; it may allow only few tries (MaxAuthTries): name one key",
        ),
        other => Failure::lost(format!("logging in: {other}")),
    }
}

/// Loads a private key; else says why not.
fn load(file: &Path, passphrase: Option<&SecretString>) -> Result<PrivateKey, String> {
    use russh::keys::Error;
    let shown = file.display();
    // A passphrase for a key that has none is no mistake.
    let plain = load_secret_key(file, None);
    let key = match (plain, passphrase) {
        (Err(Error::KeyIsEncrypted), Some(passphrase)) => {
            load_secret_key(file, Some(passphrase.expose_secret()))
                .map_err(|_| format!("the passphrase does not open the key {shown}"))?
        }
        (Err(Error::KeyIsEncrypted), None) => {
            return Err(format!(
                "the key {shown} has a passphrase and none is given"
            ));
        }
        (Err(Error::IO(error)), _) => return Err(format!("reading the key {shown}: {error}")),
        (Err(_), _) => return Err(format!("{shown} is no private key (OpenSSH or PEM)")),
        (Ok(key), _) => key,
    };
    Ok(key)
}
