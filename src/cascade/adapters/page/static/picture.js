// The picture of a run: boxes and lines as the server has placed them, in the colours of what becomes of them.
import { h, put } from "./dom.js";
import { say } from "./texts.js";

export function showPicture(place, seen, open) {
  return { again: async () => put(place, h("p", { class: "dim none" }, say("no_picture"))) };
}
