// Asking the server, and hearing from it what has changed.
export class Refused extends Error {
  constructor(text, kind) {
    super(text);
    this.kind = kind;
  }
}

async function post(path, said) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(said), credentials: "same-origin", redirect: "error" });
  } catch {
    throw new Refused("", "Lost");
  }
  let told;
  try {
    told = await answer.json();
  } catch {
    throw new Refused(`${answer.status} ${answer.statusText}`, "Lost");
  }
  if (!told.ok) throw new Refused(told.error, told.kind);
  return told.value;
}

export const ask = (done, given = {}) => post("/ask", { do: done, ...given });

// The token comes once, behind the # of the address, and is taken out of it at once.
export async function enter() {
  const found = /[#&]token=([^&]+)/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + "#/");
  await post("/enter", { token: decodeURIComponent(found[1]) });
}

// Hears until `stop` is called. The browser itself connects again.
export function hear(given, told, state) {
  const source = new EventSource(`/live?${new URLSearchParams(given)}`);
  const heard = (event) => told(JSON.parse(event.data), event.type);
  source.addEventListener("told", heard);
  source.addEventListener("gone", heard);
  source.addEventListener("closed", () => {
    source.close();
    state("closed");
  });
  source.onopen = () => state("live");
  source.onerror = () => state("lost");
  return () => source.close();
}

// Calls a function again and again, but one after the other, and at most so often: what comes meanwhile is one call.
export function seldom(every, act) {
  let busy = false, wanted = false, last = 0, timer = 0;
  const go = async () => {
    if (busy) {
      wanted = true;
      return;
    }
    const wait = last + every - performance.now();
    if (wait > 0) {
      timer ||= setTimeout(() => { timer = 0; go(); }, wait);
      return;
    }
    busy = true;
    wanted = false;
    last = performance.now();
    try {
      await act();
    } catch (error) {
      if (error.kind === undefined) throw error;
    } finally {
      busy = false;
      if (wanted) go();
    }
  };
  return go;
}
