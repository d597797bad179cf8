// The engines that go on: what they are, what holds them back, and how that is changed.
import { act, askForLimit } from "./acts.js";
import { h, put } from "./dom.js";
import { connected, failed } from "./link.js";
import { ask, hear, seldom } from "./talk.js";
import { number, say, spelled } from "./texts.js";

export function showEngines(main) {
  document.title = `${say("engines")} · Cascade`;
  const place = h("div", { class: "engines" });
  main.append(h("div", { class: "filter" }, h("h1", {}, say("engines"))), place);
  const look = seldom(400, async () => {
    try {
      const told = await ask("engines");
      put(place, told.engines.length ? told.engines.map((each) => card(each, look)) : h("section", { class: "empty" }, h("p", {}, say("no_engines"))));
    } catch (error) {
      failed(error);
    }
  });
  const stop = hear({}, () => {}, connected);
  const timer = setInterval(look, 1000);
  look();
  return () => { stop(); clearInterval(timer); };
}

export const isPaused = (told) => told.limits.some((each) => each.kind === "pause" && each.scope === "global");

function card(told, look) {
  const engine = told.engine, paused = isPaused(told);
  const then = async (done, given, words) => { await act(done, { engine, ...given }, words); look(); };
  return h("article", { class: "card" },
    h("header", {}, h("h2", { class: "mono" }, engine), h("span", { class: "dim" }, `${told.program || ""} · pid ${told.pid}`), paused ? h("span", { class: "badge is-waiting" }, say("paused")) : null,
      h("span", { class: "buttons" },
        paused ? h("button", { "data-key": `resume-${engine}`, onclick: () => then("resume", { scope: "global" }, "done_resume") }, say("resume")) : h("button", { "data-key": `pause-${engine}`, onclick: () => then("pause", { scope: "global" }, "done_pause") }, say("pause")),
        h("button", { "data-key": `limit-${engine}`, onclick: () => askForLimit(engine, "global", look) }, say("add_limit")))),
    told.busy ? h("p", { class: "note" }, say("loop_busy")) : null,
    h("h3", {}, say("limits")),
    told.limits.length ? h("ul", { class: "plain-list" }, told.limits.map((each) => limit(each, then))) : h("p", { class: "dim" }, say("no_limits")),
    told.waiting.length ? [h("h3", {}, say("waiting")), h("ul", { class: "plain-list" }, told.waiting.map((each) => h("li", {}, h("span", { class: "num" }, number(each.calls)), " ", each.reason)))] : null,
    h("h3", {}, say("runs")),
    h("ul", { class: "plain-list" }, told.runs.map((run) => h("li", {}, h("a", { href: `#/run/${encodeURIComponent(engine)}/${encodeURIComponent(run.id)}` }, run.id), " ", h("span", { class: "dim" }, `${run.targets.join(", ")} · ${spelled(Math.round(run.seconds))}`)))));
}

function limit(each, then) {
  const words = { pause: say("paused"), concurrency: `${say("concurrency")} ${each.value}`, rate: `${say("rate")} ${each.value}/s${each.burst ? ` (${each.burst})` : ""}` };
  const cleared = each.kind === "pause" ? "resume" : "clear_limit";
  return h("li", {}, h("span", { class: "mono" }, each.scope), " ", words[each.kind] ?? each.kind,
    each.expires_in === null ? null : h("span", { class: "dim" }, ` ${say("expires", { seconds: spelled(Math.round(each.expires_in)) })}`),
    h("button", { class: "small", "data-key": `clear-${each.scope}-${each.kind}`, onclick: () => then(cleared, { scope: each.scope }, each.kind === "pause" ? "done_resume" : "done_clear") }, say("clear")));
}
