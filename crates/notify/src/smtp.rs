//! A mail server: connecting and logging in.

use crate::connection::Connection;
use crate::error::{Problem, SendError};
use crate::reply::{Offers, Reply};
use crate::settings::{Security, SmtpSettings};
use crate::stream::is_loopback;
use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// One open connection to a mail server, for any number of messages.
///
/// Dropping it closes the connection without QUIT; [`Mailer::quit`] sends it.
pub struct Mailer {
    pub(crate) connection: Connection,
    pub(crate) offers: Offers,
    pub(crate) server: String,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("server", &self.server)
            .field("offers", &self.offers)
            .finish_non_exhaustive()
    }
}

impl Mailer {
    /// Connects, starts TLS and logs in, as the settings require.
    pub fn connect(settings: &SmtpSettings) -> Result<Self, SendError> {
        check(settings)?;
        let config = match settings.security {
            Security::Plain => None,
            _ => Some(
                tls::client_config(settings.ca_file.as_deref(), settings.insecure).map_err(
                    |why| unusable(settings, &why, "see that the file is there and is PEM"),
                )?,
            ),
        };
        let mut connection = Connection::open(settings)?;
        // A name that was taken for this machine's may lead elsewhere.
        if config.is_none() && !settings.allow_plain && !connection.is_loopback() {
            return Err(plain_refused(settings));
        }
        if let (Security::Tls, Some(config)) = (settings.security, config.clone()) {
            connection = connection.encrypt(config, settings)?;
        }
        let greeting = connection.reply()?;
        expect(&connection, greeting, &[220], "the server greets with")?;
        let mut offers = hello(&mut connection)?;
        if let (Security::StartTls, Some(config)) = (settings.security, config) {
            if !offers.starttls {
                return Err(no_tls(&connection, "the server offers no STARTTLS", true));
            }
            let reply = connection.command("STARTTLS")?;
            if reply.code != 220 {
                let what = format!("the server answers STARTTLS with {reply}");
                return Err(no_tls(&connection, &what, reply.is_permanent()));
            }
            connection = connection.encrypt(config, settings)?;
            // RFC 3207, 4.2: offers before TLS are discarded.
            offers = hello(&mut connection)?;
        }
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            log_in(&mut connection, &offers, user, password)?;
        }
        Ok(Self {
            connection,
            offers,
            server: settings.server(),
        })
    }

    /// The server's size limit for a message, in bytes (RFC 1870); `None` when it has none.
    pub fn max_size(&self) -> Option<u64> {
        self.offers.max_size
    }

    /// Whether the connection has ended, so that another message needs a new one.
    pub fn has_ended(&self) -> bool {
        self.connection.is_broken()
    }

    /// Sends QUIT and closes the connection.
    pub fn quit(mut self) {
        self.connection.quit();
    }
}

fn check(settings: &SmtpSettings) -> Result<(), SendError> {
    if settings.security == Security::Plain && !settings.allow_plain && !is_loopback(&settings.host)
    {
        return Err(plain_refused(settings));
    }
    if settings.user.is_some() != settings.password.is_some() {
        return Err(unusable(
            settings,
            "only one of user and password is set",
            "set both SMTP_USER and SMTP_PASS, or neither",
        ));
    }
    Ok(())
}

fn plain_refused(settings: &SmtpSettings) -> SendError {
    unusable(
        settings,
        "mail, and what is attached, would cross the network in the clear",
        "use security = \"starttls\" or \"tls\"; if you mean it, allow_plain = true (SMTP_ALLOW_PLAIN) permits it",
    )
}

fn unusable(settings: &SmtpSettings, what: &str, next: &str) -> SendError {
    let doing = format!("connecting to the mail server {}", settings.server());
    SendError::new(Problem::Settings, doing, what, next).lasting(true)
}

fn no_tls(connection: &Connection, what: &str, permanent: bool) -> SendError {
    let next = "nothing was sent in the clear; for a relay on this host or in its own network set security = \"none\" \
                (SMTP_SECURITY=none), for one on another host also allow_plain = true (SMTP_ALLOW_PLAIN); set security \
                = \"tls\" if the port speaks TLS from the start (465), or set TLS up there";
    SendError::new(Problem::NoTls, connection.doing(), what, next).lasting(permanent)
}

