//! The standard streams of a child process, written and read at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ExitStatus};

/// Writes and reads all three streams at once: a full pipe on one would stop the others. What `read` leaves of the output
/// is passed over.
pub(crate) fn talk<T>(
    child: &mut Child,
    input: &[u8],
    read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<(ExitStatus, T, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not want all of its input closes the pipe.
            stdin.map(|mut pipe| pipe.write_all(input))
        });
        let errors = scope.spawn(move || stderr.map_or_else(|| Ok(Vec::new()), messages));
        let output = match stdout {
            Some(mut pipe) => {
                let output = read(&mut pipe)?;
                io::copy(&mut pipe, &mut io::sink())?;
                output
            }
            None => read(&mut io::empty())?,
        };
        let errors = errors.join().unwrap_or_else(|_| Ok(Vec::new()))?;
        Ok((child.wait()?, output, errors))
    })
}

/// What a program writes on its standard error. Of the lines in which a `pg_restore` names one object after the other,
/// one stays for all that follow each other: a database may have very many.
fn messages(pipe: impl Read) -> io::Result<Vec<u8>> {
    let mut pipe = BufReader::new(pipe);
    let (mut text, mut line) = (Vec::new(), Vec::new());
    let mut is_progress = false;
    while pipe.read_until(b'\n', &mut line)? > 0 {
        let was_progress = std::mem::replace(&mut is_progress, names_object(&line));
        if !(was_progress && is_progress) {
            text.extend_from_slice(&line);
        }
        line.clear();
    }
    Ok(text)
}

fn names_object(line: &[u8]) -> bool {
    let kinds: [&[u8]; 5] = [
        b"creating ",
        b"executing ",
        b"launching ",
        b"finished ",
        b"processing ",
    ];
    let said = line.strip_prefix(b"pg_restore: ");
    said.is_some_and(|said| kinds.iter().any(|kind| said.starts_with(kind)))
}

#[cfg(test)]
mod tests {
    use super::messages;

    #[test]
    fn lines_that_name_objects_become_one_and_no_other_is_lost() {
        let said = "pg_restore: connecting to database for restore\n\
                    pg_restore: creating TABLE \"public.a\"\n\
                    pg_restore: creating TABLE \"public.b\"\n\
                    pg_restore: while PROCESSING TOC:\n\
                    pg_restore: from TOC entry 3; 1259 1 TABLE c o\n\
                    pg_restore: error: could not execute query: ERROR:  no\n\
                    DETAIL:  why\n\
                    pg_restore: creating TABLE \"public.d\"\n\
                    pg_restore: executing SEQUENCE SET s\n\
                    DETAIL:  of another\n\
                    pg_restore: creating TABLE \"public.e\"\n\
                    pg_restore: warning: errors ignored on restore: 1";
        let kept = messages(said.as_bytes()).unwrap();
        let lines = said.lines().enumerate();
        let expected = lines.filter(|(at, _)| ![2, 8].contains(at));
        let expected: Vec<&str> = expected.map(|(_, line)| line).collect();
        assert_eq!(
            String::from_utf8(kept).unwrap().lines().collect::<Vec<_>>(),
            expected
        );
    }
}
