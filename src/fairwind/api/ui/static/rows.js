/**
 * <fw-rows topic columns link="order:/provenance/{order}" actions="acknowledge" filter sort="-ts_ns">:
 * a table that keeps its lines. <fw-steps topic>: rows as steps, one after the other, with latencies.
 */
import { ask, KINDS } from "./controls.js";
import { label, make, put, span, text, unit } from "./format.js";
import { View } from "./view.js";

const LONG = /^(text|detail|reason|reasons|inputs|codes|mask|why|problem|changes|gates|last_error)$/;
const TONES = {
  bad: /^(critical|failed|FAILED|REFUSED|INVARIANT.*|loss|LOSS|error|no answer|broken)$/,
  warn: /^(warning|degraded|firing|EXPIRED|CANCELLED|KILLED|expired|void|VOID|disabled|burning)$/,
  good: /^(ok|OK|FILLED|win|WIN|CONFIRMED|running|connected)$/,
  calm: /^(info|acknowledged|resolved|LISTED|OPEN|SETTLED|PENDING|DECIDED|SENT|LIVE|RESTING|PARTIAL)$/,
};
const tone = (word) => Object.keys(TONES).find((name) => TONES[name].test(word));
const chip = (word) => make("span", { class: `chip ${tone(word) ?? ""}` }, word);

/** Order of two figures; what is not there comes last. */
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "string" && typeof b === "string") return a.localeCompare(b, "en", { numeric: true });
  return a < b ? -1 : Number(a > b);
}

class Rows extends View {
  #lines = new Map();
  #columns = "";
  #sort = null;
  #words = "";

  isEmpty({ rows }) { return rows.length === 0; }

