/**
 * <fw-values topic names="a b" kind="tiles|list" rest>: named figures; ages of what has one.
 * <fw-countdown topic>: the time that is left of a window.
 */
import { make, put } from "./elements.js";
import { label, span, text } from "./format.js";
import { link } from "./link.js";
import { View } from "./view.js";

const BASE = /_(micro|e4|e6|e8|ns|share)$/;
const COMPANION = /_(age|budget)_ns$/;

class Values extends View {
  #items = new Map();

  isEmpty({ values }) {
    return Object.keys(values).length === 0;
  }

  draw({ values }) {
    if (!this.list)
      this.body.append((this.list = make("dl", { class: this.getAttribute("kind") ?? "tiles" })));
    for (const name of this.#wanted(values)) this.#item(name, values);
    for (const [name, { box }] of this.#items) box.hidden = !this.#wanted(values).includes(name);
  }

  #wanted(values) {
    const named = this.names("names");
    if (named.length && !this.hasAttribute("rest")) return named;
    const skipped = new Set([...named, ...this.names("skip")]);
    const hasOwner = (name) => {
      const owner = name.replace(COMPANION, "");
      return (
        COMPANION.test(name) &&
        Object.keys(values).some((n) => n !== name && n.replace(BASE, "") === owner)
      );
    };
    return [
      ...named,
      ...Object.keys(values).filter((name) => !skipped.has(name) && !hasOwner(name)),
    ];
  }

  #item(name, values) {
    if (!this.#items.has(name)) {
      const item = {
        figure: make("dd", { "data-name": name }),
        age: make("small", { class: "age" }),
      };
      item.box = make("div", {}, make("dt", {}, label(name)), item.figure, item.age);
      this.#items.set(name, item);
      this.list.append(item.box);
    }
    const { box, figure, age } = this.#items.get(name);
    put(figure, name, values[name]);
    figure.classList.toggle("words", figure.textContent.length > 11);
    const owner = name.replace(COMPANION, "").replace(BASE, "");
    const ageNs = values[`${owner}_age_ns`];
    const stale = Number(ageNs) > Number(values[`${owner}_budget_ns`]);
    const own = name === `${owner}_age_ns`;
    age.textContent =
      ageNs === undefined || ageNs === null || (own && !stale)
        ? ""
        : `${stale ? "stale: " : ""}${span(ageNs)} old`;
    box.classList.toggle("stale", stale);
  }
}

class Countdown extends View {
  connectedCallback() {
    super.connectedCallback();
    this.ticking = setInterval(() => this.shape && !this.error && this.redraw(), 200);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.ticking);
  }

  isEmpty({ values }) {
    return !values.end_ns;
  }

  draw({ values }) {
    if (!this.left) {
      this.left = make("b", { class: "left", role: "timer", "data-name": "left_ns" });
      this.bar = make("progress", { max: 1, "aria-label": "part of the window that has passed" });
      this.when = make("span", {});
      this.body.append(this.left, this.bar, this.when);
    }
    const [start, end] = [Number(values.start_ns), Number(values.end_ns)];
    const leftNs = Math.max(
      0,
      end - Math.max(link.nowNs, end - Number(values.left_ns ?? end - link.nowNs)),
    );
    const seconds = Math.ceil(leftNs / 1e9);
    const shown = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    this.left.textContent = leftNs ? shown : "ended";
    this.left.title = span(leftNs);
    this.left.dataset.value = String(values.left_ns ?? "");
    this.bar.value = Math.min(1, Math.max(0, 1 - leftNs / (end - start)));
    this.when.textContent =
      [values.slug, values.et ?? values.et_label].filter(Boolean).join(" · ") ||
      `ends ${text("end_ns", values.end_ns)} UTC`;
  }
}

customElements.define("fw-values", Values);
customElements.define("fw-countdown", Countdown);
