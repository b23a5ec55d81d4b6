//! Plain text for people: aligned columns, numbers that can be read, durations.

use crate::screen;
pub(crate) use crate::screen::{Align, Meaning, bullets, columns, grid, paint, paragraph};
pub(crate) use hubvault_model::grouped;
use hubvault_model::{counted, one_line, printable};
pub(crate) use hubvault_service::logging::{chain, complain};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// Linux: what a terminal answers that was closed.
const EIO: i32 = 5;

/// A moment in a table whose title [`in_zone`] names the zone of.
pub(crate) fn local(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    local.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The title of a column of moments: `started (Europe/Berlin)`. The names of archives have their moment in the same zone.
pub(crate) fn in_zone(title: &str, zone: &TimeZone) -> String {
    if let Some(name) = zone.iana_name() {
        return format!("{title} ({})", name.trim_start_matches("Etc/"));
    }
    // One that is only an offset, or a file without a name.
    format!("{title} (UTC{})", zone.to_offset(Timestamp::now()))
}

/// Writes to standard output, in colours where [`paint`] marked it; what could move a terminal's cursor is written out.
/// That nobody reads on (`| head`), or that the terminal is gone, is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    write_out(&screen::coloured(&printable(text)))
}

/// The same for programs: nothing in it has a colour.
pub(crate) fn print_data(text: &str) -> io::Result<()> {
    write_out(&printable(text))
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes());
    unless_nobody_reads(written.and_then(|()| out.flush()))
}

fn unless_nobody_reads(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.raw_os_error() == Some(EIO) => Ok(()),
        outcome => outcome,
    }
}

/// The same for data that is too much to hold: `write` writes it piece by piece. A program gets it as it is.
pub(crate) fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let out = io::stdout().lock();
    let mut out = io::BufWriter::new(Lines {
        is_terminal: out.is_terminal(),
        out,
        begun: Vec::new(),
    });
    unless_nobody_reads(write(&mut out).and_then(|()| out.flush()))
}

/// Lines on their way to a terminal, written out as [`print()`] does.
struct Lines<W> {
    out: W,
    is_terminal: bool,
    /// The line that is not whole yet.
    begun: Vec<u8>,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.out.write(bytes);
        }
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.begun.split_off(end + 1);
            self.flush()?;
            self.begun = rest;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.begun).into_owned();
        self.begun.clear();
        self.out.write_all(printable(&text).as_bytes())?;
        self.out.flush()
    }
}

/// Something of a line whose text comes from outside, such as a name.
pub(crate) fn plain(of: impl std::fmt::Display) -> String {
    one_line(&of.to_string()).into_owned()
}

/// The planner's estimate, or that there is none.
pub(crate) fn about(rows: Option<u64>) -> String {
    rows.map_or_else(|| "?".to_owned(), grouped)
}

/// The same with its noun: `about 1 row`, `rows not counted`.
pub(crate) fn about_rows(rows: Option<u64>) -> String {
    let about = |rows| format!("about {}", counted(rows, "row"));
    rows.map_or_else(|| "rows not counted".to_owned(), about)
}

/// A limit in its largest whole unit: `30 min`, `90 s`.
pub(crate) fn limit(of: Duration) -> String {
    match of.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// `4.2 s`, `3 min 20 s`.
pub(crate) fn duration(from: Timestamp, to: Timestamp) -> String {
    seconds(to.duration_since(from))
}

fn seconds(span: SignedDuration) -> String {
    let total = span.as_secs_f64().max(0.0);
    if total < 60.0 {
        format!("{total:.1} s")
    } else {
        format!("{} min {} s", (total / 60.0) as u64, (total % 60.0) as u64)
    }
}

/// `2h`, `30 min`, `3 days`; at most a year.
pub(crate) fn time_span(text: &str) -> Result<SignedDuration, String> {
    let days = |text: &str| {
        let endings = ["days", "day", "d"];
        let number = endings
            .iter()
            .find_map(|ending| text.strip_suffix(ending))?;
        let days: i64 = number.trim().parse().ok()?;
        Some(SignedDuration::from_hours(days.checked_mul(24)?))
    };
    let span = days(text).or_else(|| text.parse().ok());
    span.filter(|span| !span.is_negative() && span.as_hours() <= 24 * 366)
        .ok_or_else(|| "expected a time such as `30 min`, `2h` or `3d`, at most a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(seconds(SignedDuration::from_millis(1_260)), "1.3 s");
        assert_eq!(seconds(SignedDuration::from_secs(200)), "3 min 20 s");
    }

    #[test]
    fn times_have_units() {
        for (text, hours) in [
            ("2h", 2),
            ("120 min", 2),
            ("3d", 72),
            ("1 day", 24),
            ("0s", 0),
        ] {
            assert_eq!(time_span(text).unwrap().as_hours(), hours, "{text}");
        }
        for bad in ["", "two hours", "-1h", "400d", "5"] {
            assert!(time_span(bad).is_err(), "{bad}");
        }
    }
}