  draw(shape) {
    if (!this.table) this.#frame();
    if (shape.columns.join() !== this.#columns) this.#head(shape);
    const at = shape.columns.indexOf(shape.key);
    const lines = this.#sorted(shape).map((row) => this.#line(shape, row[at], row));
    const shown = lines.filter(({ words }) => words.includes(this.#words)).map(({ tr }) => tr);
    if (this.tbody.children.length !== shown.length || shown.some((tr, n) => this.tbody.children[n] !== tr)) {
      this.tbody.replaceChildren(...shown);
    }
    if (this.#lines.size > lines.length) this.#forget(new Set(shape.rows.map((row) => row[at])));
    const whole = Number(shape.total) === shown.length;
    this.count.textContent = whole ? String(shown.length) : `${shown.length} of ${text("", shape.total)}`;
  }

  #frame() {
    this.count = make("small", { class: "count" });
    this.heading.children[0]?.after(this.count);
    if (this.hasAttribute("filter")) {
      const filter = make("input", { type: "search", placeholder: "filter", "aria-label": `filter ${this.getAttribute("label")}` });
      filter.addEventListener("input", () => { this.#words = filter.value.toLowerCase(); this.redraw(); });
      this.heading.append(filter);
    }
    this.actions = document.body.dataset.mode === "REPLAY" ? [] : this.names("actions");
    const name = this.getAttribute("label") ?? "table";
    this.head = make("tr");
    this.tbody = make("tbody");
    this.table = make("table", {}, make("thead", {}, this.head), this.tbody);
    this.body.append(make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": `${name}, scrolls` }, this.table));
  }

  #head(shape) {
    this.#columns = shape.columns.join();
    this.#lines.clear();
    const named = this.names("columns");
    const hidden = new Set(this.names("skip"));
    this.shown = (named.length ? named : shape.columns).filter((c) => shape.columns.includes(c) && !hidden.has(c));
    const numeric = (name) => unit(name) || shape.rows.some((row) => /number|bigint/.test(typeof row[shape.columns.indexOf(name)]));
    this.numeric = new Set(this.shown.filter(numeric));
    const cells = this.shown.map((name) => {
      const button = make("button", { type: "button", onclick: () => this.#order(name) }, label(name));
      return make("th", { scope: "col", "data-column": name, class: this.numeric.has(name) ? "num" : "" }, button);
    });
    if (this.actions.length) cells.push(make("th", { scope: "col" }, "Do"));
    this.head.replaceChildren(...cells);
    const first = this.getAttribute("sort");
    if (first && !this.#sort) this.#sort = [first.replace("-", ""), first.startsWith("-") ? -1 : 1];
    this.#mark();
  }

  #order(name) {
    const [old, way] = this.#sort ?? [];
    this.#sort = old === name && way === 1 ? null : [name, old === name ? 1 : -1];
    this.#mark();
    this.redraw();
  }

  #mark() {
    for (const th of this.head.children) {
      const [name, way] = this.#sort ?? [];
      if (th.dataset.column === name) th.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    }
  }

  /** As sorted by the operator; else the newest first, unless `order="given"`. */
  #sorted({ rows, columns }) {
    if (!this.#sort) return this.getAttribute("order") === "given" ? rows : [...rows].reverse();
    const [name, way] = this.#sort;
    const at = columns.indexOf(name);
    return [...rows].sort((a, b) => (a[at] === null || b[at] === null ? 1 : way) * compare(a[at], b[at]));
  }

  #line({ columns }, key, row) {
    let line = this.#lines.get(key);
    if (!line) this.#lines.set(key, line = { tr: make("tr", { "data-key": key }), row: null });
    if (line.row === row) return line;
    const record = Object.fromEntries(columns.map((name, n) => [name, row[n]]));
    const cells = this.shown.map((name) => this.#cell(name, record));
    if (this.actions.length) cells.push(this.#actions(record));
    line.tr.replaceChildren(...cells);
    line.row = row;
    line.words = cells.map((cell) => cell.textContent).join(" ").toLowerCase();
    return line;
  }

  #forget(keys) {
    for (const key of this.#lines.keys()) if (!keys.has(key)) this.#lines.delete(key);
  }

  #cell(name, record) {
    const value = record[name];
    const cell = make("td", { "data-column": name, class: this.numeric.has(name) ? "num" : LONG.test(name) ? "long" : "" });
    put(cell, name, value);
    const target = this.names("link").find((one) => one.startsWith(`${name}:`));
    if (target && value !== null) {
      const href = target.slice(name.length + 1).replace(/\{(\w+)\}/g, (_, column) => encodeURIComponent(record[column]));
      cell.replaceChildren(make("a", { href }, cell.textContent));
    } else if (name === "changes" && value) {
      cell.replaceChildren(...String(value).split(">").map(chip));
    } else if (typeof value === "string" && tone(value)) {
      cell.replaceChildren(chip(value));
    } else if (this.names("bars").includes(name) && value !== null) {
      const meter = make("meter", { min: 0, max: 1, high: 0.8, optimum: 0, value: Number(value), "aria-hidden": "true" });
      cell.prepend(meter);
    }
    return cell;
  }

  #actions(record) {
    const buttons = this.actions.map((kind) => {
      if (KINDS[kind].applies && !KINDS[kind].applies(record)) return "";
      const words = KINDS[kind].button(record);
      return make("button", { type: "button", "data-do": kind, onclick: () => ask(kind, record) }, words);
    });
    return make("td", { class: "do" }, ...buttons);
  }
}

class Steps extends View {
  isEmpty({ rows }) { return rows.length === 0; }

  draw({ rows, columns }) {
    const steps = rows.map((row) => this.#step(Object.fromEntries(columns.map((name, n) => [name, row[n]]))));
    this.body.replaceChildren(make("ol", { class: "steps" }, ...steps));
  }

  #step(row) {
    const at = make("time", {});
    put(at, "at_ns", row.at_ns);
    const late = row.latency_ns === null || row.latency_ns === undefined ? "" : `+${span(row.latency_ns)}`;
    const latency = make("small", { "data-value": String(row.latency_ns ?? ""), title: "after the step before" }, late);
    const inputs = String(row.inputs ?? "").split(/[ ,;]+(?=[\w.]+=)/).filter(Boolean).map((one) => make("code", {}, one));
    const code = row.code ? [chip(String(row.code))] : [];
    return make("li", { "data-part": row.part },
      make("div", { class: "when" }, at, latency),
      make("div", {}, make("h3", {}, row.part, " ", ...code),
        make("p", {}, text("text", row.text)), make("p", { class: "inputs" }, ...inputs)));
  }
}

customElements.define("fw-rows", Rows);
customElements.define("fw-steps", Steps);
