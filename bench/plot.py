"""The targets as a picture: how much of each limit was used. Readable without colours; `RESULTS.md` is its table."""

from xml.sax.saxutils import escape

LABEL, BAR, ROW, HEAD = 470, 300, 22, 34
# The widest bar: twice the limit. What is above is cut, and its figure says so.
MOST = 2.0


def draw(rows):
    """An SVG of rows as `report.reached` gives them."""
    width, height = LABEL + BAR + 110, HEAD + ROW * len(rows) + 12
    limit = LABEL + BAR / MOST
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
             'font-family="sans-serif" font-size="12" role="img" aria-label="How much of each limit was used">',
             '<rect width="100%" height="100%" fill="#fff"/>',
             f'<text x="{limit}" y="18" text-anchor="middle" fill="#222">the limit</text>']
    for number, (name, what, most, found, unit) in enumerate(rows):
        top = HEAD + ROW * number
        is_met = found <= most
        length = BAR * min(found / most, MOST) / MOST
        fill = "#2b6cb0" if is_met else "#fff"
        text = escape(f"{name}  {what.replace('`', '')}")
        said = f"{found:.2f}{unit}" + ("" if is_met else f", {found / most:.1f} times")
        parts += [f'<text x="8" y="{top + 13}" fill="#222">{text}</text>',
                  f'<rect x="{LABEL}" y="{top + 3}" width="{length:.1f}" height="13" fill="{fill}" stroke="#2b6cb0"/>',
                  f'<text x="{LABEL + max(length, 4) + 6:.1f}" y="{top + 14}" fill="#222">{escape(said)}</text>']
    parts += [f'<line x1="{limit}" y1="24" x2="{limit}" y2="{height - 8}" stroke="#222" stroke-dasharray="4 3"/>', "</svg>"]
    return "\n".join(parts) + "\n"
