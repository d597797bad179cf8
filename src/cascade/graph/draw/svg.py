"""Pictures as SVG, laid out here: nothing else needs to be installed."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from cascade.graph.draw.looks import markers, stylesheet
from cascade.graph.draw.picture import Picture, clean
from cascade.graph.draw.scene import Drawn, Frame, Placed, Scene, path_of, scene_of, whole_of
from cascade.graph.draw.texts import text_width

__all__ = ["to_svg"]

MARGIN, HEADING = 16.0, 30.0
FONT = "system-ui,Helvetica,Arial,sans-serif"


def to_svg(picture: Picture) -> str:
    """Return the picture as an SVG document; lines bear `data-source`, `data-target`, `data-kind`, `data-name`."""
    scene = scene_of(picture.lines, whole_of(picture))
    top = MARGIN + (HEADING if picture.title else 0)
    width = max(scene.width, text_width(picture.title, 14)) + 2 * MARGIN
    height = scene.height + top + MARGIN
    left = (width - scene.width) / 2
    title = escape(picture.title)
    heading = (
        f'<text class="title" x="{MARGIN:g}" y="{MARGIN + 10:g}" font-size="14" font-weight="600">{title}</text>\n'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cascade-picture" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="12">\n'
        f"<title>{title or 'Cascade'}</title>\n<style>\n{stylesheet()}\n</style>\n<defs>{markers()}</defs>\n"
        f'<rect class="ground" width="100%" height="100%"/>\n{heading}'
        f'<g transform="translate({left:.1f} {top:.1f})">\n' + "\n".join(_drawn(scene)) + "\n</g>\n</svg>\n"
    )


def _drawn(scene: Scene) -> list[str]:
    out = [_frame(each) for each in scene.frames]
    for line in scene.lines:
        out += _paths(line)
    out += [_label(line) for line in scene.lines if line.route.label is not None]
    return out + [_box(each) for each in scene.boxes]


def _frame(frame: Frame) -> str:
    left, top = frame.x - frame.width / 2, frame.y - frame.height / 2
    return (
        f'<g class="frame k-subflow" data-id="{frame.id}"><rect class="body" x="{left:.1f}" y="{top:.1f}" '
        f'width="{frame.width:.1f}" height="{frame.height:.1f}" rx="8"/>'
        f'<text class="frame-title" x="{left + 10:.1f}" y="{top + 16:.1f}">{escape(frame.title)}</text></g>'
    )


def _paths(line: Drawn) -> list[str]:
    """Draw a line once, and have it there for each that it stands for."""
    path = path_of(line)
    return [
        f'<path class="line k-{line.kind}" d="{path}" '
        + ('visibility="hidden"' if number else f'marker-end="url(#cascade-{line.kind})"')
        + f' data-source="{line.source}" data-target="{line.target}" data-kind="{line.kind}" '
        f"data-name={quoteattr(clean(name))}/>"
        for number, name in enumerate(line.names)
    ]


def _label(line: Drawn) -> str:
    x, y = line.route.label or (0.0, 0.0)
    ends = f'data-from="{line.source}" data-to="{line.target}"'
    return f'<text class="label k-{line.kind}" x="{x:.1f}" y="{y + 3.5:.1f}" {ends}>{escape(line.label)}</text>'


def _box(box: Placed) -> str:
    item, x, y = box.item, box.x, box.y
    note = escape(clean(f"{item.kind} {item.label}" + (f", declared at {item.note}" if item.note else "")))
    text = f'<text class="name" x="{x:.1f}" y="{y + 4:.1f}">{escape(item.label)}</text>' if item.label else ""
    return (
        f'<g class="box k-{item.kind}" data-id="{item.id}" data-kind="{item.kind}"><title>{note}</title>'
        f"{_shape(item.kind, x, y, box.width, box.height)}{text}</g>"
    )


def _shape(kind: str, x: float, y: float, width: float, height: float) -> str:
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    if kind == "end":
        ring = f'<circle class="body ring" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
        return f'{ring}<circle class="body" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    if kind == "param":
        return f'<ellipse class="body" cx="{x:.1f}" cy="{y:.1f}" rx="{width / 2:.1f}" ry="{height / 2:.1f}"/>'
    if kind in ("map", "router"):
        cut = 12.0 if kind == "map" else width / 2
        corners = [(left, y), (left + cut, top), (right - cut, top), (right, y), (right - cut, bottom)]
        corners.append((left + cut, bottom))
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
        return f'<polygon class="body" points="{points}"/>'
    round_ = {"task": 5, "capacity": 15, "subflow": 8, "fold": 6}.get(kind, 2)
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="body" x="{left:.1f}" y="{top:.1f}" {size} rx="{round_}"/>'
