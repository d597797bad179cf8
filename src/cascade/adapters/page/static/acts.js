// What can be done: dialogs that ask, and what is said when it is done.
import { h } from "./dom.js";
import { failed, tell } from "./link.js";
import { ask } from "./talk.js";
import { say } from "./texts.js";

export function dialog(title, ...inside) {
  const made = h("dialog", { class: "dialog", "aria-label": title },
    h("form", { method: "dialog" }, h("header", {}, h("h2", {}, title), h("button", { class: "plain", "aria-label": say("close"), value: "close" }, "✕"))),
    ...inside);
  made.addEventListener("close", () => made.remove());
  document.body.append(made);
  made.showModal();
  return made;
}

export async function act(done, given, words) {
  try {
    await ask(done, given);
    tell(say(words));
    return true;
  } catch (error) {
    failed(error);
    return false;
  }
}

export function askToCancel(engine, run) {
  const made = dialog(say("cancel"), h("p", {}, say("cancel_sure")), h("p", { class: "mono" }, run),
    h("div", { class: "buttons" },
      h("button", { class: "danger", autofocus: true, onclick: async () => { if (await act("cancel", { engine, run }, "done_cancel")) made.close(); } }, say("yes_cancel")),
      h("button", { onclick: () => made.close() }, say("no"))));
}

export function askForLimit(engine, scope = "global", after = () => {}) {
  const field = (name, key, help, given = {}) => h("label", {}, h("span", {}, say(key)), h("input", { name, ...given }), help ? h("small", {}, help) : null);
  const form = h("form", { class: "fields", onsubmit: async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    const args = { engine, scope: given.scope };
    if (given.concurrency !== "") args.concurrency = Number(given.concurrency);
    if (given.rate.trim() !== "") args.rate = given.rate.trim();
    if (given.ttl !== "") args.ttl = Number(given.ttl);
    if (await act("set_limit", args, "done_limit")) { made.close(); after(); }
  } },
    field("scope", "scope", say("scope_help"), { value: scope, required: true }),
    field("concurrency", "concurrency", null, { type: "number", min: 0, step: 1 }),
    field("rate", "rate", say("rate_help")),
    field("ttl", "ttl", null, { type: "number", min: 1, step: "any" }),
    h("div", { class: "buttons" }, h("button", { class: "main" }, say("set"))));
  const made = dialog(say("add_limit"), form);
}

// The field that a value of a type is filled in with, and how it is read.
function fieldOf(form) {
  if (form.kind === "bool") {
    const made = h("select", { name: "value" }, h("option", { value: "true" }, say("yes_value")), h("option", { value: "false" }, say("no_value")));
    return [say("value"), made, () => made.value === "true"];
  }
  if (form.kind === "choice") {
    const made = h("select", { name: "value" }, form.choices.map((each, at) => h("option", { value: at }, String(each))));
    return [say("value"), made, () => form.choices[Number(made.value)]];
  }
  if (form.kind === "int" || form.kind === "float") {
    const made = h("input", { name: "value", inputmode: form.kind === "int" ? "numeric" : "decimal", required: true });
    return [say("value"), made, () => {
      const value = Number(made.value);
      if (made.value.trim() === "" || !Number.isFinite(value) || (form.kind === "int" && !Number.isInteger(value))) throw new Error(say("not_number"));
      return value;
    }];
  }
  if (form.kind === "text") {
    const made = h("input", { name: "value" });
    return [say("value"), made, () => made.value];
  }
  const made = h("textarea", { name: "value", rows: 4, spellcheck: "false" }, "null");
  return [form.type ? say("value_type", { type: form.type }) : say("value_json"), made, () => {
    try {
      return JSON.parse(made.value);
    } catch {
      throw new Error(say("not_json"));
    }
  }];
}

export function askForSignal(engine, run, signal = null) {
  const named = signal ? null : h("input", { name: "name", required: true });
  const [label, field, read] = fieldOf(signal?.form ?? { kind: "json", type: "" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h("form", { class: "fields", onsubmit: async (event) => {
    event.preventDefault();
    let value;
    try {
      value = read();
    } catch (error) {
      wrong.textContent = error.message;
      return;
    }
    if (await act("signal", { engine, run, name: signal?.name ?? named.value, value }, "done_signal")) made.close();
  } },
    named ? h("label", {}, h("span", {}, say("name")), named) : h("p", {}, `${say("signal")} `, h("b", { class: "mono" }, signal.name)),
    h("label", {}, h("span", {}, label), field), wrong,
    h("div", { class: "buttons" }, h("button", { class: "main" }, say("send"))));
  const made = dialog(signal ? say("answer") : say("send_signal"), form);
}

// Nobody takes up runs here: what to type instead.
export function tellCommand(title, command) {
  dialog(title, h("p", {}, say("no_server")), h("pre", { class: "command" }, command),
    h("div", { class: "buttons" }, h("button", { autofocus: true, onclick: async () => { await navigator.clipboard.writeText(command); tell(say("copied")); } }, say("copy"))));
}
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
