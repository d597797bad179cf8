// The runs: those that go on first, then the latest.
import { h, put } from "./dom.js";
import { connected, failed } from "./link.js";
import { badge, bar, ENDED, word } from "./states.js";
import { ask, hear, seldom } from "./talk.js";
import { clock, say, spelled, whole } from "./texts.js";

const wanted = { text: "", status: "" };
const SHOWN = ["", "Running", "Failed", "Succeeded", "Cancelled"];
const address = (run) => `#/run/${encodeURIComponent(run.engine)}/${encodeURIComponent(run.run)}`;

export function showRuns(main) {
  document.title = `${say("runs")} · Cascade`;
  let told = null, at = 0;
  const list = h("div", { class: "list" });
  const look = seldom(150, async () => {
    try {
      told = await ask("runs", wanted);
      at = performance.now();
      draw();
    } catch (error) {
      failed(error);
    }
  });
  const chips = h("div", { class: "chips", role: "group", "aria-label": say("state") });
  const drawChips = () => put(chips, SHOWN.map((status) => h("button", { "data-key": `chip-${status}`, class: "chip", "aria-pressed": String(wanted.status === status), onclick: () => { wanted.status = status; drawChips(); look(); } }, status ? word(status) : say("all"))));
  drawChips();
  main.append(
    h("div", { class: "filter" },
      h("h1", {}, say("runs")),
      h("input", { type: "search", id: "search", value: wanted.text, placeholder: say("search"), "aria-label": say("search"), oninput: (event) => { wanted.text = event.target.value; look(); } }),
      chips),
    list);

  function draw() {
    if (!told) return;
    if (!told.runs.length) {
      put(list, h("section", { class: "empty" }, wanted.text || wanted.status ? h("p", {}, say("nothing_found")) : [h("h2", {}, say("no_runs")), h("p", {}, say("no_runs_how")), h("pre", {}, "cascade run flows.py")]));
      return;
    }
    const passed = (performance.now() - at) / 1000;
    const head = ["state", "run", "target", "steps", "began", "took", "engine"].map((key) => h("th", { scope: "col" }, say(key)));
    const rows = told.runs.map((run) => {
      const goesOn = !ENDED.includes(run.status) && run.status !== "Handed back";
      return h("tr", { class: `is-${run.status}` },
        h("td", { class: "c-state" }, badge(run.status)),
        h("td", { class: "c-run" }, h("a", { href: address(run), "data-key": `run-${run.run}` }, run.run), run.error ? h("div", { class: "error-line", title: run.error }, run.error) : null),
        h("td", { class: "c-target" }, (run.targets || []).join(", ")),
        h("td", { class: "c-steps" }, bar(run.counts)),
        h("td", { class: "c-began", title: whole(run.began) }, clock(run.began)),
        h("td", { class: "c-took num" }, spelled(run.seconds + (goesOn ? Math.floor(passed) : 0))),
        h("td", { class: "c-engine" }, run.engine === "store" ? say("store") : run.engine));
    });
    let table = list.querySelector("table");
    if (!table) {
      table = h("table", { class: "runs" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}));
      put(list, table, h("p", { class: "note", hidden: true }, say("more_kept")));
    }
    put(table.tBodies[0], rows);
    list.querySelector("p.note").hidden = !told.more;
  }
  const stop = hear({}, look, connected);
  const timer = setInterval(draw, 1000);
  look();
  return () => { stop(); clearInterval(timer); };
}
