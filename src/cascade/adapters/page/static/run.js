// One run: how it is at a glance, then its picture, time line, nodes, steps and log; what is chosen opens beside it.
import { act, askForLimit, askForSignal, askToCancel, quoted, tellCommand } from "./acts.js";
import { askToCompare } from "./compare.js";
import { h, put } from "./dom.js";
import { timeLine } from "./line.js";
import { connected, failed } from "./link.js";
import { List } from "./list.js";
import { showPicture } from "./picture.js";
import { badge, bar, COUNTS, ENDED, shape, STATES, word } from "./states.js";
import { ask, hear, seldom } from "./talk.js";
import { clock, number, say, spelled, whole } from "./texts.js";

const TABS = ["picture", "line", "nodes", "steps", "log"];

export function showRun(main, engine, id, tab) {
  document.title = `${id} · Cascade`;
  const seen = (part, given = {}) => ask("seen", { engine, run: id, part, ...given });
  const isStore = engine === "store";
  let head = null, headAt = 0, status = null, view = null, shown = TABS.includes(tab) ? tab : "";
  main.className = "run-page";
  const top = h("section", { class: "head" });
  const tabs = h("div", { class: "tabs", role: "tablist" });
  const place = h("section", { class: "tab", role: "tabpanel" });
  const side = h("aside", { class: "side", hidden: true, "aria-label": say("state") });
  main.append(top, tabs, h("div", { class: "columns" }, place, side));

  // --- the head

  function drawHead() {
    if (!head) return;
    const goesOn = !ENDED.includes(head.status);
    const passed = goesOn && head.status !== "Handed back" ? (performance.now() - headAt) / 1000 : 0;
    const counts = head.counts;
    const paused = status?.limits?.some((each) => each.kind === "pause" && each.scope === "global");
    const then = async (done, words) => { await act(done, { engine, scope: "global" }, words); lookAtEngine(); };
    const buttons = [];
    if (!isStore && goesOn) {
      buttons.push(paused ? h("button", { "data-key": "pause", onclick: () => then("resume", "done_resume") }, say("resume")) : h("button", { "data-key": "pause", onclick: () => then("pause", "done_pause") }, say("pause")),
        h("button", { "data-key": "limit", onclick: () => askForLimit(engine, "global", lookAtEngine) }, say("add_limit")),
        h("button", { "data-key": "signal", onclick: () => askForSignal(engine, id) }, say("send_signal")),
        h("button", { class: "danger", "data-key": "cancel", onclick: () => askToCancel(engine, id) }, say("cancel")));
    } else if (isStore && head.status !== "Succeeded") {
      if (goesOn) buttons.push(h("button", { "data-key": "signal", onclick: () => askForSignal(engine, id) }, say("send_signal")));
      if (!head.process) buttons.push(h("button", { "data-key": "go_on", onclick: () => tellCommand(say("go_on"), `cascade resume-run ${quoted(id)}${from()}`) }, say("go_on")));
    }
    buttons.push(h("button", { "data-key": "compare", onclick: () => askToCompare(engine, id, head.targets) }, say("compare")));
    put(top,
      h("div", { class: "title" }, h("h1", { class: "mono" }, id), badge(head.status), paused ? h("span", { class: "badge is-waiting" }, say("paused")) : null,
        h("span", { class: "dim target" }, (head.targets || []).join(", ")), h("span", { class: "buttons" }, buttons)),
      h("dl", { class: "facts" },
        fact("began", h("span", { title: whole(head.began) }, clock(head.began))),
        fact("took", spelled(Math.max(head.seconds, head.seconds + Math.floor(passed)))),
        fact("steps", head.steps === null ? say("counting") : number(head.steps)),
        counts?.attempts ? fact("retries", number(counts.attempts)) : null,
        fact("engine", isStore ? say("store") + (head.process ? ` · ${head.process}` : "") : engine),
        Object.keys(head.params || {}).length ? fact("params", h("span", { class: "mono" }, Object.entries(head.params).map(([name, value]) => `${name}=${value}`).join("  "))) : null),
      counts ? h("div", { class: "glance" }, bar(counts), h("ul", { class: "counts" }, COUNTS.filter(([, name]) => counts[name]).map(([state, name]) => h("li", {}, h("button", { class: "plain", "data-key": `count-${name}`, onclick: () => go("steps", { status: state }) }, shape(state), " ", h("b", { class: "num" }, number(counts[name])), " ", word(state)))))) : null,
      head.error ? h("div", { class: "failure" }, shape("Failed"), h("span", { class: "mono" }, head.error)) : null,
      waits(goesOn), notes());
  }
  const from = () => (head.state ? ` --state ${quoted(head.state)}` : "");
  const fact = (key, value) => h("div", {}, h("dt", {}, say(key)), h("dd", {}, value));

  function waits(goesOn) {
    if (!goesOn) return null;
    const signals = (head.signals || []).map((each) => h("li", {}, shape("Waiting"), say("waits_for"), " ", say("signal"), " ", h("b", { class: "mono" }, each.name), h("button", { class: "small main", "data-key": `answer-${each.name}`, onclick: () => askForSignal(engine, id, head.signals.find((one) => one.name === each.name)) }, say("answer"))));
    const held = (status?.waiting || []).map((each) => h("li", {}, shape("Waiting"), h("b", { class: "num" }, number(each.calls)), " ", say("waits_for"), " ", each.reason));
    return signals.length + held.length ? h("ul", { class: "waits" }, signals, held) : null;
  }

  function notes() {
    const found = [...(head.warnings || [])];
    const isLive = !isStore && head.status === "Running";
    if (isLive && head.level === 0) found.push(say("only_counted"));
    else if (isLive && head.level === 1) found.push(say("no_results"));
    if (head.missed && !(isLive && head.level === 0)) found.push(say("missed"));
    if (head.kept < head.steps) found.push(say("kept", { kept: number(head.kept), all: number(head.steps) }));
    const far = status?.runs?.[0]?.progress;
    if (head.level === 0 && far) for (const [name, count] of Object.entries(far.loops)) found.push(`${name}: ${number(count)}`);
    return found.length ? h("ul", { class: "notes" }, found.map((each) => h("li", {}, each))) : null;
  }

  // --- the tabs

  function drawTabs() {
    put(tabs, TABS.map((name) => h("button", { role: "tab", "aria-selected": String(name === shown), tabindex: name === shown ? 0 : -1, "data-key": `tab-${name}`, onclick: () => go(name), onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      go(TABS[(TABS.indexOf(shown) + step + TABS.length) % TABS.length]);
      tabs.querySelector('[aria-selected="true"]').focus();
    } }, say(name))));
  }
  function go(name, given = {}) {
    shown = name;
    history.replaceState(null, "", `#/run/${encodeURIComponent(engine)}/${encodeURIComponent(id)}/${name}`);
    drawTabs();
    view?.leave?.();
    const box = h("div", { class: "view" });  // what an earlier view still waits for does not come into this one
    place.replaceChildren(box);
    view = VIEWS[name](box, given);
    view.again();
  }

  const VIEWS = {
    picture: (box) => showPicture(box, seen, openNode),
    line: (box) => ({ again: seldom(400, async () => put(box, timeLine(await seen("line"), openNode))) }),
    nodes: (box) => ({ again: seldom(400, async () => drawNodes(box, await seen("nodes"))) }),
    steps: showSteps,
    log: showLog,
  };

  function drawNodes(box, told) {
    if (!told.nodes.length) {
      put(box, h("p", { class: "dim none" }, told.counting ? say("counting") : say("no_steps")));
      return;
    }
    const keys = ["state", "node", "calls", "retries", "iteration", "busy", "error"];
    put(box, h("table", { class: "nodes" }, h("thead", {}, h("tr", {}, keys.map((key) => h("th", { scope: "col" }, say(key))))),
      h("tbody", {}, told.nodes.map((node) => h("tr", {},
        h("td", {}, badge(node.status)),
        h("td", { class: "mono" }, h("button", { class: "linkish", "data-key": `node-${node.name}`, onclick: () => openNode(node.name) }, node.name)),
        h("td", { class: "num" }, number(node.started || node.skipped)),
        h("td", { class: "num" }, node.attempts ? number(node.attempts) : ""),
        h("td", { class: "num" }, node.iteration ? number(node.iteration + 1) : ""),
        h("td", { class: "num" }, spelled(node.seconds)),
        h("td", { class: "error-line" }, node.error || node.reason || ""))))),
      told.more ? h("p", { class: "dim" }, say("more_rows", { n: number(told.more) })) : null);
  }

  function showSteps(box, given) {
    const filter = { status: given.status || "", text: "", node: given.node || "", iteration: "" };
    const wanted = () => ({ status: filter.status || null, text: filter.text || null, node: filter.node || null, iteration: filter.iteration === "" ? null : Number(filter.iteration) });
    const list = new List({ label: say("steps"), fetch: (after, limit) => seen("steps", { ...wanted(), after, limit }), draw: stepRow, open: openStep, empty: () => say(filter.text || filter.status ? "nothing_found" : "no_steps") });
    const bars = h("div", { class: "filter small" });
    const drawBars = () => put(bars,
      h("input", { type: "search", "data-key": "search-steps", placeholder: say("search_steps"), "aria-label": say("search_steps"), oninput: (event) => { filter.text = event.target.value; list.begin(); } }),
      h("select", { "data-key": "state", "aria-label": say("state"), onchange: (event) => { filter.status = event.target.value; list.begin(); } }, ["", ...STATES].map((each) => h("option", { value: each, selected: each === filter.status }, each ? word(each) : say("all")))),
      h("label", { class: "inline" }, say("iteration"), h("input", { type: "number", min: 1, "data-key": "iteration", class: "narrow", oninput: (event) => { filter.iteration = event.target.value === "" ? "" : Math.max(0, event.target.valueAsNumber - 1); list.begin(); } })),
      filter.node ? h("span", { class: "chip" }, say("of_node", { name: filter.node }), h("button", { class: "plain", "aria-label": say("all_steps"), onclick: () => { filter.node = ""; drawBars(); list.begin(); } }, "✕")) : null);
    drawBars();
    put(box, bars, list.place);
    let begun = false;
    const again = seldom(300, async () => { if (begun) await list.again(); else { begun = true; await list.begin(); } });
    return { again };
  }

  const stepRow = (row) => [shape(row.status),
    h("span", { class: "name" }, row.task_id, row.iteration ? h("span", { class: "dim" }, ` @${row.iteration + 1}`) : null),
    h("span", { class: `what ${row.error && row.status !== "Succeeded" ? "bad" : ""}` }, row.reason || (row.status === "Succeeded" ? row.preview : row.error) || row.preview || ""),
    row.attempt > 1 ? h("span", { class: "times", title: say("attempt") }, `↻${row.attempt}`) : null,
    h("span", { class: "num took" }, row.ended === null ? word(row.status) : row.status === "Skipped" ? "" : spelled(row.ended - row.started))];

  function showLog(box) {
    const filter = { level: "", text: "" };
    const list = new List({ label: say("log"), fetch: (after, limit) => seen("logs", { level: filter.level || null, text: filter.text || null, after, limit }), draw: (row) => [h("span", { class: "dim num" }, clock(row.at)), h("span", { class: `level is-${row.level}` }, row.level), row.task_id ? h("span", { class: "name" }, row.task_id) : null, h("span", { class: "what" }, row.message)],
      open: (row) => openSide(h("h2", {}, row.level), h("dl", { class: "facts tall-facts" }, fact("began", whole(row.at)), row.task_id ? fact("steps", h("span", { class: "mono" }, row.task_id)) : null, fact("name", h("span", { class: "mono" }, row.logger || ""))), h("pre", {}, row.message)),
      empty: () => say(isStore ? "no_log_store" : "no_log") });
    put(box, h("div", { class: "filter small" },
      h("input", { type: "search", placeholder: say("search_logs"), "aria-label": say("search_logs"), oninput: (event) => { filter.text = event.target.value; list.begin(); } }),
      h("select", { "aria-label": say("level"), onchange: (event) => { filter.level = event.target.value; list.begin(); } }, ["", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].map((each) => h("option", { value: each }, each || say("all"))))), list.place);
    let begun = false;
    return { again: seldom(500, async () => { if (begun) await list.again(); else { begun = true; await list.begin(); } }) };
  }

  // --- what is chosen

  let cameFrom = null;
  function openSide(...inside) {
    if (side.hidden) cameFrom = document.activeElement;
    side.hidden = false;
    side.replaceChildren(h("button", { class: "plain close", "aria-label": say("close"), onclick: closeSide }, "✕"), ...inside.flat().filter(Boolean));
    side.scrollTop = 0;
    side.querySelector(".close").focus({ preventScroll: true });
  }
  function closeSide() {
    side.hidden = true;
    side.replaceChildren();
    cameFrom?.focus?.();
  }
  const escape = (event) => { if (event.key === "Escape" && !side.hidden && !document.querySelector("dialog[open]")) closeSide(); };
  document.addEventListener("keydown", escape);

  async function openNode(name) {
    try {
      const told = await seen("steps", { node: name, limit: 2 });
      if (told.rows.length === 1 && !told.more) openStep(told.rows[0]);
      else go("steps", { node: name });
    } catch (error) {
      failed(error);
    }
  }

  async function openStep(row) {
    let more = { arguments: [], logs: [] };
    try {
      more = await seen("step", { task_id: row.task_id, iteration: row.iteration });
    } catch (error) {
      failed(error);
    }
    const given = more.arguments.length ? [h("h3", {}, say("arguments")), h("dl", { class: "arguments" }, more.arguments.map((each) => h("div", {}, h("dt", {}, each.name, each.source ? h("span", { class: "dim" }, ` ← ${each.source}`) : null), h("dd", { class: "mono" }, each.preview ?? "…"))))] : null;
    openSide(
      h("h2", { class: "mono" }, row.task_id), badge(row.status),
      h("dl", { class: "facts tall-facts" },
        fact("began", whole(row.started)),
        row.ended && row.status !== "Skipped" ? fact("took", spelled(row.ended - row.started)) : null,
        row.attempt > 1 ? fact("attempt", number(row.attempt)) : null,
        row.iteration ? fact("iteration", number(row.iteration + 1)) : null,
        row.reason ? fact("reason", row.reason) : null),
      given,
      row.preview ? [h("h3", {}, say("result")), h("pre", {}, row.preview)] : null,
      row.error ? [h("h3", {}, say("error")), h("pre", { class: "bad" }, row.error)] : null,
      row.traceback ? h("details", { open: true }, h("summary", {}, say("traceback")), h("pre", {}, row.traceback)) : null,
      more.logs.length ? [h("h3", {}, say("log")), h("ul", { class: "plain-list logs" }, more.logs.map((each) => h("li", {}, h("span", { class: `level is-${each.level}` }, each.level), " ", each.message)))] : null,
      isStore ? h("div", { class: "buttons" }, h("button", { onclick: () => tellCommand(say("fork"), `cascade fork-run ${quoted(id)} ${quoted(row.task_id.replace(/(\[\d+\])+$/, ""))}${from()}`) }, say("fork"))) : null);
  }

  // --- looking

  const lookAtEngine = seldom(800, async () => {
    if (isStore || ENDED.includes(head?.status)) return;
    try {
      status = await ask("status", { engine, run: id });
    } catch (error) {
      if (error.kind !== "StateError" && error.kind !== "ConnectorError") throw error;
      status = null;
    }
    drawHead();
  });
  const stop = hear({ engine, run: id }, (told, kind) => {
    if (kind === "gone") {
      if (!head) put(top, h("section", { class: "empty" }, h("h1", {}, id), h("p", {}, say("gone"))));
      return;
    }
    const isFirst = !head, isNew = isFirst || head.version !== told.version;
    head = told;
    headAt = performance.now();
    drawHead();
    if (isFirst) {
      go(shown || (isStore ? "line" : "picture"));
      lookAtEngine();
    } else if (isNew) view?.again();
  }, connected);
  const timer = setInterval(() => { if (head && !ENDED.includes(head.status)) { drawHead(); lookAtEngine(); if (shown === "line") view?.again(); } }, 1000);
  drawTabs();
  return () => { stop(); clearInterval(timer); view?.leave?.(); document.removeEventListener("keydown", escape); };
}
