// What a browser measures of pictures: which boxes, labels and lines lie on each other.
const inner = (a, b, by = 0) => a.x >= b.x - by && a.y >= b.y - by && a.x + a.w <= b.x + b.w + by && a.y + a.h <= b.y + b.h + by;
const meet = (a, b, by = 1) => a.x + by < b.x + b.w && b.x + by < a.x + a.w && a.y + by < b.y + b.h && b.y + by < a.y + a.h;
const area = (element, id, data) => { const {x, y, width: w, height: h} = element.getBBox(); return {x, y, w, h, id, ...data}; };
function points(d) {  // of a path of the commands M, V and C, some 4 pixels apart
  const found = []; let x = 0, y = 0;
  for (const [, command, rest] of d.matchAll(/([MVC])([^MVC]*)/g)) {
    const [a, b, c, e, f, g] = rest.trim().split(" ").map(Number);
    const [x1, y1, x2, y2, to_x, to_y] = command === "M" ? [a, b, a, b, a, b] : command === "V" ? [x, y, x, a, x, a] : [a, b, c, e, f, g];
    const steps = command === "M" ? 0 : Math.ceil(Math.hypot(to_x - x, to_y - y) / 4);
    for (let i = 1; i <= steps; i++) {
      const t = i / steps, u = 1 - t;
      found.push([u * u * u * x + 3 * u * u * t * x1 + 3 * u * t * t * x2 + t * t * t * to_x, u * u * u * y + 3 * u * u * t * y1 + 3 * u * t * t * y2 + t * t * t * to_y]);
    }
    x = to_x; y = to_y;
  }
  return found;
}
function faults(svg, width, height) {
  const all = name => [...svg.querySelectorAll(name)], found = [];
  const boxes = all("g.box").map(g => area([...g.querySelectorAll(".body")].pop().tagName === "circle" ? g.querySelector(".body") : [...g.querySelectorAll(".body")].pop(), g.dataset.id, {kind: g.dataset.kind, text: g.querySelector(".name")}));
  const frames = all("g.frame").map(g => area(g.querySelector(".body"), g.dataset.id)), sheet = {x: -16, y: -16, w: width + 32, h: height + 32};
  const labels = all("text.label").map(text => area(text, text.textContent, {from: text.dataset.from, to: text.dataset.to}));
  const place = new Map([...boxes, ...frames].map(each => [each.id, each]));
  boxes.forEach((box, at) => {
    if (!inner(box, sheet, 1)) found.push(`${box.id} is outside`);
    if (box.text && !inner({...area(box.text), y: box.y, h: 1}, box)) found.push(`the text of ${box.id} is wider than its box`);
    for (const other of boxes.slice(at + 1)) if (meet(box, other)) found.push(`${box.id} over ${other.id}`);
    for (const frame of frames) if (meet(box, frame) && !inner(box, frame)) found.push(`${box.id} half in ${frame.id}`);
  });
  frames.forEach((frame, at) => { for (const other of frames.slice(at + 1)) if (meet(frame, other) && !inner(frame, other) && !inner(other, frame)) found.push(`${frame.id} half in ${other.id}`); });
  labels.forEach((label, at) => {
    if (!inner(label, sheet, 2)) found.push(`label ${label.id} is outside`);
    for (const other of labels.slice(at + 1)) if (meet(label, other)) found.push(`label ${label.id} over label ${other.id}`);
    for (const box of boxes) if (meet(label, box)) found.push(`label ${label.id} over ${box.id}`);
  });
  for (const path of all("path.line:not([visibility])")) {
    const {source, target} = path.dataset, passed = new Set(), a = place.get(source), b = place.get(target);
    if (!a || !b) { found.push(`a line from ${source} to ${target}`); continue; }
    for (const [x, y] of points(path.getAttribute("d"))) {
      const isIn = (box, by) => x > box.x + by && x < box.x + box.w - by && y > box.y + by && y < box.y + box.h - by;
      for (const box of boxes) if (isIn(box, 2) && !((box === a || box === b) && box.kind !== "task")) passed.add(box.id);
      for (const frame of frames) if (isIn(frame, 2) && !(inner(a, frame) || inner(b, frame))) passed.add(`frame ${frame.id}`);
      for (const label of labels) if (isIn(label, 2) && label.from !== source && !(label.from === source && label.to === target)) passed.add(`label ${label.id}`);
    }
    for (const each of passed) found.push(`${source} to ${target} goes through ${each}`);
    const ends = points(path.getAttribute("d")), [x, y] = ends[ends.length - 1], by = 2;
    if (!(x > b.x - by && x < b.x + b.w + by && y > b.y - by && y < b.y + b.h + by)) found.push(`${source} to ${target} ends elsewhere`);
  }
  return [boxes.length, labels.length, found];
}
window.addEventListener("load", () => {
  const report = {};
  for (const svg of document.querySelectorAll("svg[data-name]")) report[svg.dataset.name] = faults(svg, svg.viewBox.baseVal.width - 32, svg.viewBox.baseVal.height - 32);
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentWindow, views = page.eval("D.views.length");
    for (let at = 0; at < views; at++) {
      page.eval(`go(${at})`); const [width, height] = page.eval("size");
      report[`${frame.name}/${at}`] = faults(frame.contentDocument.getElementById("view"), width, height);
    }
  }
  document.documentElement.dataset.report = encodeURIComponent(JSON.stringify(report));
});
