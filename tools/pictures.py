#!/usr/bin/env python3
"""Makes docs/pictures from the product itself: a terminal with a real backup, and the mail that it sent.

pictures.py HUBVAULT DIRECTORY
pictures.py HUBVAULT DIRECTORY --screens    every screen with 80 and 120 columns, light and dark, to be looked at

Starts a PostgreSQL of its own, fills it with the sample of `hubvault demo`, runs hubvault on a pseudo terminal,
receives its mail on loopback and draws what was printed. Needs PostgreSQL's programs, age and chromium. Nothing leaves
this machine.
"""

import email
import email.policy
import os
import pathlib
import pwd
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading

from terminal import DARK, LIGHT, run_on_terminal, svg

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 112
LARGEST = 150_000
USERS = 50_000
# As many make a run short enough to be looked at ten times.
FEW_USERS = 2_000
CONFIG = """
[scope]
tables = ["users", "user_roles", "exchange_rates", "system_settings", "roles", "permissions", "role_permissions"]

[[file]]
source = "nginx.prod.conf"
"""


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as receiving one message needs."""

    def handle(self):
        self.reply("220 mail.hub.example")
        while line := self.rfile.readline().decode().strip().upper():
            if line.startswith("EHLO"):
                self.reply("250 mail.hub.example")
            elif line == "DATA":
                self.reply("354 go on")
                self.server.messages.append(self.message())
                self.reply("250 kept")
            elif line == "QUIT":
                self.reply("221 bye")
                return
            else:
                self.reply("250 yes")

    def reply(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def message(self):
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        return email.message_from_bytes(b"".join(lines), policy=email.policy.default)


def programs():
    """The directory of the newest PostgreSQL server programs."""
    if found := shutil.which("initdb"):
        return pathlib.Path(found).parent
    return max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def free_port():
    """PostgreSQL's own port, as it is in the picture; another one where that is taken."""
    for wanted in [5432, 0]:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return listener.getsockname()[1]


class Database:
    """A PostgreSQL in a directory of its own, on loopback."""

    def __init__(self, directory):
        self.directory, self.bin, self.port = directory, programs(), free_port()
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        directory.mkdir(mode=0o755)
        shutil.chown(directory, self.user)

    def run(self, *command, **more):
        subprocess.run(command, check=True, user=self.user, cwd=self.directory, stdout=subprocess.DEVNULL, **more)

    def start(self):
        data = str(self.directory / "data")
        self.run(self.bin / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8")
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories= -c fsync=off"
        self.run(self.bin / "pg_ctl", "-D", data, "-o", options, "-l", str(self.directory / "log"), "-w", "start")

    def psql(self, database, text):
        connection = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database]
        self.run("psql", *connection, "-v", "ON_ERROR_STOP=1", "-q", input=text, text=True)

    def stop(self):
        self.run(self.bin / "pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "stop")


def fill(database, users):
    """The sample, and a role that can only read."""
    sample = (ROOT / "crates/hubvault/src/cli/demo/hub.sql").read_text()
    role = "CREATE ROLE backup LOGIN BYPASSRLS; GRANT pg_read_all_data TO backup"
    database.psql("postgres", f"CREATE DATABASE hub; {role}")
    database.psql("hub", sample.replace("{{users}}", str(users)))


def environment(work, hubvault, postgres, smtp):
    """hubvault's variables, as an administrator would export them."""
    key = work / "ada.txt"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, stderr=subprocess.DEVNULL)
    public = subprocess.run(["age-keygen", "-y", str(key)], check=True, capture_output=True, text=True).stdout
    (work / "config").mkdir()
    (work / "config/hubvault.toml").write_text(CONFIG)
    (work / "config/nginx.prod.conf").write_text("listen 443 ssl;\n")
    return {
        "PATH": f"{hubvault.parent}:{os.environ['PATH']}", "HOME": str(work),
        "TERM": "xterm-256color", "LANG": "C.UTF-8",
        "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(postgres), "POSTGRES_DB": "hub", "POSTGRES_USER": "backup",
        "BACKUP_DIR": "backups", "CONFIG_DIR": "config", "BACKUP_RECIPIENTS": public.strip(),
        "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(smtp), "SMTP_SECURITY": "none",
        "SMTP_FROM": "hubvault <backup@hub.example>", "ADMIN_EMAILS": "ada@hub.example",
    }


