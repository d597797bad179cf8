// Draws one view of a picture, laid out by Cascade (views_of), as the contents of an <svg class="cascade-picture">.
"use strict";
function escaped(text) { return String(text).replace(/[&<>"]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})[c]); }
function drawnShape(box) {
  const {kind, x, y, w, h} = box, left = x - w / 2, right = x + w / 2, top = y - h / 2, bottom = y + h / 2;
  if (kind === "end") return `<circle class="body ring" cx="${x}" cy="${y}" r="8"/><circle class="body" cx="${x}" cy="${y}" r="4"/>`;
  if (kind === "param") return `<ellipse class="body" cx="${x}" cy="${y}" rx="${w / 2}" ry="${h / 2}"/>`;
  if (kind === "map" || kind === "router") {
    const c = kind === "map" ? 12 : w / 2;
    return `<polygon class="body" points="${left},${y} ${left + c},${top} ${right - c},${top} ${right},${y} ${right - c},${bottom} ${left + c},${bottom}"/>`;
  }
  const size = `width="${w}" height="${h}" rx="${{task: 5, capacity: 15, subflow: 8, fold: 6}[kind] || 2}"`;
  const stack = kind === "fold" ? [6, 3].map(d => `<rect class="body" x="${left + d}" y="${top + d}" ${size}/>`).join("") : "";
  return `${stack}<rect class="body" x="${left}" y="${top}" ${size}/>`;
}
function drawnBox(box) {  // box.state colours it, box.more is its second line, box.class and box.bar are the caller's
  const {kind, x, y} = box, up = box.more === undefined || box.h <= (kind === "router" ? 40 : 30) ? 4 : -2;
  const text = kind === "end" ? "" : `<text class="name" x="${x}" y="${y + up}">${escaped((kind === "fold" ? "▸ " : "") + box.label)}</text>`;
  const more = kind !== "end" && up < 0 ? `<text class="more" x="${x}" y="${y + 12}">${escaped(box.more)}</text>` : "";
  const note = `${box.what || kind} ${box.label}${box.note ? ", declared at " + box.note : ""}`;
  return `<g class="box k-${kind}${box.class ? " " + box.class : ""}" data-id="${escaped(box.id)}" data-kind="${kind}"${box.state ? ` data-state="${box.state}"` : ""}${kind === "end" ? "" : ' tabindex="0" role="button"'}><title>${escaped(note)}</title>${drawnShape(box)}${text}${more}${box.bar || ""}</g>`;
}
function drawView(view) {
  const frames = view.frames.map(f => `<g class="frame k-subflow${f.class ? " " + f.class : ""}" data-id="${escaped(f.id)}"${f.state ? ` data-state="${f.state}"` : ""}><rect class="body" x="${f.x - f.w / 2}" y="${f.y - f.h / 2}" width="${f.w}" height="${f.h}" rx="8"/><text class="frame-title" x="${f.x - f.w / 2 + 10}" y="${f.y - f.h / 2 + 16}">${escaped(f.label)}</text></g>`);
  const lines = view.lines.map(l => `<path class="line k-${l.kind}" d="${l.d}" marker-end="url(#cascade-${l.kind})" data-source="${escaped(l.source)}" data-target="${escaped(l.target)}"/>`);
  const labels = view.lines.filter(l => l.label).map(l => `<text class="label k-${l.kind}" x="${l.lx}" y="${l.ly + 3.5}" data-from="${escaped(l.source)}" data-to="${escaped(l.target)}">${escaped(l.label)}</text>`);
  return [...frames, ...lines, ...labels, ...view.boxes.map(drawnBox)].join("");
}
