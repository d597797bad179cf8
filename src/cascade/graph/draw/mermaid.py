"""Pictures in the language of Mermaid, which many pages and editors draw."""

from __future__ import annotations

from cascade.graph.draw.picture import STYLES, Line, Picture, Shape, clean, shortened, title_of, walk

__all__ = ["to_mermaid"]

SHAPES = {
    "task": ("[", "]"),
    "map": ("{{", "}}"),
    "param": ("([", "])"),
    "router": ("{", "}"),
    "container": ("[/", "/]"),
    "optional": ("[/", "/]"),
    "subflow": ("[[", "]]"),
    "capacity": ("[(", ")]"),
    "end": ("(((", ")))"),
}
LOOKS = {
    "task": "fill:#eff6ff,stroke:#3b82f6",
    "map": "fill:#ecfdf5,stroke:#10b981",
    "param": "fill:#fefce8,stroke:#ca8a04",
    "router": "fill:#fff7ed,stroke:#ea7a0c",
    "container": "fill:#f8fafc,stroke:#94a3b8",
    "optional": "fill:#f8fafc,stroke:#94a3b8,stroke-dasharray:4 3",
    "subflow": "fill:#f5f3ff,stroke:#7c3aed",
    "capacity": "fill:#faf5ff,stroke:#9333ea",
    "end": "fill:#1d4ed8,stroke:#1d4ed8,color:#ffffff",
}
PLAIN = frozenset(" _-.,:()+=/'*")


def to_mermaid(picture: Picture) -> str:
    """Return the picture as a Mermaid flowchart; the kind of a line is in its `linkStyle`."""
    out = ["flowchart TD"]
    out += _subgraphs(picture)
    out += [_link(line) for line in picture.lines]
    for kind, style in STYLES.items():
        numbers = [str(at) for at, line in enumerate(picture.lines) if line.kind == kind]
        dashes = f",stroke-dasharray:{style.dashes}" if style.dashes else ""
        if numbers:
            out.append(f"  %% {kind}")
            out.append(f"  linkStyle {','.join(numbers)} stroke:{style.color},stroke-width:{style.width}px{dashes}")
    used = {shape.kind for shape in picture.shapes}
    out += [f"  classDef {kind}Shape {look}" for kind, look in LOOKS.items() if kind in used]
    return "\n".join(out) + "\n"


def _subgraphs(picture: Picture) -> list[str]:
    out: list[str] = []
    for item in walk(picture):
        if item is None:
            out.append("  end")
        elif isinstance(item, Shape):
            out.append(_node(item))
        else:
            out.append(f'  subgraph s{item}["{_escaped(title_of(picture.nest, item))}"]')
    return out


def _node(shape: Shape) -> str:
    opening, closing = SHAPES[shape.kind]
    return f'  {shape.id}{opening}"{_escaped(shortened(shape.label))}"{closing}:::{shape.kind}Shape'


def _link(line: Line) -> str:
    arrow = "==>" if line.kind in ("jump", "exit") else "-.->" if STYLES[line.kind].dashes else "-->"
    label = f'|"{_escaped(clean(line.name))}"|' if line.name else ""
    return f"  {line.source} {arrow}{label} {line.target}"


def _escaped(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in PLAIN else f"#{ord(letter)};" for letter in text)
