// The time line: a row a node, its calls as bars, and the chain of nodes that it took so long for.
import { h, put, s } from "./dom.js";
import { kind, shape, word } from "./states.js";
import { clock, number, say, spelled } from "./texts.js";

const ROW = 24, WIDE = 1000;

export function timeLine(told, open) {
  if (!told.rows.length) return h("p", { class: "dim none" }, told.counting ? say("counting") : say("no_steps"));
  const began = Math.min(told.began || Infinity, ...told.rows.map((row) => row.first));
  const ends = told.rows.map((row) => row.last ?? 0);
  const end = Math.max(told.ended ?? (told.counting ? 0 : Date.now() / 1000), ...ends, began + 1e-6);
  const x = (at) => ((at - began) / (end - began)) * WIDE;
  const ticks = marks(end - began);
  const rows = told.rows.map((row) => {
    const spans = row.spans.length && row.spans.length >= Math.min(row.started, 60) ? row.spans : [[row.first, row.last, row.status], ...row.spans];
    const tip = `${row.name}\n${word(row.status)}\n${clock(row.first)} · ${spelled((row.last ?? end) - row.first)}${row.started > 1 ? `\n${number(row.started)} × · ${spelled(row.seconds)}` : ""}`;
    return h("button", { class: `line-row${row.critical ? " critical" : ""}`, "data-key": `line-${row.name}`, title: tip, "aria-label": `${row.name}, ${word(row.status)}, ${spelled((row.last ?? end) - row.first)}${row.critical ? `, ${say("critical")}` : ""}`, onclick: (event) => open(event.currentTarget.dataset.key.slice(5)) },
      h("span", { class: "line-name" }, shape(row.status), h("span", { class: "name" }, row.name), row.started > 1 ? h("span", { class: "times" }, `×${number(row.started)}`) : null),
      s("svg", { class: "line-bars", viewBox: `0 0 ${WIDE} ${ROW}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        ticks.map((at) => s("line", { class: "tick", x1: x(began + at), x2: x(began + at), y1: 0, y2: ROW })),
        spans.map(([from, to, status], at) => s("rect", { class: `span is-${kind(status)}${at === 0 && spans !== row.spans ? " wide" : ""}`, x: x(from).toFixed(2), width: Math.max(2, x(to ?? end) - x(from)).toFixed(2), y: 5, height: ROW - 10, rx: 2 }))),
      h("span", { class: "line-took num" }, spelled((row.last ?? end) - row.first)));
  });
  const path = told.path.length > 1 ? h("p", { class: "path" }, h("i", { class: "swatch", "aria-hidden": "true" }), say("critical_long", { n: told.path.length, names: told.path.slice(-12).join(" → ") })) : null;
  return h("div", { class: "line" }, path,
    h("div", { class: "line-row scale", "aria-hidden": "true" }, h("span", { class: "line-name" }), h("span", { class: "scale-marks" }, ticks.map((at) => h("span", { style: { left: `${x(began + at) / WIDE * 100}%` } }, at === 0 ? "0" : spelled(at)))), h("span", { class: "line-took" })),
    rows, told.more ? h("p", { class: "dim" }, say("more_rows", { n: number(told.more) })) : null);
}

function marks(length) {
  const rough = length / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let at = 0; at < length * 0.97 && found.length < 12; at += step) found.push(at);
  return found;
}
