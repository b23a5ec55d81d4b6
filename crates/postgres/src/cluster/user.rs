//! The user of a throwaway server when hubvault runs as root, which `PostgreSQL` refuses.

use crate::error::PgError;
use rustix::process::geteuid;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Ids that no package uses (systemd, "Users, Groups, UIDs and GIDs": dynamic service users).
const UNUSED: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// A user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl ServerUser {
    /// `None` when hubvault is not root: the server runs as the same user.
    pub(super) fn choose() -> Result<Option<Self>, PgError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = ["postgres", "nobody"]
            .iter()
            .find_map(|name| find_user(&passwd, name));
        user.map(Some).ok_or_else(|| PgError::Throwaway {
            doing: "choosing whom it runs as".into(),
            why: "there is no user postgres; PostgreSQL refuses to run as root".into(),
        })
    }

    /// A user who owns nothing and is not used by anything else: the server then has no rights on anything else, also not
    /// on another server that runs as `postgres`.
    pub(super) fn unused() -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let running = super::reap::users();
        let mut bytes = [0; 4];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
        let (first, many) = (*UNUSED.start(), UNUSED.end() - UNUSED.start());
        let start = u32::from_le_bytes(bytes) % many;
        let id = (0..many)
            .map(|n| first + (start + n) % many)
            .find(|id| !has_id(&passwd, *id) && !has_id(&groups, *id) && !running.contains(id))?;
        Some(Self { uid: id, gid: id })
    }
}

/// Whether the third field of a line is this id (passwd(5), group(5)).
fn has_id(text: &str, id: u32) -> bool {
    let ids = text.lines().filter_map(|line| line.split(':').nth(2));
    ids.filter_map(|field| field.parse::<u32>().ok())
        .any(|known| known == id)
}

fn find_user(passwd: &str, name: &str) -> Option<ServerUser> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(ServerUser {
        uid: fields.next()?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
    })
}

pub(super) fn as_user(command: &mut Command, user: Option<&ServerUser>) {
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}
