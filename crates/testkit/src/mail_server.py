#!/usr/bin/env python3
"""A real mail server for the tests: aiosmtpd, which does on order what servers do on bad days.

mail_server.py serve OPTIONS    listens on a free port of loopback, prints it, ends with its standard input
mail_server.py parts FILE DIR   takes a message apart: prints JSON, writes the attachments into DIR
"""

import asyncio
import email
import email.policy
import json
import logging
import os
import ssl
import sys
import threading


def parts(file, directory):
    """The message as a mail program sees it."""
    with open(file, "rb") as source:
        message = email.message_from_binary_file(source, policy=email.policy.default)
    bodies = {"text/plain": None, "text/html": None}
    attachments = []
    for part in message.walk():
        if part.is_multipart():
            continue
        if part.get_content_disposition() == "attachment":
            path = os.path.join(directory, f"attachment-{len(attachments)}")
            with open(path, "wb") as out:
                out.write(part.get_payload(decode=True))
            attachments.append({
                "name": part.get_filename(),
                "content_type": part.get_content_type(),
                "path": path,
            })
        elif part.get_content_type() in bodies:
            bodies[part.get_content_type()] = part.get_content()
    json.dump({
        "headers": [[name, str(value)] for name, value in message.items()],
        "shape": [part.get_content_type() for part in message.walk()],
        "text": bodies["text/plain"],
        "html": bodies["text/html"],
        "attachments": attachments,
        "defects": [repr(defect) for part in message.walk() for defect in part.defects],
    }, sys.stdout)


async def serve(options):
    from aiosmtpd.smtp import SMTP, AuthResult

    state = {"busy": options["busy_first"], "stored": 0}
    fault = options["fault"]

    def keep(envelope, write):
        """Writes message and envelope, the envelope last: where it is, the message is whole."""
        number = state["stored"] = state["stored"] + 1
        path = os.path.join(options["directory"], f"{number:06}")
        with open(path + ".eml", "wb") as out:
            write(out)
        with open(path + ".part", "w", encoding="utf-8") as out:
            json.dump({"from": envelope.mail_from, "to": envelope.rcpt_tos,
                       "options": envelope.mail_options}, out)
        os.rename(path + ".part", path + ".json")
        return f"250 2.0.0 OK: queued as {number}"

    async def verdict(server, envelope, write):
        if state["busy"] > 0:
            state["busy"] -= 1
            return "451 4.3.2 please try again later"
        if options["refuse_attachments"] and b"Content-Disposition: attachment" in (envelope.original_content or b""):
            return options["refuse_attachments"]
        if fault == "refuse-data":
            return "554 5.7.1 this message is not wanted here"
        answer = keep(envelope, write)
        if fault == "cut-after-data":
            server.transport.abort()
        if fault == "stall-after-data":
            await asyncio.Event().wait()
        return answer

    class Handler:
        async def handle_MAIL(self, server, session, envelope, address, mail_options):
            if address in options["refuse"]:
                return "550 5.7.1 this sender is not known here"
            envelope.mail_from = address
            envelope.mail_options.extend(mail_options)
            return "250 2.1.0 sender OK"

        async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
            if address in options["refuse"]:
                return "550 5.1.1 no such mailbox"
            if address in options["defer"]:
                return "450 4.2.1 the mailbox is busy"
            envelope.rcpt_tos.append(address)
            return "250 2.1.5 recipient OK"

        async def handle_DATA(self, server, session, envelope):
            return await verdict(server, envelope,
                                 lambda out: out.write(envelope.original_content))

    class Server(SMTP):
        async def _handle_client(self):
            if fault == "stall":
                await asyncio.Event().wait()
            while fault == "dribble":
                self._writer.write(b"2")
                await self._writer.drain()
                await asyncio.sleep(0.02)
            if fault == "closing":
                await self.push("421 4.3.2 shutting down")
                self.transport.close()
                return
            await super()._handle_client()

        async def smtp_DATA(self, arg):
            if fault == "cut-in-data":
                await self.push("354 go ahead")
                await self._reader.readuntil(b"\r\n")
                self.transport.abort()
            elif fault == "refuse-in-data":
                await self.push("354 go ahead")
                await self._reader.readuntil(b"\r\n")
                await self.push("552 5.3.4 this is too much")
                # What still comes is taken and thrown away, so that the answer is not lost with it.
                while await self._reader.read(1 << 16):
                    pass
            elif fault == "stall-in-data":
                await self.push("354 go ahead")
                self.transport.pause_reading()
                await asyncio.Event().wait()
            elif fault == "blocks":
                await self.blocks()
            else:
                if options["shrink"]:
                    os.truncate(options["shrink"], 1)
                await super().smtp_DATA(arg)

        async def blocks(self):
            """Takes DATA in blocks and not in lines, for what is large; leaves the doubled dots."""
            await self.push("354 go ahead")
            spool = os.path.join(options["directory"], "spool")
            tail = b""
            with open(spool, "wb") as out:
                while not tail.endswith(b"\r\n.\r\n"):
                    block = await self._reader.read(1 << 16)
                    if not block:
                        return
                    out.write(block)
                    tail = (tail + block)[-5:]
                out.truncate(out.tell() - 3)

            def move(out):
                os.replace(spool, out.name)

            answer = await verdict(self, self.envelope, move)
            self._set_post_data_state()
            await self.push(answer)

    def authenticator(server, session, envelope, mechanism, data):
        known = [data.login.decode(), data.password.decode()] == options["auth"]
        return AuthResult(success=known, handled=False)

    context = None
    if options["tls"] != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"], options["key"])

    loop = asyncio.get_running_loop()

    def factory():
        return Server(
            Handler(),
            data_size_limit=options["size_limit"],
            enable_SMTPUTF8=options["utf8"],
            hostname="mail.test",
            tls_context=context if options["tls"] == "starttls" else None,
            auth_required=options["auth"] is not None,
            auth_require_tls=options["tls"] == "starttls",
            auth_exclude_mechanism=options["no_mechanism"],
            authenticator=authenticator,
            loop=loop,
        )

    implicit = context if options["tls"] == "implicit" else None
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=implicit)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def end_with_parent():
    """Standard input is a pipe that only the test holds: it ends when the test does, however that ends."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "parts":
        parts(sys.argv[2], sys.argv[3])
    else:
        # It says much about connections that end badly, which is what the tests are about.
        logging.disable(logging.CRITICAL)
        threading.Thread(target=end_with_parent, daemon=True).start()
        asyncio.run(serve(json.loads(sys.argv[2])))