/// The reply if it has one of these codes, else an error that quotes it.
fn expect(
    connection: &Connection,
    reply: Reply,
    codes: &[u16],
    what: &str,
) -> Result<Reply, SendError> {
    if codes.contains(&reply.code) {
        return Ok(reply);
    }
    let (problem, next) = if reply.is_permanent() {
        (Problem::Rejected, "see the server's log for why")
    } else {
        (Problem::Busy, "try again later")
    };
    let permanent = reply.is_permanent();
    let what = format!("{what} {reply}");
    Err(SendError::new(problem, connection.doing(), what, next).lasting(permanent))
}

fn hello(connection: &mut Connection) -> Result<Offers, SendError> {
    let name = connection.own_name();
    let reply = connection.command(&format!("EHLO {name}"))?;
    let reply = expect(connection, reply, &[250], "the server answers EHLO with")?;
    Ok(Offers::read(&reply))
}

/// Logs in with PLAIN (RFC 4616), or LOGIN for servers that know nothing else.
fn log_in(
    connection: &mut Connection,
    offers: &Offers,
    user: &str,
    password: &SecretString,
) -> Result<(), SendError> {
    let password = password.expose_secret();
    let offered = |mechanism: &str| offers.auth.iter().any(|known| known == mechanism);
    let reply = if offered("PLAIN") {
        let plain = STANDARD.encode(format!("\0{user}\0{password}"));
        connection.command(&format!("AUTH PLAIN {plain}"))?
    } else if offered("LOGIN") {
        let mut reply = connection.command("AUTH LOGIN")?;
        for answer in [user, password] {
            if reply.code == 334 {
                reply = connection.command(&STANDARD.encode(answer))?;
            }
        }
        reply
    } else {
        let what = match offers.auth.as_slice() {
            [] => "the server offers no login".to_owned(),
            others => format!("the server offers only {} to log in", others.join(", ")),
        };
        let next =
            "hubvault knows PLAIN and LOGIN; leave SMTP_USER and SMTP_PASS out if none is needed";
        return Err(
            SendError::new(Problem::Authentication, connection.doing(), what, next).lasting(true),
        );
    };
    if reply.code == 235 {
        return Ok(());
    }
    // RFC 4954, 6: 454 and other codes below 500 are temporary.
    let (problem, next) = if reply.is_permanent() {
        (Problem::Authentication, "check SMTP_USER and SMTP_PASS")
    } else {
        (Problem::Busy, "try again later")
    };
    // Some servers quote the login.
    let text = reply.to_string().replace(password, "***");
    let what = format!("the login as {user} was refused: {text}");
    Err(SendError::new(problem, connection.doing(), what, next).lasting(reply.is_permanent()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_security_read_back() {
        for security in [Security::StartTls, Security::Tls, Security::Plain] {
            assert_eq!(security.as_str().parse(), Ok(security));
        }
        assert!("ssl".parse::<Security>().is_err());
    }

    #[test]
    fn nothing_goes_to_another_machine_in_the_clear_unless_allowed() {
        let settings = SmtpSettings {
            security: Security::Plain,
            ..SmtpSettings::to("mail.hub.invalid", 25)
        };
        let error = Mailer::connect(&settings).unwrap_err();
        assert_eq!(error.problem(), Problem::Settings);
        assert!(error.to_string().contains("allow_plain"), "{error}");
        let allowed = SmtpSettings {
            allow_plain: true,
            ..settings
        };
        assert!(check(&allowed).is_ok());
    }

    #[test]
    fn a_password_is_not_in_what_is_printed() {
        let settings = SmtpSettings {
            user: Some("backup".to_owned()),
            password: Some(SecretString::from("open-sesame")),
            ..SmtpSettings::to("mail.hub.example", 587)
        };
        assert!(!format!("{settings:?}").contains("open-sesame"));
    }
}
