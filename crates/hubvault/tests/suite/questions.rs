//! A program on a terminal, and somebody who answers its questions.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// Starts `program` on a terminal of its own and answers each question once it is asked; what the terminal showed is its
/// standard output.
const PROGRAM: &str = r#"
import json, os, pty, select, sys, termios, time
end = time.monotonic() + 300
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen, start = b"", 0
while True:
    if not select.select([terminal], [], [], 120)[0]:
        os.kill(pid, 9)
        sys.exit("nothing came; waited for %r after %s" % (steps[:1], seen.decode(errors="replace")))
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
    while steps and (at := seen.find(steps[0][0].encode(), start)) >= 0:
        start = at + len(steps[0][0].encode())
        # What is typed before the program reads may be thrown away.
        while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < end:
            time.sleep(0.01)
        os.write(terminal, steps.pop(0)[1].encode())
_, status = os.waitpid(pid, 0)
sys.stdout.write(seen.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(status) if not steps else "never asked: %r" % steps)
"#;

/// The command on a terminal, with these answers: a part of each question, and what is typed.
pub(crate) fn answer(command: &Command, answers: &[(&str, &str)]) -> Output {
    let mut terminal = Command::new("python3");
    terminal
        .args(["-c", PROGRAM])
        .arg(serde_json::to_string(answers).unwrap())
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .env("TERM", "xterm");
    for (name, value) in command.get_envs() {
        terminal.env(name, value.unwrap_or(OsStr::new("")));
    }
    terminal.current_dir(command.get_current_dir().unwrap());
    terminal.output().unwrap()
}
