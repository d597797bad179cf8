// Making elements: whatever is named by users comes in as text, never as markup.
export function h(name, given = {}, ...inside) {
  return fill(document.createElement(name), given, inside);
}

const SVG = "http://www.w3.org/2000/svg";
export function s(name, given = {}, ...inside) {
  return fill(document.createElementNS(SVG, name), given, inside);
}

function fill(made, given, inside) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) made.style.setProperty(key, each);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...inside.flat(3).filter((each) => each !== null && each !== undefined && each !== false).map((each) => (each instanceof Node ? each : String(each))));
  return made;
}

// Puts elements into a place, and leaves it alone where they look as what is there.
export function put(place, ...inside) {
  const made = inside.flat(3).filter((each) => each !== null && each !== undefined && each !== false).map((each) => (each instanceof Node ? each : document.createTextNode(String(each))));
  const there = [...place.childNodes];
  const held = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  made.forEach((each, at) => {
    if (at >= there.length) place.append(each);
    else if (!there[at].isEqualNode(each) || each.dataset?.fresh !== undefined) there[at].replaceWith(each);
  });
  there.slice(made.length).forEach((each) => each.remove());
  if (held && !place.contains(document.activeElement)) place.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
}
