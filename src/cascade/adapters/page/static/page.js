// Begins the page, and shows what its address asks for: #/ the runs, #/run/ENGINE/ID one of them, #/compare/ENGINE/ID/ENGINE/ID two, #/engines.
import { showCompared } from "./compare.js";
import { h, put } from "./dom.js";
import { showEngines } from "./engines.js";
import { dot, noToken } from "./link.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";
import { enter } from "./talk.js";
import { say, speak, spoken } from "./texts.js";

const THEMES = ["auto", "light", "dark"];
let theme = THEMES.includes(localStorage.getItem("cascade-theme")) ? localStorage.getItem("cascade-theme") : "auto";
let leave = () => {};

function paint() {
  document.documentElement.dataset.theme = theme;
}

function top(place) {
  const item = (to, key, at) => h("a", { href: to, "aria-current": at ? "page" : null }, say(key));
  put(document.getElementById("top"),
    h("a", { href: "#main", class: "skip", onclick: (event) => { event.preventDefault(); document.getElementById("main").focus(); } }, say("skip_to")),
    h("a", { href: "#/", class: "mark" }, h("img", { src: "/page/icon.svg", alt: "", width: 22, height: 22 }), "Cascade"),
    h("nav", {}, item("#/", "runs", place !== "engines"), item("#/engines", "engines", place === "engines")),
    dot(),
    h("button", { class: "plain", "data-key": "language", lang: spoken() === "zh" ? "en" : "zh", onclick: () => { speak(spoken() === "zh" ? "en" : "zh"); show(); } }, spoken() === "zh" ? "English" : "中文"),
    h("button", { class: "plain", "data-key": "theme", title: say(`theme_${theme}`), "aria-label": say(`theme_${theme}`), onclick: () => { theme = THEMES[(THEMES.indexOf(theme) + 1) % 3]; localStorage.setItem("cascade-theme", theme); paint(); show(); } }, { auto: "◐", light: "○", dark: "●" }[theme]));
}

export function show() {
  leave();
  const [, place, engine, ...rest] = location.hash.slice(1).split("/");
  top(place);
  const main = document.getElementById("main");
  main.replaceChildren();
  main.className = "";
  document.title = "Cascade";
  if (place === "engines") leave = showEngines(main) ?? (() => {});
  else if (place === "run" && rest.length) leave = showRun(main, decodeURIComponent(engine), decodeURIComponent(rest[0]), rest[1] || "") ?? (() => {});
  else if (place === "compare" && rest.length === 3) leave = showCompared(main, [[engine, rest[0]], [rest[1], rest[2]]].map((each) => each.map(decodeURIComponent)));
  else leave = showRuns(main) ?? (() => {});
}

paint();
try {
  await enter();
  window.addEventListener("hashchange", show);
  show();
} catch (error) {
  top("");
  noToken(error.kind !== "Lost");
}
