/**
 * <fw-rows topic columns link="order:/provenance/{order}" actions="acknowledge" filter sort="-a">:
 * a table that keeps its lines. In: rows. Out: sorting, a filter, links and buttons for each line.
 */
import { ask } from "./controls.js";
import { chip, make, put, tone } from "./elements.js";
import { compare, label, signed, text, unit } from "./format.js";
import { KINDS } from "./kinds.js";
import { View } from "./view.js";

const LONG =
  /^(text|detail|reason|reasons|inputs|codes|mask|why|problem|changes|gates|last_error)$/;
class Rows extends View {
  #lines = new Map();
  #columns = "";
  #sort = null;
  #words = "";

  isEmpty({ rows }) {
    return rows.length === 0;
  }

  draw(shape) {
    if (!this.table) this.#frame();
    if (shape.columns.join() !== this.#columns) this.#head(shape);
    const at = shape.columns.indexOf(shape.key);
    const lines = this.#sorted(shape).map((row) => this.#line(shape, row[at], row));
    const shown = lines.filter(({ words }) => words.includes(this.#words)).map(({ tr }) => tr);
    if (
      this.tbody.children.length !== shown.length ||
      shown.some((tr, n) => this.tbody.children[n] !== tr)
    ) {
      this.tbody.replaceChildren(...shown);
    }
    if (this.#lines.size > lines.length) this.#forget(new Set(shape.rows.map((row) => row[at])));
    const whole = Number(shape.total) === shown.length;
    this.count.textContent = whole
      ? String(shown.length)
      : `${shown.length} of ${text("", shape.total)}`;
  }

  #frame() {
    this.count = make("small", { class: "count" });
    this.heading.children[0]?.after(this.count);
    if (this.hasAttribute("filter")) {
      const filter = make("input", {
        type: "search",
        placeholder: "filter",
        "aria-label": `filter ${this.getAttribute("label")}`,
      });
      filter.addEventListener("input", () => {
        this.#words = filter.value.toLowerCase();
        this.redraw();
      });
      this.heading.append(filter);
    }
    this.actions = document.body.dataset.mode === "REPLAY" ? [] : this.names("actions");
    const name = this.getAttribute("label") ?? "table";
    this.head = make("tr");
    this.tbody = make("tbody");
    this.table = make("table", {}, make("thead", {}, this.head), this.tbody);
    this.body.append(
      make(
        "div",
        { class: "scroll", tabindex: 0, role: "group", "aria-label": `${name}, scrolls` },
        this.table,
      ),
    );
  }

  #head(shape) {
    this.#columns = shape.columns.join();
    this.#lines.clear();
    const named = this.names("columns");
    const hidden = new Set(this.names("skip"));
    this.shown = (named.length ? named : shape.columns).filter(
      (c) => shape.columns.includes(c) && !hidden.has(c),
    );
    const numeric = (name) =>
      unit(name) ||
      shape.rows.some((row) => /number|bigint/.test(typeof row[shape.columns.indexOf(name)]));
    this.numeric = new Set(this.shown.filter(numeric));
    this.extra = new Set(this.names("extra"));
    const cells = this.shown.map((name) => {
      const onclick = () => this.#order(name);
      const button = make("button", { type: "button", onclick }, label(name));
      return make("th", { scope: "col", "data-column": name, class: this.#style(name) }, button);
    });
    if (this.actions.length) cells.push(make("th", { scope: "col" }, "Do"));
    this.head.replaceChildren(...cells);
    const first = this.getAttribute("sort");
    if (first && !this.#sort) this.#sort = [first.replace("-", ""), first.startsWith("-") ? -1 : 1];
    this.#mark();
  }

  #style(name) {
    const kind = this.numeric.has(name) ? "num" : LONG.test(name) ? "long" : "";
    return this.extra.has(name) ? `${kind} extra` : kind;
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
      if (th.dataset.column === name)
        th.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    }
  }

  /** As sorted by the operator; else the newest first, unless `order="given"`. */
  #sorted({ rows, columns }) {
    if (!this.#sort) return this.getAttribute("order") === "given" ? rows : [...rows].reverse();
    const [name, way] = this.#sort;
    const at = columns.indexOf(name);
    return [...rows].sort(
      (a, b) => (a[at] === null || b[at] === null ? 1 : way) * compare(a[at], b[at]),
    );
  }

  /** Only cells with another figure are made anew: what somebody is about to press stays. */
  #line({ columns }, key, row) {
    let line = this.#lines.get(key);
    if (!line) {
      line = { tr: make("tr", { "data-key": key }), row: [], cells: new Map(), words: "" };
      this.#lines.set(key, line);
    }
    if (line.row === row) return line;
    line.record = Object.fromEntries(columns.map((name, n) => [name, row[n]]));
    for (const name of this.shown) {
      const at = columns.indexOf(name);
      if (line.cells.has(name) && line.row[at] === row[at]) continue;
      this.#place(line, name, this.#cell(name, line.record));
    }
    if (this.actions.length) this.#act(line);
    line.row = row;
    line.words = line.tr.textContent.toLowerCase();
    return line;
  }

  #place(line, name, cell) {
    if (line.cells.has(name)) line.cells.get(name).replaceWith(cell);
    else line.tr.append(cell);
    line.cells.set(name, cell);
  }

  #forget(keys) {
    for (const key of this.#lines.keys()) if (!keys.has(key)) this.#lines.delete(key);
  }

  #cell(name, record) {
    const value = record[name];
    const cell = make("td", { "data-column": name, class: this.#style(name) });
    const shares = record.unit === "shares" && name.endsWith("_micro");
    const as = shares ? name.replace("_micro", "_shares_micro") : name;
    put(cell, as, value, !this.hasAttribute("accounts") && signed(as));
    const target = this.names("link").find((one) => one.startsWith(`${name}:`));
    if (target && value !== null) {
      const href = target
        .slice(name.length + 1)
        .replace(/\{(\w+)\}/g, (_, column) => encodeURIComponent(record[column]));
      cell.replaceChildren(make("a", { href }, cell.textContent));
    } else if (name === "changes" && value) {
      cell.replaceChildren(...String(value).split(">").map(chip));
    } else if (typeof value === "string" && tone(value)) {
      cell.replaceChildren(chip(value));
    } else if (this.names("bars").includes(name) && value !== null) {
      const meter = make("meter", {
        min: 0,
        max: 1,
        high: name === "use_share" ? 0.8 : 1,
        optimum: 0,
        value: Number(value),
        "aria-hidden": "true",
      });
      cell.replaceChildren(meter, make("span", {}, cell.textContent));
    }
    return cell;
  }

  #act(line) {
    const kinds = this.actions.filter((kind) => KINDS[kind].applies?.(line.record) ?? true);
    const words = kinds.map((kind) => KINDS[kind].button(line.record));
    if (line.acts === words.join()) return;
    line.acts = words.join();
    const press = (kind) => () => ask(kind, line.record);
    const buttons = kinds.map((kind, n) =>
      make("button", { type: "button", "data-do": kind, onclick: press(kind) }, words[n]),
    );
    this.#place(line, "", make("td", { class: "do" }, ...buttons));
  }
}

customElements.define("fw-rows", Rows);
