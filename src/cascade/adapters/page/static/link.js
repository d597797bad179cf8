// How it stands between the page and its server, and what is said at the foot of the page.
import { h, put } from "./dom.js";
import { say } from "./texts.js";

let state = "";

export function connected(now) {
  state = now;
  document.getElementById("state")?.replaceWith(dot());
  if (now === "closed") tell(say("closed"), true, true);
}
export const dot = () => h("span", { id: "state", class: `link is-${state === "live" ? "live" : "lost"}` }, state ? say(state === "live" ? "live" : "lost") : "");

let timer = 0;
export function tell(text, isBad = false, stays = false) {
  const asking = document.querySelector("dialog[open]");
  if (asking && isBad) {  // what lies behind a dialog is not seen
    asking.querySelector(".refused")?.remove();
    asking.append(h("p", { class: "refused wrong", role: "alert" }, text));
    return;
  }
  const place = document.getElementById("says");
  place.className = isBad ? "shown bad" : "shown";
  place.replaceChildren(h("span", {}, text));
  clearTimeout(timer);
  if (!stays) timer = setTimeout(() => { place.className = ""; place.replaceChildren(); }, isBad ? 8000 : 3000);
}

export function noToken(wrong = false) {
  put(document.getElementById("main"), h("section", { class: "empty" }, h("h1", {}, say("no_token")), h("p", {}, say(wrong ? "wrong_token" : "no_token_how"))));
}

// Says what went wrong with something that was asked.
export function failed(error) {
  if (error.kind === undefined) throw error;
  if (error.kind === "NoToken") noToken();
  else if (error.kind === "Lost") connected("lost");
  else tell(error.message, true);
}
