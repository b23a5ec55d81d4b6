//! Files outside its own directory that PostgreSQL reads: its programs and libraries, time zones, dictionaries. Never `/etc`, `/home`,
//! `/var`, `/tmp` or `/proc` as wholes.

use std::fs;
use std::path::{Path, PathBuf};

/// Devices that hold nothing.
pub(super) const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// Public files of the system: libraries, time zones, locales, dictionaries, interpreters of procedural languages.
const SYSTEM: [&str; 13] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/share",
    "/usr/local/lib",
    "/usr/local/share",
    "/nix/store",
    "/var/cache/postgresql",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];

/// Public files of `/etc`, by name.
const ETC: [&str; 18] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/gai.conf",
    "/etc/locale.alias",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/etc/crypto-policies",
    "/etc/krb5.conf",
    "/etc/alternatives",
    "/etc/dictionaries-common",
    "/etc/perl",
    "/etc/tcl",
];

/// All that may be read.
pub(super) fn paths(postgres: &Path, environment: &[(String, String)]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = SYSTEM.iter().chain(&ETC).map(PathBuf::from).collect();
    // An installation elsewhere: what `pg_config` calls bindir, libdir and sharedir lie beside each other.
    let bin = postgres.parent();
    if let Some((bin, prefix)) = bin.and_then(|bin| Some((bin, bin.parent()?))) {
        paths.push(bin.to_owned());
        paths.extend(["lib", "lib64", "share"].map(|beside| prefix.join(beside)));
    }
    paths.extend(linked(Path::new("/etc/ld.so.conf"), 0));
    let more = variable(environment, "LD_LIBRARY_PATH").split(':');
    paths.extend(more.map(PathBuf::from).filter(|path| path.is_absolute()));
    paths.extend(
        fs::read_dir("/etc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                name.to_string_lossy()
                    .starts_with("python3")
                    .then(|| entry.path())
            }),
    );
    paths
}

fn variable<'a>(environment: &'a [(String, String)], name: &str) -> &'a str {
    let found = environment.iter().find(|(its, _)| its == name);
    found.map_or("", |(_, value)| value)
}

/// The directories that the dynamic linker looks into (ldconfig(8)).
fn linked(file: &Path, depth: usize) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("include ").map(str::trim) {
            Some(pattern) if depth < 3 => {
                let directory = file.parent().unwrap_or(file).join(pattern);
                let directory = directory.parent().map(Path::to_owned).unwrap_or_default();
                for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                    if entry
                        .path()
                        .extension()
                        .is_some_and(|ending| ending == "conf")
                    {
                        found.extend(linked(&entry.path(), depth + 1));
                    }
                }
            }
            _ if line.starts_with('/') => found.push(line.into()),
            _ => {}
        }
    }
    found
}

/// Directories of preloaded libraries that are not the system's.
pub(super) fn preloaded(environment: &[(String, String)]) -> Vec<PathBuf> {
    variable(environment, "LD_PRELOAD")
        .split([':', ' '])
        .filter_map(|library| Path::new(library).parent().map(Path::to_owned))
        .filter(|directory| directory.is_absolute())
        .filter(|directory| !SYSTEM.iter().any(|known| directory.starts_with(known)))
        .collect()
}

/// What may be run: the server, and what the kernel loads it with. A server that is a script needs all that it calls.
pub(super) fn programs(postgres: &Path, missing: &mut Vec<String>) -> Vec<PathBuf> {
    let start = first_bytes(postgres);
    let mut programs = vec![postgres.to_owned()];
    if start.starts_with(b"\x7fELF") {
        programs.extend(interpreter(&start));
    } else {
        missing.push(format!(
            "{} is a script: the drill's server may run programs",
            postgres.display()
        ));
        programs.extend(
            [
                "/bin",
                "/usr/bin",
                "/lib",
                "/lib64",
                "/usr/lib",
                "/nix/store",
            ]
            .map(PathBuf::from),
        );
    }
    programs
}

fn first_bytes(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // Where it cannot be read it will not run either.
        let _ = file.take(64 << 10).read_to_end(&mut bytes);
    }
    bytes
}

/// The path in a program's `PT_INTERP` header (elf(5)), of a 64-bit program in this machine's byte order.
fn interpreter(elf: &[u8]) -> Option<PathBuf> {
    const PT_INTERP: u32 = 3;
    let bytes = |at: usize, many: usize| elf.get(at..at.checked_add(many)?);
    let u16_at = |at| Some(u16::from_ne_bytes(bytes(at, 2)?.try_into().ok()?));
    let u32_at = |at| Some(u32::from_ne_bytes(bytes(at, 4)?.try_into().ok()?));
    let u64_at = |at| Some(u64::from_ne_bytes(bytes(at, 8)?.try_into().ok()?));
    let (table, size, number) = (u64_at(32)? as usize, u16_at(54)?, u16_at(56)?);
    for n in 0..usize::from(number) {
        let at = table.checked_add(n * usize::from(size))?;
        if u32_at(at)? == PT_INTERP {
            let (from, length) = (at.checked_add(8)?, at.checked_add(32)?);
            let name = bytes(u64_at(from)? as usize, u64_at(length)? as usize)?;
            let name = name.split(|byte| *byte == 0).next()?;
            return Some(PathBuf::from(String::from_utf8(name.to_vec()).ok()?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_what_loads_it() {
        let loader = interpreter(&first_bytes(&std::env::current_exe().unwrap())).unwrap();
        assert!(loader.is_absolute() && loader.exists(), "{loader:?}");
        assert_eq!(interpreter(b"\x7fELF"), None);
        assert_eq!(interpreter(&[0xff; 4096]), None);
    }

    #[test]
    fn no_directory_that_holds_secrets_is_readable() {
        let paths = paths(Path::new("/usr/lib/postgresql/15/bin/postgres"), &[]);
        for secret in [
            "/", "/etc", "/home", "/root", "/run", "/var", "/tmp", "/proc", "/dev", "/opt", "/srv",
        ] {
            assert!(!paths.contains(&PathBuf::from(secret)), "{secret}");
        }
    }
}
