"""Reads one entry of a gzip archive, written from docs/archive-format.md alone.

usage: reader.py ARCHIVE ENTRY
"""
import hashlib
import json
import struct
import sys
import zlib

TRAILER = 86
READ = 0


def read(file, offset, length):
    global READ
    file.seek(offset)
    data = file.read(length)
    assert len(data) == length, "the file is too short"
    READ += length
    return data


def members(data):
    out = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        out += member.decompress(data)
        assert member.eof, "a member is cut short"
        data = member.unused_data
    return out


def tar_content(tar):
    name = tar[0:100].rstrip(b"\0").decode()
    size = int(tar[124:135], 8)
    return name, tar[512 : 512 + size]


with open(sys.argv[1], "rb") as file:
    end = file.seek(0, 2)
    trailer = read(file, end - TRAILER, TRAILER)
    assert trailer[:4] == b"\x1f\x8b\x08\x04" and trailer[12:14] == b"HV"
    payload = trailer[16:76]
    magic, version, offset, length = struct.unpack("<4sB3xQQ", payload[:24])
    assert magic == b"HVLT" and version == 1
    assert zlib.crc32(payload[:56]) == struct.unpack("<I", payload[56:])[0]
    tail = read(file, offset, length)
    assert hashlib.sha256(tail).digest() == payload[24:56]
    name, text = tar_content(members(tail))
    assert name == "manifest.json"
    manifest = json.loads(text)
    entry = next(e for e in manifest["entries"] if e["name"] == sys.argv[2])
    stored = read(file, entry["offset"], entry["stored_bytes"])
    assert hashlib.sha256(stored).hexdigest() == entry["stored_sha256"]
    name, content = tar_content(members(stored))
    assert name == entry["name"]
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    data = entry["rows"]
    rows = content[data["header_bytes"] : len(content) - data["footer_bytes"]]
    assert rows.count(b"\n") == data["rows"]
    json.dump({"content": content.decode(), "rows": rows.count(b"\n"), "bytes_read": READ}, sys.stdout)
