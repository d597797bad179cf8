// Two runs side by side: how they stand, what they were given, and what became of each node in both.
import { dialog } from "./acts.js";
import { h, put } from "./dom.js";
import { connected, failed } from "./link.js";
import { badge } from "./states.js";
import { ask, hear, seldom } from "./talk.js";
import { clock, number, say, spelled } from "./texts.js";

const runAddress = ([engine, run]) => `#/run/${encodeURIComponent(engine)}/${encodeURIComponent(run)}`;
const address = (pair) => `#/compare/${pair.flat().map(encodeURIComponent).join("/")}`;
const SIDES = ["A", "B"];

// Asks with which other run one is to be compared; those of the same target come first.
export async function askToCompare(engine, run, targets) {
  let told;
  try {
    told = await ask("runs");
  } catch (error) {
    failed(error);
    return;
  }
  const mine = (targets || []).join();
  const others = told.runs.filter((each) => each.run !== run || each.engine !== engine).sort((one, other) => ((other.targets || []).join() === mine) - ((one.targets || []).join() === mine));
  const rows = others.slice(0, 200).map((each) => h("li", {}, h("button", { class: "linkish", onclick: () => { made.close(); location.hash = address([[engine, run], [each.engine, each.run]]); } }, h("span", { class: "mono" }, each.run)), " ", badge(each.status), h("span", { class: "dim" }, ` ${(each.targets || []).join(", ")} · ${clock(each.began)}`)));
  const made = dialog(say("compare_with"), rows.length ? h("ul", { class: "plain-list choices" }, rows) : h("p", {}, say("nothing_found")));
}

export function showCompared(main, pair) {
  document.title = `${pair.map((each) => each[1]).join(" · ")} · Cascade`;
  const place = h("div", { class: "compared" });
  main.append(place);
  const seen = ([engine, run], part) => ask("seen", { engine, run, part });
  const look = seldom(400, async () => {
    try {
      const heads = await Promise.all(pair.map((each) => seen(each, "head")));
      const nodes = await Promise.all(pair.map((each) => seen(each, "nodes")));
      draw(heads, nodes);
    } catch (error) {
      failed(error);
    }
  });

  function draw(heads, nodes) {
    const text = (told) => (head) => h("span", { class: "mono" }, told(head));
    // Key, what is shown, and (where a difference counts) what it is told by.
    const facts = [
      ["state", (head) => badge(head.status), (head) => head.status],
      ["target", targetsOf, targetsOf],
      ["began", (head) => clock(head.began)],
      ["took", (head) => spelled(head.seconds)],
      ["steps", (head) => (head.steps === null ? say("counting") : number(head.steps)), (head) => head.steps],
      ["params", text(paramsOf), paramsOf],
      ["error", text(errorOf), errorOf],
    ].filter(([, , told]) => !told || heads.some(told));
    const differs = (told) => told && told(heads[0]) !== told(heads[1]);
    const top = h("table", { class: "nodes facts-of-two" },
      h("thead", {}, h("tr", {}, h("td", {}), pair.map((each, at) => h("th", { scope: "col" }, `${SIDES[at]} `, h("a", { href: runAddress(each), class: "mono" }, each[1]))))),
      h("tbody", {}, facts.map(([key, shown, told]) => h("tr", { class: differs(told) ? "differs" : null }, h("th", { scope: "row" }, say(key)), heads.map((head) => h("td", {}, shown(head)))))));
    const counting = nodes.some((each) => each.counting);
    put(place, h("h1", {}, say("compare")), top, counting ? h("p", { class: "dim" }, say("counting")) : tableOf(nodes));
  }

  function tableOf(nodes) {
    const [left, right] = nodes.map((told) => new Map(told.nodes.map((node) => [node.name, node])));
    const names = [...new Set([...left.keys(), ...right.keys()])];
    if (!names.length) return h("p", { class: "dim none" }, say("no_steps"));
    const rows = names.map((name) => ({ name, one: left.get(name), other: right.get(name) }));
    for (const row of rows) {
      row.more = row.one && row.other ? row.other.seconds - row.one.seconds : null;
      row.differs = !row.one || !row.other || row.one.status !== row.other.status || row.one.started !== row.other.started || row.one.attempts !== row.other.attempts;
    }
    rows.sort((one, other) => other.differs - one.differs || Math.abs(other.more ?? 0) - Math.abs(one.more ?? 0));
    const cell = (node) => [h("td", {}, node ? badge(node.status) : h("span", { class: "dim" }, say("not_there"))), h("td", { class: "num" }, node ? number(node.started || node.skipped) + (node.attempts ? ` ↻${number(node.attempts)}` : "") : ""), h("td", { class: "num" }, node ? spelled(node.seconds) : "")];
    return h("div", { class: "list" }, h("table", { class: "nodes" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("node")), SIDES.map((side) => ["state", "calls", "busy"].map((key) => h("th", { scope: "col" }, `${side} · ${say(key)}`))), h("th", { scope: "col" }, say("difference")))),
      h("tbody", {}, rows.map((row) => h("tr", { class: row.differs ? "differs" : "" }, h("td", { class: "mono" }, row.name), cell(row.one), cell(row.other), h("td", { class: "num" }, row.more === null ? "" : `${row.more < 0 ? "−" : "+"}${spelled(Math.abs(row.more))}`))))));
  }

  const stop = hear({}, look, connected);
  look();
  return stop;
}

const targetsOf = (head) => (head.targets || []).join(", ");
const errorOf = (head) => head.error || "";
const paramsOf = (head) => Object.entries(head.params || {}).map(([name, value]) => `${name}=${value}`).join("  ");
