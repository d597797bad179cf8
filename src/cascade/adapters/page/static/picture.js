// The picture of a run: boxes and lines as the server has placed them, in the colours of what becomes of them.
import { h, put, s } from "./dom.js";
import { kind, shape, word } from "./states.js";
import { seldom } from "./talk.js";
import { number, say, spelled } from "./texts.js";

export function showPicture(place, seen, open) {
  let at = 0;
  const scroll = h("div", { class: "picture" }), crumbs = h("div", { class: "crumbs" });
  place.append(crumbs, scroll);
  let shown = null;
  const again = seldom(300, async () => {
    const told = await seen("picture", { view: at });
    if (!told.view) {
      put(place, h("p", { class: "dim none" }, say("no_picture")));
      return;
    }
    if (shown !== at) {
      shown = at;
      scroll.scrollTop = scroll.scrollLeft = 0;
      const to = (view, title, key) => h("button", { class: "linkish", "data-key": `view-${view}`, onclick: () => { at = view; again(); } }, key ? say(key) : title);
      put(crumbs, told.above.length ? [told.above.map((each, place) => [to(each.view, each.title, place === 0 ? "whole" : null), " › "]), h("b", {}, told.view.title)] : []);
      scroll.replaceChildren(drawn(told.view, (view) => { at = view; again(); }, (node) => open(node), () => states));
    }
    states = told.states;
    paint(scroll, told.states);
  });
  let states = {};
  return { again };
}

function drawn(view, enter, open, states) {
  const pad = 14;
  const made = s("svg", { class: "graph", width: view.width + 2 * pad, height: view.height + 2 * pad, viewBox: `${-pad} ${-pad} ${view.width + 2 * pad} ${view.height + 2 * pad}`, role: "group", "aria-label": view.title });
  made.append(s("defs", {}, ["tip", "tip strong"].map((look, at) => s("marker", { id: at ? "tip-strong" : "tip", viewBox: "0 0 8 8", refX: 7.5, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" }, s("path", { d: "M0 .8 8 4 0 7.2Z", class: look })))));
  for (const each of view.frames) made.append(s("g", { class: `frame k-${each.kind}`, "data-id": each.id }, s("rect", { x: each.x - each.w / 2, y: each.y - each.h / 2, width: each.w, height: each.h, rx: 8 }), s("text", { x: each.x - each.w / 2 + 10, y: each.y - each.h / 2 + 15 }, each.label)));
  for (const each of view.lines) {
    const strong = each.kind === "jump" || each.kind === "exit";
    made.append(s("path", { class: `edge k-${each.kind}${each.faint ? " faint" : ""}`, d: each.d, "marker-end": `url(#${strong ? "tip-strong" : "tip"})` }, each.names?.length ? s("title", {}, each.names.join(", ")) : null));
  }
  for (const each of view.lines) if (each.label) made.append(s("text", { class: "edge-label", x: each.lx, y: each.ly + 3.5 }, each.label));
  for (const each of view.boxes) {
    const acts = each.kind !== "end" && each.kind !== "param" && each.kind !== "capacity";
    const go = () => { if (each.view !== undefined) enter(each.view); else if (states()[each.id]) open(states()[each.id].node); };
    made.append(s("g", { class: `box k-${each.kind}`, "data-id": each.id, tabindex: acts ? 0 : null, role: acts ? "button" : null, "aria-label": each.label, onclick: go, onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); } } },
      body(each), each.kind === "end" ? null : s("text", { x: each.x, y: each.y + (acts ? -2 : 4), class: "name" }, each.label),
      acts ? s("text", { class: "more", x: each.x, y: each.y + 12 }, each.nodes ? `${number(each.nodes)}` : "") : null, s("title", {}, [each.label, each.note].filter(Boolean).join("\n"))));
  }
  return made;
}

function body(box) {
  const { x, y, w, h: tall } = box, left = x - w / 2, top = y - tall / 2;
  if (box.kind === "end") return s("circle", { class: "body", cx: x, cy: y, r: Math.min(w, tall) / 2 });
  if (box.kind === "router") return s("path", { class: "body", d: `M${left} ${y}l14 ${-tall / 2}h${w - 28}l14 ${tall / 2}l-14 ${tall / 2}h${28 - w}Z` });
  if (box.kind === "map") return [s("rect", { class: "body", x: left + 4, y: top - 4, width: w - 4, height: tall, rx: 5 }), s("rect", { class: "body", x: left, y: top, width: w - 4, height: tall, rx: 5 })];
  if (box.kind === "param") return s("rect", { class: "body", x: left, y: top, width: w, height: tall, rx: tall / 2 });
  if (box.kind === "fold") return [s("rect", { class: "body", x: left + 4, y: top + 4, width: w, height: tall, rx: 6 }), s("rect", { class: "body", x: left, y: top, width: w, height: tall, rx: 6 })];
  return s("rect", { class: "body", x: left, y: top, width: w, height: tall, rx: 5 });
}

function paint(place, states) {
  for (const each of place.querySelectorAll("g.box, g.frame")) {
    const state = states[each.dataset.id];
    for (const name of [...each.classList]) if (name.startsWith("is-")) each.classList.remove(name);
    if (!state) continue;
    each.dataset.state = state.status;
    each.classList.add(`is-${kind(state.status)}`);
    const more = each.querySelector("text.more");
    if (!more) continue;
    const times = state.calls > 1 ? ` · ×${number(state.calls)}` : "";
    const bad = state.failed && state.calls > 1 ? `${number(state.failed)} ${word("Failed")}` : "";
    const text = state.status === "Running" || state.status === "Waiting" ? word(state.status) + times : bad || (state.seconds ? spelled(state.seconds) + times : word(state.status));
    const mark = each.querySelector(".shape");
    if (!mark || !mark.classList.contains(`is-${kind(state.status)}`)) {
      mark?.remove();
      const box = each.querySelector(".body:last-of-type").getBBox(), made = shape(state.status);
      for (const [name, value] of [["x", box.x - 6], ["y", box.y - 6], ["width", 14], ["height", 14]]) made.setAttribute(name, value);
      made.prepend(s("circle", { class: "seat", cx: 8, cy: 8, r: 9 }));
      each.append(made);
    }
    if (more.textContent !== text) more.textContent = text;
    const title = each.querySelector("title"), said = [each.getAttribute("aria-label"), word(state.status), state.error || state.reason].filter(Boolean).join("\n");
    if (title.textContent !== said) title.textContent = said;
  }
}
