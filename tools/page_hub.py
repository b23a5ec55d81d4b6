#!/usr/bin/env python3
"""A sample hub with backups that are not sealed, its service with the page, and a user who was deleted since.

page_hub.py HUBVAULT DIRECTORY COMMAND...    runs the command in DIRECTORY, with what it has to know in the environment

ADDRESS is that of the page, TOKEN and READ_TOKEN are tokens of the roles admin and read, DELETED_USER is the address of
the user who is in the backups only. SET_UP_ADDRESS is that of a service without configuration, SET_UP_TOKEN its token;
DATABASE_PORT is the port of the database. Needs PostgreSQL's programs. Nothing leaves this machine.
"""

import os
import pathlib
import subprocess
import sys
import time
import urllib.request

from pictures import FEW_USERS, Database, fill, free_port

CONFIG = """
[scope]
tables = ["users", "user_roles", "exchange_rates", "system_settings", "roles", "permissions", "role_permissions"]

[[scope.window]]
tables = ["credit_transactions", "point_transactions", "purchases"]
column = "created_at"
length = "3 months"

[[file]]
source = "app.env"
"""
# Who hangs on nobody else.
ONE = "(SELECT id FROM users u WHERE NOT EXISTS (SELECT FROM users i WHERE i.invited_by = u.id) ORDER BY id LIMIT 1)"
TABLES = ["credit_transactions", "point_transactions", "purchases", "payments", "credit_accounts", "point_accounts",
          "user_roles"]


def query(database, text):
    """One value."""
    connection = ["-h", "127.0.0.1", "-p", str(database.port), "-U", "postgres", "-d", "hub"]
    return subprocess.run(["psql", *connection, "-At", "-c", text], check=True, capture_output=True, text=True).stdout.strip()


def answers(address, service):
    """Waits until the service answers."""
    for _ in range(600):
        if service.poll() is not None:
            sys.exit("hubvault serve ended")
        try:
            urllib.request.urlopen(urllib.request.Request(f"{address}/login", headers={"Accept": "text/html"})).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("hubvault serve does not answer")


def unconfigured(hubvault, work):
    """A service that nothing is configured for, its address and its token."""
    token = "a-token-of-the-set-up-page-for-tests"
    directory = work / "set-up"
    directory.mkdir()
    (directory / "token").write_text(token)
    port = free_port()
    variables = {
        "PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8", "HTTP_ADDR": f"127.0.0.1:{port}",
        "HTTP_FIRST_TOKEN_FILE": str(directory / "token"), "HUBVAULT_CONFIG": str(directory / "hubvault.toml"),
    }
    with open(directory / "service.log", "w") as log:
        service = subprocess.Popen([hubvault, "serve"], cwd=directory, env=variables, stdout=log, stderr=log)
    answers(f"http://127.0.0.1:{port}", service)
    return service, {"SET_UP_ADDRESS": f"http://127.0.0.1:{port}", "SET_UP_TOKEN": token}


def main():
    hubvault, work = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    database = Database(work / "server")
    database.start()
    services = []
    try:
        fill(database, FEW_USERS)
        (work / "config").mkdir()
        (work / "config/hubvault.toml").write_text(CONFIG)
        (work / "config/app.env").write_text("LISTEN=443\nAPI_TOKEN=8f14e45fceea167a5a36dedd4bea2543\n")
        variables = {
            "PATH": os.environ["PATH"], "HOME": str(work), "LANG": "C.UTF-8", "EMAIL_ENABLED": "false",
            "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(database.port), "POSTGRES_DB": "hub",
            "POSTGRES_USER": "postgres", "BACKUP_DIR": str(work / "backups"), "CONFIG_DIR": str(work / "config"),
            "HTTP_RESTORE_LIVING": "true",
        }

        def run(*command, **more):
            return subprocess.run([hubvault, *command], cwd=work, env=variables | more, capture_output=True, text=True)

        run("backup", "--no-progress")
        database.psql("hub", "UPDATE exchange_rates SET rate = rate * 1.01")
        run("backup", "--no-progress")
        # One that fails, and a good one after it.
        run("backup", "--no-progress", POSTGRES_PORT="1", BACKUP_CONNECT_ATTEMPTS="1")
        last = run("backup", "--no-progress")
        if last.returncode not in (0, 3):
            sys.exit(f"no backup: {last.stderr}")
        email = query(database, f"SELECT email FROM users WHERE id = {ONE}")
        gone = f"CREATE TEMP TABLE gone AS SELECT {ONE} AS id;"
        deletes = [f"DELETE FROM {table} WHERE user_id IN (SELECT id FROM gone);" for table in TABLES]
        database.psql("hub", gone + "".join(deletes) + "DELETE FROM users WHERE id IN (SELECT id FROM gone)")
        tokens = [run("token", "create", name, "--role", role).stdout.strip() for name, role in [("ada", "admin"), ("ben", "read")]]
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with open(work / "service.log", "w") as log:
            services.append(subprocess.Popen([hubvault, "serve"], cwd=work, env=variables | {"HTTP_ADDR": f"127.0.0.1:{port}"},
                                             stdout=log, stderr=log))
        answers(address, services[0])
        new, told = unconfigured(hubvault, work)
        services.append(new)
        told |= {"ADDRESS": address, "TOKEN": tokens[0], "READ_TOKEN": tokens[1], "DELETED_USER": email,
                 "DATABASE_PORT": str(database.port)}
        code = subprocess.run(sys.argv[3:], cwd=work, env=os.environ | told).returncode
    finally:
        for service in services:
            service.terminate()
            service.wait()
        database.stop()
    sys.exit(code)


if __name__ == "__main__":
    main()
