"""A server of SFTP that lies: hostile.py MODE FILE. What is to be changed on it is a line in FILE."""

import struct
import sys
import time

MODE, ASKED = sys.argv[1:3]
DIRECTORY, FILE, LINK = 0o40700, 0o100600, 0o120777
NAMES = {
    "names": [
        "../../etc/passwd", "a/../../x", "a/b", "/etc/shadow", "", "..", "x\0y", "esc\x1b[31m", "two\nlines",
        "a/../../victim." + "0" * 32 + ".new", "good",
    ],
    "links": ["link"],
}
came, out = sys.stdin.buffer, sys.stdout.buffer


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">I", len(value)) + value


def attributes(kind, size):
    # Size, user and group, permissions, times: of a file that is very old.
    return struct.pack(">IQIIIII", 15, size, 0, 0, kind, 1, 1)


def send(kind, number, body=b""):
    packet = bytes([kind]) + struct.pack(">I", number) + body
    out.write(struct.pack(">I", len(packet)) + packet)
    out.flush()


def status(number, code, why="said so"):
    send(101, number, struct.pack(">I", code) + text(why) + text(""))


def names(number, all_names, kind=FILE):
    body = b"".join(text(name) + text("") + attributes(kind, 5) for name in all_names)
    send(104, number, struct.pack(">I", len(all_names)) + body)


def read_exactly(count):
    data = came.read(count)
    if len(data) < count:
        sys.exit()
    return data


def read_dir(number, nth):
    if MODE == "endless":
        names(number, ["%05d" % nth + "n" * 60_000] * 16)
    elif MODE == "empty":
        names(number, [])
    elif nth:
        status(number, 1)
    else:
        names(number, NAMES.get(MODE, ["file"]), LINK if MODE == "links" else FILE)


def read(number, offset, length):
    if MODE == "short" and offset >= 100:
        status(number, 1)
    elif MODE == "short":
        send(103, number, text(b"x" * min(length, 100 - offset)))
    elif MODE == "long":
        send(103, number, text(b"x" * (length + 10)))
    elif MODE == "drip":
        time.sleep(0.02)
        send(103, number, text(b"x"))
    elif MODE == "nothing":
        send(103, number, text(b""))
    else:
        send(103, number, text(b"x" * length))


def size():
    return {"huge": 1 << 63, "short": 1 << 20, "long": 1 << 20, "drip": 1 << 20, "nothing": 1 << 20}.get(MODE, 5)


def kind_of(path):
    last = path.rsplit(b"/", 1)[-1]
    if last in (b"file", b"good", b"link"):
        return LINK if MODE == "links" else FILE
    return DIRECTORY


def serve():
    read_dirs = 0
    while True:
        packet = read_exactly(struct.unpack(">I", read_exactly(4))[0])
        kind, number = packet[0], struct.unpack(">I", packet[1:5])[0]
        if kind == 1:
            extensions = text("limits@openssh.com") + text("1") if MODE == "tiny" else b""
            packet = bytes([2]) + struct.pack(">I", 3) + extensions
            out.write(struct.pack(">I", len(packet)) + packet)
            out.flush()
            if MODE == "flood":
                out.write(b"\xff" * 8)
                out.flush()
            continue
        length = struct.unpack(">I", packet[5:9])[0] if len(packet) >= 9 else 0
        named, rest = packet[9:9 + length], packet[9 + length:]
        if kind in (3, 11):
            send(102, number, text("handle"))
        elif kind == 4:
            status(number, 0)
        elif kind == 5:
            read(number, *struct.unpack(">QI", rest[:12]))
        elif kind in (7, 17):
            send(105, number, attributes(kind_of(named), size()))
        elif kind == 8:
            send(105, number, attributes(FILE, size()))
        elif kind == 12:
            read_dir(number, read_dirs)
            read_dirs += 1
        elif kind == 200 and MODE == "tiny":
            send(201, number, struct.pack(">QQQQ", 0, 1, 1, 0))
        elif kind in (6, 13, 14, 15, 18):
            with open(ASKED, "ab") as file:
                file.write(b"%d %r\n" % (kind, named))
            status(number, 0)
        else:
            status(number, 8)


serve()
