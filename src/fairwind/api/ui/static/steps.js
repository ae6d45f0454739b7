/**
 * <fw-steps topic past>: rows as steps, one after the other, with the latency of each. What the
 * topic does not remember is asked for once at the address `past`.
 */
import { chip, make, put } from "./elements.js";
import { label, signed, span, text } from "./format.js";
import { View } from "./view.js";

/** `size_micro=12530000` as it is read; the raw figure is kept for programs. */
function input(pair, plus) {
  const [name, raw] = pair.split(/=(.*)/s);
  const figure = /^-?\d+$/.test(raw) ? BigInt(raw) : /^-?\d*\.\d+$/.test(raw) ? Number(raw) : raw;
  const value = make("b", { "data-name": name });
  put(value, name, figure, plus && signed(name)); // an account has no gain or loss
  return make("span", {}, label(name), " ", value);
}

class Steps extends View {
  #asked = false;

  changed(shape, error) {
    if (!error) super.changed(shape, error);
    else if (!this.#asked) this.#ask(error);
  }

  /** The journal's own story, for as long as the topic has none. */
  async #ask(error) {
    this.#asked = true;
    const answer = await fetch(this.getAttribute("past"));
    if (answer.ok) super.changed((await answer.json()).snapshot, "");
    else super.changed(null, error);
  }

  isEmpty({ rows }) {
    return rows.length === 0;
  }

  draw({ rows, columns }) {
    const steps = rows.map((row) =>
      this.#step(Object.fromEntries(columns.map((name, n) => [name, row[n]]))),
    );
    this.body.replaceChildren(make("ol", { class: "steps" }, ...steps));
  }

  #step(row) {
    const at = make("time", {});
    put(at, "at_ns", row.at_ns);
    const late =
      row.latency_ns === null || row.latency_ns === undefined ? "" : `+${span(row.latency_ns)}`;
    const latency = make(
      "small",
      { "data-value": String(row.latency_ns ?? ""), title: "after the step before" },
      late,
    );
    const inputs = String(row.inputs ?? "")
      .split(/[ ,;]+(?=[\w.]+=)/)
      .filter(Boolean)
      .map((pair) => input(pair, row.part !== "posting"));
    const code = row.code ? [chip(String(row.code))] : [];
    return make(
      "li",
      { "data-part": row.part },
      make("div", { class: "when" }, at, latency),
      make(
        "div",
        {},
        make("h3", {}, row.part, " ", ...code),
        make("p", {}, text("text", row.text)),
        make("p", { class: "inputs" }, ...inputs),
      ),
    );
  }
}

customElements.define("fw-steps", Steps);
