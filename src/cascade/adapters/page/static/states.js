// How a state looks: a colour, a shape, and its word.
import { h, s } from "./dom.js";
import { say } from "./texts.js";

const SHAPES = {
  Running: () => [s("circle", { cx: 8, cy: 8, r: 5.5, class: "thin" }), s("path", { d: "M8 2.5a5.5 5.5 0 0 1 5.5 5.5", class: "thick" })],
  Waiting: () => [s("path", { d: "M4 2.5h8M4 13.5h8M4.8 2.5c0 3.5 6.4 7.5 6.4 11M11.2 2.5c0 3.5-6.4 7.5-6.4 11", class: "line" })],
  Succeeded: () => [s("circle", { cx: 8, cy: 8, r: 6.5, class: "full" }), s("path", { d: "M5 8.2 7.2 10.4 11 6", class: "mark" })],
  Failed: () => [s("path", { d: "M5 1.5h6L14.5 5v6L11 14.5H5L1.5 11V5Z", class: "full" }), s("path", { d: "M5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6", class: "mark" })],
  Cancelled: () => [s("circle", { cx: 8, cy: 8, r: 5.8, class: "thin" }), s("path", { d: "M4 12 12 4", class: "line" })],
  Skipped: () => [s("path", { d: "M2.5 8h8M7.5 5l3 3-3 3M13 4.5v7", class: "line" })],
  Enqueued: () => [s("circle", { cx: 8, cy: 8, r: 5.8, class: "dots" })],
  Parked: () => [s("path", { d: "M11.5 10.5A5.5 5.5 0 1 1 6.5 3a4.5 4.5 0 0 0 5 7.5Z", class: "line" })],
  "Handed back": () => [s("path", { d: "M4 8a4.5 4.5 0 1 0 1.6-3.4M4 2.5v3.3h3.3", class: "line" })],
  None: () => [s("circle", { cx: 8, cy: 8, r: 2.2, class: "line" })],
};
export const STATES = ["Running", "Waiting", "Failed", "Succeeded", "Cancelled", "Skipped"];
export const ENDED = ["Succeeded", "Failed", "Cancelled"];
export const word = (state) => say(SHAPES[state] ? state : "None");
export const kind = (state) => (SHAPES[state] ? state : "None").replace(" ", "-").toLowerCase();

export function shape(state) {
  const made = SHAPES[state] ?? SHAPES.None;
  return s("svg", { viewBox: "0 0 16 16", class: `shape is-${kind(state)}`, "aria-hidden": "true" }, made());
}
export function badge(state) {
  return h("span", { class: `badge is-${kind(state)}` }, shape(state), h("span", {}, word(state)));
}

const COUNTS = [["Failed", "failed"], ["Running", "running"], ["Waiting", "waiting"], ["Succeeded", "succeeded"], ["Cancelled", "cancelled"], ["Skipped", "skipped"]];
export function bar(counts) {
  if (!counts) return null;
  const total = COUNTS.reduce((sum, [, name]) => sum + counts[name], 0);
  if (!total) return h("span", { class: "bar", "aria-hidden": "true" });
  const shown = COUNTS.filter(([, name]) => counts[name]);
  const label = shown.map(([state, name]) => `${word(state)} ${counts[name]}`).join(", ");
  return h("span", { class: "bar", role: "img", "aria-label": label, title: label },
    shown.map(([state, name]) => h("i", { class: `is-${kind(state)}`, style: { "flex-grow": Math.max(counts[name], total / 60) } })));
}
export { COUNTS };
