"""The colours of pictures, for bright and for dark pages."""

from __future__ import annotations

from cascade.graph.draw.picture import STYLES

__all__ = ["LOOKS", "STATES", "markers", "stylesheet"]

LOOKS = {
    "task": ("#eff6ff", "#3b82f6"),
    "map": ("#ecfdf5", "#10b981"),
    "param": ("#fefce8", "#ca8a04"),
    "router": ("#fff7ed", "#ea7a0c"),
    "container": ("#f8fafc", "#94a3b8"),
    "optional": ("#f8fafc", "#94a3b8"),
    "subflow": ("#f5f3ff", "#7c3aed"),
    "capacity": ("#faf5ff", "#9333ea"),
    "fold": ("#ffffff", "#64748b"),
    "end": ("#1d4ed8", "#1d4ed8"),
}
"""Fill and border of each kind of box."""
DARK = {
    "task": ("#14233f", "#5b9bf5"),
    "map": ("#0c2b22", "#34d399"),
    "param": ("#2b240c", "#d9a514"),
    "router": ("#33200d", "#fb923c"),
    "container": ("#182233", "#64748b"),
    "optional": ("#182233", "#64748b"),
    "subflow": ("#221a3d", "#a78bfa"),
    "capacity": ("#291640", "#c084fc"),
    "fold": ("#111c30", "#8492a8"),
    "end": ("#7db4ff", "#7db4ff"),
}
DARK_LINES = {
    "data": "#94a3b8",
    "condition": "#8b95a5",
    "otherwise": "#8b95a5",
    "constraint": "#c084fc",
    "sequence": "#a3acba",
    "selector": "#5b9bf5",
    "route": "#fb923c",
    "gate": "#fb923c",
    "jump": "#7db4ff",
    "exit": "#7db4ff",
    "result": "#64748b",
}
STATES = {
    "Succeeded": ("#ecfdf5", "#16a34a", "#0c2b1a", "#4ade80"),
    "Failed": ("#fef2f2", "#dc2626", "#3a1216", "#f87171"),
    "Cancelled": ("#fff7ed", "#d97706", "#33200d", "#fbbf24"),
    "Skipped": ("#f8fafc", "#94a3b8", "#182233", "#64748b"),
    "Running": ("#dbeafe", "#2563eb", "#173b7a", "#7db4ff"),
    "Waiting": ("#fefce8", "#a16207", "#2b240c", "#d9a514"),
}
"""Fill and border of what is in a state, on a bright and on a dark page."""
SHEETS = (("#0f172a", "#64748b", "#ffffff"), ("#e5eaf2", "#94a3b8", "#0c1424"))
"""The colours of text, of less important text, and of the ground."""


def stylesheet() -> str:
    """Return the rules for what is below the class `cascade-picture`, dark where the reader's page is."""
    bright, dark = _rules(is_dark=False), _rules(is_dark=True)
    fixed = [
        "{p}.body{{stroke-width:1.3}}",
        "{p}.k-optional .body,{p}.k-capacity .body,{p}[data-state=Skipped] .body{{stroke-dasharray:4 3}}",
        "{p}.line{{fill:none}}",
        "{p}.label{{font-size:10px;paint-order:stroke;stroke-width:3px;text-anchor:middle}}",
        "{p}.name,{p}.more{{text-anchor:middle}}",
        "{p}.more{{font-size:10px}}",
        "{p}.frame .body{{fill-opacity:.45;stroke-opacity:.55}}",
    ]
    for kind, style in STYLES.items():
        dashes = f";stroke-dasharray:{style.dashes}" if style.dashes else ""
        fixed.append(f"{{p}}.line.k-{kind}{{{{stroke-width:{style.width:g}px{dashes}}}}}")
    shared = "\n".join(rule.format(p=".cascade-picture ") for rule in fixed)
    return f"{shared}\n{bright}\n@media (prefers-color-scheme:dark){{\n{dark}\n}}"


def _rules(*, is_dark: bool) -> str:
    p = ".cascade-picture "
    ink, dim, ground = SHEETS[is_dark]
    rules = [
        f"{p}.ground{{fill:{ground}}}{p}.name,{p}.title{{fill:{ink}}}{p}.more,{p}.dim{{fill:{dim}}}",
        f"{p}.label{{stroke:{ground}}}{p}.k-end .ring{{fill:{ground}}}",
    ]
    for kind, (fill, border) in (DARK if is_dark else LOOKS).items():
        rules.append(f"{p}.k-{kind} .body{{fill:{fill};stroke:{border}}}")
    border = (DARK if is_dark else LOOKS)["subflow"][1]
    rules.append(f"{p}.frame-title{{fill:{border};font-size:11px}}")
    for state, looks in STATES.items():
        fill, border = looks[2:] if is_dark else looks[:2]
        rules.append(f"{p}[data-state={state}]>.body{{fill:{fill};stroke:{border}}}")
    for kind, style in STYLES.items():
        color = DARK_LINES[kind] if is_dark else style.color
        rules.append(
            f"{p}.line.k-{kind}{{stroke:{color}}}{p}.label.k-{kind}{{fill:{color}}}{p}.head.k-{kind}{{fill:{color}}}"
        )
    return "\n".join(rules)


def markers() -> str:
    """Return the heads of the arrows, as SVG markers that are called `cascade-KIND`."""
    return "".join(
        f'<marker id="cascade-{kind}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="head k-{kind}" d="M0 .8 8 4 0 7.2Z"/></marker>'
        for kind in STYLES
    )
