"""A command on a pseudo terminal, and its last screen as SVG."""

import fcntl
import html
import os
import pty
import re
import select
import struct
import subprocess
import termios

ROWS = 200
SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
# Width and height of a character, in units of the picture.
WIDTH, HEIGHT, MARGIN = 8.4, 19, 18
DARK = {"text": "#e6edf3", "background": "#0d1117", "dim": "#8b949e",
        31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#76e3ea"}
# As a terminal that comes with its system has them on white, without a theme that somebody chose with care.
LIGHT = {"text": "#000000", "background": "#ffffff", "dim": "#666666",
         31: "#990000", 32: "#00a600", 33: "#999900", 34: "#0000b2", 35: "#b200b2", 36: "#00a6b2"}
# Renderers differ in which plain spaces they keep.
SPACE = "\u00a0"


def run_on_terminal(command, directory, variables, columns):
    """The lines that stand on the terminal when the command has ended, with their colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    child = subprocess.Popen(command, cwd=directory, env=variables, stdin=theirs, stdout=theirs, stderr=theirs,
                             start_new_session=True)
    os.close(theirs)
    printed = b""
    while True:
        select.select([ours], [], [], 60)
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: nobody has the other end any more
            break
        if not piece:
            break
        printed += piece
    os.close(ours)
    child.wait()
    return Screen(printed.decode()).lines()


class Screen:
    """Cells with a character and its style: as much of a terminal as a progress bar needs."""

    def __init__(self, printed):
        self.rows, self.row, self.column, self.style = [[]], 0, 0, ""
        position = 0
        while position < len(printed):
            if sequence := SEQUENCE.match(printed, position):
                self.control(sequence[1], sequence[2])
                position = sequence.end()
            else:
                self.character(printed[position])
                position += 1

    def character(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            while len(self.rows) <= self.row:
                self.rows.append([])
        elif character >= " ":
            row = self.rows[self.row]
            row.extend([(" ", "")] * (self.column + 1 - len(row)))
            row[self.column] = (character, self.style)
            self.column += 1

    def control(self, numbers, letter):
        number = int(numbers) if numbers.isdigit() else 1
        if letter == "m":
            self.style = "" if numbers in ("", "0") else f"{self.style};{numbers}".strip(";")
        elif letter == "A":
            self.row = max(0, self.row - number)
        elif letter == "B":
            self.row += number
        elif letter == "K":
            row = self.rows[self.row]
            del row[0 if numbers == "2" else self.column:]
        elif letter == "J":
            del self.rows[self.row + 1:]
            del self.rows[self.row][self.column:]

    def lines(self):
        """Texts with the sequences that colour them, without empty lines at the end."""
        lines = []
        for row in self.rows:
            text, before = "", ""
            for character, style in row:
                if style != before:
                    text += f"\x1b[0m\x1b[{style}m" if style else "\x1b[0m"
                    before = style
                text += character
            lines.append(text.rstrip())
        while lines and not lines[-1]:
            lines.pop()
        return lines


def pieces(line):
    """Column, text and style of each piece of a line."""
    column, style, position = 0, [], 0
    while position < len(line):
        if sequence := SEQUENCE.match(line, position):
            numbers = [int(n) for n in sequence[1].split(";") if n]
            style = [] if not numbers or numbers == [0] else style + numbers
            position = sequence.end()
            continue
        end = line.find("\x1b", position)
        text = line[position:] if end < 0 else line[position:end]
        yield column, text, style
        column += len(text)
        position += len(text)


def drawn(line, y, colours):
    """A line as SVG: each piece at its column and of its width, whatever font the reader has."""
    out = ""
    for column, text, style in pieces(line):
        if not text.strip():
            continue
        colour = next((colours[n] for n in style if n in colours), colours["dim" if 2 in style else "text"])
        weight = ' font-weight="bold"' if 1 in style else ""
        x, length = MARGIN + column * WIDTH, len(text) * WIDTH
        out += (f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" fill="{colour}"{weight}>'
                f"{html.escape(text).replace(' ', SPACE)}</text>\n")
    return out


def svg(lines, columns, colours=DARK):
    """A picture of a terminal with these lines."""
    longest = max(sum(len(text) for _, text, _ in pieces(line)) for line in lines)
    width, height = round(2 * MARGIN + max(longest, columns * 3 // 4) * WIDTH), 2 * MARGIN + len(lines) * HEIGHT
    body = "".join(drawn(line, MARGIN + (i + 1) * HEIGHT - 5, colours) for i, line in enumerate(lines))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" '
            'font-size="14">\n'
            f'<rect width="100%" height="100%" rx="8" fill="{colours["background"]}"/>\n{body}</svg>\n')
