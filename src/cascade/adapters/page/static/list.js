// A list of any length: rows of one height, of which those alone are there that are seen; more are fetched when needed.
import { h, put } from "./dom.js";
import { failed } from "./link.js";

const MORE = 40, MOST = 20000;

export class List {
  // fetch(after, limit) gives {rows, more}; draw(row) gives what a row holds; open(row) is called for the one that is chosen.
  constructor({ label, fetch, draw, open, height = 30, empty }) {
    Object.assign(this, { fetch, draw, open, height, empty });
    this.rows = [];
    this.more = true;
    this.at = -1;
    this.busy = false;
    this.turn = 0;  // what was asked for before the list began anew is not looked at
    this.tall = h("div", { class: "tall" });
    this.none = h("p", { class: "dim none", hidden: true });
    this.place = h("div", { class: "rows", tabindex: 0, role: "listbox", "aria-label": label, onscroll: () => this.show(), onkeydown: (event) => this.key(event) }, this.tall, this.none);
    new ResizeObserver(() => this.show()).observe(this.place);
  }

  async begin() {
    this.turn += 1;
    this.busy = false;
    this.rows = [];
    this.more = true;
    this.at = -1;
    this.place.scrollTop = 0;
    await this.load();
  }

  get first() {
    return Math.floor(this.place.scrollTop / this.height);
  }
  get fitting() {
    return Math.ceil((this.place.clientHeight || 600) / this.height) + 1;
  }

  async load(limit = this.fitting + MORE) {
    if (this.busy || !this.more) return;
    this.busy = true;
    const turn = this.turn;
    try {
      const told = await this.fetch(this.rows.at(-1)?.number ?? 0, limit);
      if (turn !== this.turn) return;
      this.rows.push(...told.rows);
      this.more = told.more;
    } catch (error) {
      if (turn !== this.turn) return;
      this.more = false;
      failed(error);
    } finally {
      if (turn === this.turn) this.busy = false;
    }
    this.show();
  }

  // Looks again at what is seen, as it may have changed.
  async again() {
    if (this.busy) return;
    this.busy = true;
    const turn = this.turn, first = Math.max(0, Math.min(this.first, this.rows.length - this.fitting));
    try {
      const told = await this.fetch(first > 0 ? this.rows[first - 1].number : 0, this.fitting + MORE);
      if (turn !== this.turn) return;
      const behind = told.more ? this.rows.slice(first + told.rows.length) : [];
      this.rows.splice(first, this.rows.length, ...told.rows, ...behind);
      this.more = behind.length ? this.more : told.more;
    } finally {
      if (turn === this.turn) this.busy = false;
    }
    this.show();
  }

  show() {
    const first = Math.max(0, this.first - 3), last = Math.min(this.rows.length, this.first + this.fitting + 3);
    this.tall.style.height = `${this.rows.length * this.height}px`;
    put(this.tall, this.rows.slice(first, last).map((row, at) => this.made(row, first + at)));
    this.none.hidden = this.rows.length > 0 || this.more;
    this.none.textContent = this.empty();
    if (this.at >= 0) this.place.setAttribute("aria-activedescendant", `row-${this.rows[this.at]?.number}`);
    if (this.more && last > this.rows.length - MORE / 2) this.load();
  }

  made(row, at) {
    return h("div", { class: "row", id: `row-${row.number}`, role: "option", "aria-selected": String(at === this.at), "data-at": at, style: { top: `${at * this.height}px` }, onclick: (event) => this.choose(Number(event.currentTarget.dataset.at), true) }, this.draw(row));
  }

  choose(at, opens) {
    if (!this.rows.length) return;
    this.at = Math.max(0, Math.min(at, this.rows.length - 1));
    const top = this.at * this.height, place = this.place;
    if (top < place.scrollTop) place.scrollTop = top;
    else if (top + this.height > place.scrollTop + place.clientHeight) place.scrollTop = top + this.height - place.clientHeight;
    this.show();
    if (opens) this.open(this.rows[this.at]);
  }

  async toEnd() {
    while (this.more && this.rows.length < MOST) {
      const before = this.rows.length;
      await this.load(300);
      if (this.rows.length === before) break;
    }
    this.choose(this.rows.length - 1, false);
  }

  key(event) {
    const page = this.fitting - 2;
    if (event.key === "End") this.toEnd();
    const to = { ArrowDown: this.at + 1, ArrowUp: this.at - 1, PageDown: this.at + page, PageUp: this.at - page, Home: 0, End: this.rows.length - 1 }[event.key];
    if (to !== undefined) this.choose(to, false);
    else if ((event.key === "Enter" || event.key === " ") && this.at >= 0) this.open(this.rows[this.at]);
    else return;
    event.preventDefault();
  }
}
