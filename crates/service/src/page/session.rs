//! Sessions of browsers: which cookie stands for which token or person. They end with the service.

use crate::oidc::Person;
use crate::token::{hash, hex, random};
use anyhow::Result;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a request for so long, a session ends.
const IDLE: Duration = Duration::from_hours(2);
/// It never lasts longer.
const LONGEST: Duration = Duration::from_hours(12);
/// Sessions at once: in all, and with one token. The one that was idle longest ends for a new one.
const MOST: (usize, usize) = (256, 16);

/// The sessions that are open, by the hashes of their cookies.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// The id of a token, not its name: another token of the same name is another.
    Token(String),
    /// Somebody whom an identity provider knows.
    Person(Person),
}

impl Holder {
    fn id(&self) -> &str {
        match self {
            Self::Token(id) => id,
            Self::Person(person) => &person.id,
        }
    }
}

#[derive(Clone, Debug)]
struct Session {
    holder: Holder,
    began: Instant,
    seen: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at);
        since(self.seen) > IDLE || since(self.began) > LONGEST
    }
}

impl Sessions {
    /// Begins a session; returns the text for its cookie.
    pub(super) fn begin(&self, holder: Holder, now: Instant) -> Result<String> {
        let text = hex(&random()?);
        let mut open = self.lock();
        open.retain(|_, session| !session.is_over(now));
        let is_own = |session: &Session| session.holder.id() == holder.id();
        if open.values().filter(|one| is_own(one)).count() >= MOST.1 {
            end_idlest(&mut open, is_own);
        }
        if open.len() >= MOST.0 {
            end_idlest(&mut open, |_| true);
        }
        let session = Session {
            holder,
            began: now,
            seen: now,
        };
        open.insert(hash(&text), session);
        Ok(text)
    }

    /// Whose session has this cookie; `None` if it is over.
    pub(super) fn of(&self, text: &str, now: Instant) -> Option<Holder> {
        let mut open = self.lock();
        let key = hash(text);
        let session = open.get_mut(&key)?;
        if session.is_over(now) {
            open.remove(&key);
            return None;
        }
        session.seen = now;
        Some(session.holder.clone())
    }

    /// Ends a session.
    pub(super) fn end(&self, text: &str) {
        self.lock().remove(&hash(text));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_idlest(open: &mut HashMap<String, Session>, among: impl Fn(&Session) -> bool) {
    let candidates = open.iter().filter(|(_, session)| among(session));
    let idlest = candidates.min_by_key(|(_, session)| session.seen);
    if let Some(key) = idlest.map(|(key, _)| key.clone()) {
        open.remove(&key);
    }
}

/// The token that every form of a session carries: another site cannot know it. It says nothing about the cookie.
pub(super) fn form_token(session: &str) -> String {
    hash(&format!("form of {session}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str) -> Holder {
        Holder::Token(id.to_owned())
    }

    #[test]
    fn a_session_ends_when_it_is_idle_too_old_or_ended() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let text = sessions.begin(token("a"), start).unwrap();
        assert_eq!(text.len(), 64);
        assert!(sessions.of("", start).is_none());
        let mut now = start;
        while now + IDLE <= start + LONGEST {
            now += IDLE;
            assert_eq!(sessions.of(&text, now), Some(token("a")));
        }
        let late = start + LONGEST + Duration::from_secs(1);
        assert!(sessions.of(&text, late).is_none(), "it is too old");
        let idle = sessions.begin(token("a"), start).unwrap();
        let late = start + IDLE + Duration::from_secs(1);
        assert!(sessions.of(&idle, late).is_none());
        let ended = sessions.begin(token("a"), start).unwrap();
        sessions.end(&ended);
        assert!(sessions.of(&ended, start).is_none());
    }

    #[test]
    fn one_token_ends_its_own_sessions_and_memory_is_bounded() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let at = |n: usize| start + Duration::from_secs(n as u64);
        let other = sessions.begin(token("other"), at(0)).unwrap();
        let own: Vec<String> = (0..=MOST.1)
            .map(|n| sessions.begin(token("a"), at(n)).unwrap())
            .collect();
        let now = at(MOST.1);
        assert!(sessions.of(&own[0], now).is_none(), "the oldest ended");
        assert!(sessions.of(&own[1], now).is_some() && sessions.of(&other, now).is_some());
        for n in 0..1000 {
            sessions.begin(token(&n.to_string()), now).unwrap();
        }
        assert_eq!(sessions.lock().len(), MOST.0);
    }

    #[test]
    fn the_token_of_a_form_is_not_the_cookie() {
        assert!(form_token("a") != hash("a") && form_token("a") != form_token("b"));
    }
}
