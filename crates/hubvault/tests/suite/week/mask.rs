//! What is different on another day or machine becomes the same: moments, sizes, times, digests, versions.

/// The text with zeros in the place of such digits.
pub(super) fn masked(text: &str) -> String {
    let mut lines = text.lines().peekable();
    let mut out = String::new();
    while let Some(line) = lines.next() {
        let is_continued = |next: &&str| next.starts_with("                 ");
        if ["hubvault", "programs", "sandbox of drills", "warnings"].contains(&line) {
            // What `doctor` says of this host.
            while lines.next_if(|next| next.starts_with("  ")).is_some() {}
            out += &format!("{line}\n  ...\n");
        } else if line.starts_with("  confinement ") {
            // What the host offers to a drill.
            while lines.next_if(is_continued).is_some() {}
        } else if line.contains("pg_read_all_data") {
            // From PostgreSQL 14 on.
        } else if line.starts_with("database shop on PostgreSQL ") {
            // Its lines break where the version ends.
            while lines.next_if(|next| !next.is_empty()).is_some() {}
            out += "database shop on PostgreSQL ...\n";
        } else {
            out += &(of_line(line) + "\n");
        }
    }
    out
}

fn of_line(line: &str) -> String {
    let line = without_version(line);
    let words: Vec<&str> = line.split(' ').collect();
    let masked = words.iter().enumerate().map(|(at, word)| {
        let unit = words
            .get(at + 1)
            .map(|next| next.trim_end_matches([',', '.', ')', ';', ':']));
        of_word(word, unit)
    });
    let mut masked = masked.collect::<Vec<_>>().join(" ");
    for unit in ["second", "minute", "hour"] {
        // Of one or of several.
        masked = masked
            .replace(&format!("0 {unit}"), &format!("0 {unit}s"))
            .replace(&format!("{unit}ss"), &format!("{unit}s"));
    }
    if line.contains("critical_backup_") {
        // How much the archive of the same rows grew, if at all.
        return masked
            .replace("(+0 kB)", "(+0 B)")
            .replace("(same)", "(+0 B)");
    }
    masked
}

fn of_word(word: &str, unit: Option<&str>) -> String {
    let bare = word.trim_start_matches(['+', '-', '(']);
    let is_number = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit() || c == '.');
    let is_time = word.contains(':')
        && word.len() >= 5
        && word
            .chars()
            .all(|c| c.is_ascii_digit() || "-:TZ.".contains(c));
    match unit {
        // Their number of digits depends on the load, or on what gzip made of the same rows.
        Some("s") if is_number => "0.0".to_owned(),
        Some("B" | "kB") if is_number && word.starts_with('(') => "(+0".to_owned(),
        Some("GB" | "TB") if is_number => "00.00".to_owned(),
        Some("minute" | "minutes" | "hour" | "hours") if is_number => "00".to_owned(),
        // Not every version of the server, or of hubvault, has as many.
        Some("second" | "seconds" | "statements" | "other" | "settings") if is_number => {
            "0".to_owned()
        }
        Some("B" | "kB" | "MB") if is_number => zeros(word),
        _ if is_time => zeros(word),
        _ if word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit()) => "0".repeat(32),
        _ if word.contains("critical_backup_2027") => of_archive(word),
        _ if word.starts_with("20")
            && !word.starts_with("2027")
            && word.matches('-').count() == 2 =>
        {
            zeros(word)
        }
        _ => word.to_owned(),
    }
}

/// The day stays in the name of an archive.
fn of_archive(word: &str) -> String {
    let (before, name) = word.split_once("critical_backup_2027").unwrap();
    let (day, time) = name.split_at(name.len().min(5));
    format!("{before}critical_backup_2027{day}{}", zeros(time))
}

fn zeros(word: &str) -> String {
    let zero = |c: char| if c.is_ascii_digit() { '0' } else { c };
    word.chars().map(zero).collect()
}

/// `PostgreSQL 15.20 (Debian 15.20-0+deb12u1)` without its numbers.
fn without_version(line: &str) -> String {
    let Some((before, after)) = line.split_once("PostgreSQL ") else {
        return line.to_owned();
    };
    let number = after
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(after.len());
    if number == 0 {
        return line.to_owned();
    }
    let after = &after[number..];
    let rest = match after
        .strip_prefix(" (Debian")
        .and_then(|more| more.split_once(')'))
    {
        Some((_, rest)) => rest,
        None => after,
    };
    format!("{before}PostgreSQL 00.00{rest}")
}
