"""Pictures in the language of Graphviz."""

from __future__ import annotations

from cascade.graph.draw.picture import STYLES, Line, Picture, Shape, clean, shortened, title_of, walk

__all__ = ["to_dot"]

SHAPES = {
    "task": 'shape=box, style="rounded,filled", fillcolor="#eff6ff", color="#3b82f6"',
    "map": 'shape=hexagon, style=filled, fillcolor="#ecfdf5", color="#10b981"',
    "param": 'shape=ellipse, style=filled, fillcolor="#fefce8", color="#ca8a04"',
    "router": 'shape=diamond, style=filled, fillcolor="#fff7ed", color="#ea7a0c"',
    "container": 'shape=box, style=filled, fillcolor="#f8fafc", color="#94a3b8", height=0.3',
    "optional": 'shape=box, style="dashed,filled", fillcolor="#f8fafc", color="#94a3b8", height=0.3',
    "subflow": 'shape=component, style=filled, fillcolor="#f5f3ff", color="#7c3aed"',
    "capacity": 'shape=cylinder, style=filled, fillcolor="#faf5ff", color="#9333ea"',
    "end": 'shape=doublecircle, style=filled, fillcolor="#1d4ed8", color="#1d4ed8", width=0.15, height=0.15',
}


def to_dot(picture: Picture) -> str:
    """Return the picture as a DOT digraph; each line has its kind as an attribute."""
    out = [
        "digraph cascade {",
        '  graph [fontname="Helvetica", rankdir=TB, ranksep=0.45, nodesep=0.3, compound=true];',
        '  node [fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, arrowsize=0.7];',
    ]
    out += _clusters(picture)
    out += [_edge(line) for line in picture.lines]
    out.append("}")
    return "\n".join(out) + "\n"


def _clusters(picture: Picture) -> list[str]:
    """Write the shapes of each graph, those of a sub-flow in a cluster inside that of the graph around it."""
    out: list[str] = []
    for item in walk(picture):
        if item is None:
            out.append("  }")
        elif isinstance(item, Shape):
            out.append(_node(item))
        else:
            title = _quoted(title_of(picture.nest, item))
            out.append(f'  subgraph cluster_{item} {{ label={title}; color="#c4b5fd"; style=rounded;')
    return out


def _node(shape: Shape) -> str:
    label = "" if shape.kind == "end" else shortened(shape.label)
    note = f"{clean(shape.label)}\n{clean(shape.note)}" if shape.note else clean(shape.label)
    return f"  {shape.id} [label={_quoted(label)}, tooltip={_quoted(note)}, {SHAPES[shape.kind]}];"


def _edge(line: Line) -> str:
    style = STYLES[line.kind]
    name = clean(line.name)
    extra = "" if line.kind not in ("jump", "exit") else ", penwidth=2"
    label = f"label={_quoted(shortened(name))}, fontcolor={_quoted(style.color)}, " if name else ""
    return (
        f"  {line.source} -> {line.target} [{label}kind={line.kind}, name={_quoted(name)}, "
        f"style={style.dot}, color={_quoted(style.color)}{extra}];"
    )


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
