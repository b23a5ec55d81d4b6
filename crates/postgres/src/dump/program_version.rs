//! Versions of `PostgreSQL`'s programs: which of them lack security fixes, and which are older than the server.

/// The first minor release of each major version with the fixes of CVE-2025-8714 and CVE-2025-8715 (August 2025):
/// before them `pg_dump` and `pg_restore` write names into SQL such that psql runs commands which stand in them.
const FIRST_FIXED: [(u32, u32); 5] = [(13, 22), (14, 19), (15, 14), (16, 10), (17, 6)];

/// `15.18`, `18beta1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version<'a> {
    major: u32,
    minor: Option<u32>,
    /// What follows the numbers: `beta1`.
    rest: &'a str,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (major, rest) = number(text)?;
        match rest.strip_prefix('.').and_then(number) {
            Some((minor, rest)) => Some(Self {
                major,
                minor: Some(minor),
                rest,
            }),
            None => Some(Self {
                major,
                minor: None,
                rest,
            }),
        }
    }

    fn is_before_release(self) -> bool {
        ["alpha", "beta", "devel"]
            .iter()
            .any(|word| self.rest.starts_with(word))
    }
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Where a program of this version lacks those fixes: the release that has them. A version that cannot be read lacks
/// them.
pub(crate) fn fixed_in(version: &str) -> Option<String> {
    let Some(parsed) = Version::parse(version) else {
        return Some("18.0".to_owned());
    };
    let first = FIRST_FIXED.iter().find(|(major, _)| *major == parsed.major);
    let (major, minor) = match first {
        Some(first) => *first,
        None if parsed.major < 13 => FIRST_FIXED[0],
        None => (parsed.major, 0),
    };
    let is_older = parsed.major < major || parsed.minor.unwrap_or(0) < minor;
    (is_older || parsed.is_before_release()).then(|| format!("{major}.{minor}"))
}

/// Why a program should be newer for a server of this version (150018), where it should. Other major versions have
/// minor releases of their own, and say nothing here.
pub(crate) fn older_than_server(program: &str, version: &str, server: u32) -> Option<String> {
    let parsed = Version::parse(version)?;
    let (major, minor) = (server / 10_000, server % 10_000);
    (parsed.major == major && parsed.minor.unwrap_or(0) < minor).then(|| {
        format!(
            "{program} {version} is older than the server, {major}.{minor}: what an older minor release writes may \
             not restore; update PostgreSQL's client programs, on Debian with: apt-get install --only-upgrade \
             postgresql-client-{major}"
        )
    })
}

/// The text of definitions is in UTF-8; of a database without an encoding it is as it stands there.
pub(crate) fn encoding(of_database: &str) -> &'static str {
    if of_database == "SQL_ASCII" {
        "--encoding=SQL_ASCII"
    } else {
        "--encoding=UTF8"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_without_the_fixes_of_august_2025_are_known() {
        for (version, fixed) in [
            ("13.21", Some("13.22")),
            ("13.22", None),
            ("14.18", Some("14.19")),
            ("14.19", None),
            ("15.13", Some("15.14")),
            ("15.14", None),
            ("15.18", None),
            ("16.9", Some("16.10")),
            ("16.10", None),
            ("17.5", Some("17.6")),
            ("17.6", None),
            ("17beta1", Some("17.6")),
            ("12.22", Some("13.22")),
            ("18beta2", Some("18.0")),
            ("18rc1", None),
            ("18.0", None),
            ("19.1", None),
            ("odd", Some("18.0")),
        ] {
            assert_eq!(fixed_in(version).as_deref(), fixed, "{version}");
        }
    }

    #[test]
    fn a_minor_release_older_than_the_server_s_is_told() {
        let of = |version, server| older_than_server("pg_dump", version, server).is_some();
        assert!(of("15.17", 150_018) && of("18beta1", 180_004));
        assert!(!of("15.18", 150_018) && !of("15.19", 150_018));
        assert!(!of("16.1", 150_018) && !of("18.1", 150_018));
    }
}