def screens(work, variables):
    """A prompt and what followed, for each command."""
    lines = []
    for command in ["hubvault backup", "hubvault status"]:
        lines += [f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m"]
        lines += run_on_terminal(command.split(), work, variables, COLUMNS) + [""]
        # Ada shows that her key opens the archive; without that, status reports a risk.
        subprocess.run("hubvault show latest --identity ada.txt".split(), cwd=work, env=variables, check=True,
                       stdout=subprocess.DEVNULL)
    return lines[:-1]


def each_screen(work, variables, database, directory):
    """What people look at every day, on a day on which something is wrong."""
    def run(command, **more):
        subprocess.run(command.split(), cwd=work, env=variables | more, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    run("hubvault backup")
    run("hubvault show latest --identity ada.txt")
    run("hubvault backup", POSTGRES_DB="hbu")
    run("hubvault backup")
    database.psql("hub", "DELETE FROM user_roles; UPDATE users SET email = 'x' || email WHERE id IN (SELECT id FROM users LIMIT 3)")
    run("hubvault check --alert", POSTGRES_DB="hub", BACKUP_MAX_AGE_HOURS="1")
    for columns in [80, 120]:
        for name in ["backup", "status", "list", "check", "diff"]:
            command = f"hubvault {name}" + (" latest --identity ada.txt" if name == "diff" else "")
            lines = run_on_terminal(command.split(), work, variables | {"POSTGRES_DB": "hub"}, columns)
            for theme, colours in [("dark", DARK), ("light", LIGHT)]:
                picture = directory / f"{name}-{columns}-{theme}"
                page = work / "screen.svg"
                page.write_text(svg(lines, columns, colours))
                # Of a lower window chromium draws only a part.
                height = max(160, 40 + 19 * len(lines))
                chromium(work, page, picture.with_suffix(".png"), f"{40 + round(columns * 8.4)},{height}")


def photograph(work, message, picture):
    """The HTML of a message."""
    page = work / "mail.html"
    page.write_text(message.get_body(("html",)).get_content())
    chromium(work, page, picture, "760,1290")


def chromium(work, page, picture, size):
    """A page in a headless Chromium."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--window-size={size}",
               "--blink-settings=preferredColorScheme=1", f"--user-data-dir={work / 'profile'}"]
    subprocess.run(["chromium", *options, f"--screenshot={picture}", page.as_uri()],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make(work, hubvault, directory, of_screens):
    """Both pictures, or those of each screen."""
    database = Database(work / "server")
    mailbox = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox)
    mailbox.messages = []
    threading.Thread(target=mailbox.serve_forever, daemon=True).start()
    database.start()
    try:
        fill(database, FEW_USERS if of_screens else USERS)
        variables = environment(work, hubvault, database.port, mailbox.server_address[1])
        if of_screens:
            each_screen(work, variables, database, directory)
            return
        lines = screens(work, variables)
    finally:
        database.stop()
        mailbox.shutdown()
    (directory / "terminal.svg").write_text(svg(lines, COLUMNS))
    photograph(work, mailbox.messages[0], directory / "mail.png")
    for picture in ["terminal.svg", "mail.png"]:
        size = (directory / picture).stat().st_size
        if size > LARGEST:
            sys.exit(f"{picture} has {size} bytes, more than {LARGEST}")
        print(f"{directory / picture}: {size} bytes")


def main():
    of_screens = sys.argv[3:] == ["--screens"]
    hubvault, directory = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        # The server's user must get through.
        os.chmod(work, 0o755)
        make(pathlib.Path(work), hubvault, directory, of_screens)


if __name__ == "__main__":
    main()
