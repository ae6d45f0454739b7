/**
 * <fw-control kind="halt" ...>: a button that asks for confirmation and posts a control.
 * In: a kind and what it concerns. Out: one POST with CSRF token and idempotency key; its answer.
 * Never here: a change without an operator's name.
 */
import { make } from "./elements.js";
import { text } from "./format.js";
import { KINDS } from "./kinds.js";
import { link } from "./link.js";

const NAME = "fairwind.operator";

const value = (what, row) => (typeof what === "function" ? what(row) : what);
const key = () =>
  crypto.randomUUID?.() ??
  [...crypto.getRandomValues(new Uint8Array(16))]
    .map((one) => one.toString(16).padStart(2, "0"))
    .join("");

/** Post a control; its event's number, or an Error with the server's text. */
export async function post(kind, body, idempotencyKey) {
  const answer = await fetch(`/api/controls/${kind}`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Idempotency-Key": idempotencyKey,
      "X-CSRF-Token": document.querySelector("meta[name=csrf]").content,
    },
    body: JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const detail = said.detail ?? said.error ?? answer.statusText;
  throw new Error(
    Array.isArray(detail)
      ? detail.map((one) => `${one.loc?.at(-1)}: ${one.msg}`).join("; ")
      : String(detail),
  );
}

function field(name, attributes) {
  return make(
    "label",
    {},
    make("span", {}, name.replaceAll("_", " ")),
    make("input", { name, autocomplete: "off", ...attributes }),
  );
}

const typed = (input) =>
  input.type === "checkbox"
    ? input.checked
    : input.type === "number"
      ? Number(input.value)
      : input.value.trim();

/** Ask the operator for what the control needs, and send it. `owner`: the strategy of a page. */
export function ask(kind, row = {}, owner = document.body.dataset.strategy) {
  const spec = KINDS[kind];
  const about = spec.of?.(row, owner) ?? {};
  const fields = Object.entries(value(spec.fields, row) ?? {}).map(([name, one]) =>
    field(name, one),
  );
  if (spec.now) fields.at(-1).querySelector("input").value = spec.now(row);
  const operator = field("operator", { required: true, maxlength: 64, placeholder: "your name" });
  operator.querySelector("input").value = localStorage.getItem(NAME) ?? "";
  const confirm = spec.word
    ? [
        field("confirm", {
          required: true,
          pattern: spec.word,
          placeholder: `type ${spec.word}`,
          title: spec.word,
        }),
      ]
    : [];
  const said = make("output", { class: "said", "aria-live": "polite" });
  const send = make(
    "button",
    { class: kind === "halt" ? "danger" : "primary", value: "send" },
    spec.button(row),
  );
  const cancel = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const what = Object.entries(about).map(([name, one]) =>
    make("li", {}, `${name}: `, make("b", {}, String(one))),
  );
  const form = make(
    "form",
    {},
    make("h2", {}, spec.title),
    make("p", {}, value(spec.says, row)),
    make("ul", {}, ...what),
    ...fields,
    operator,
    ...confirm,
    said,
    make("div", { class: "buttons" }, cancel, send),
  );
  const dialog = make(
    "dialog",
    { "aria-label": spec.title, "data-kind": kind, onclose: () => dialog.remove() },
    form,
  );
  let [sent, idempotencyKey] = ["", ""];
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { ...about };
    for (const input of form.querySelectorAll("input"))
      if (input.value !== "") body[input.name] = typed(input);
    if (kind === "deposit") {
      body.amount_micro = Math.round(body.dollars * 1e6);
      delete body.dollars;
    }
    localStorage.setItem(NAME, body.operator);
    if (sent !== JSON.stringify(body)) [sent, idempotencyKey] = [JSON.stringify(body), key()];
    send.disabled = true;
    said.className = "said";
    said.textContent = "sent, waiting until it is durable …";
    try {
      const done = await post(kind, body, idempotencyKey);
      said.classList.add("good");
      said.textContent = Number.isInteger(done.event)
        ? `Done: event ${text("", done.event)} of the journal.`
        : "Done.";
      send.hidden = true;
      cancel.focus();
    } catch (error) {
      said.classList.add("bad");
      said.textContent = `Not done: ${error.message}`;
      send.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}

class ControlButton extends HTMLElement {
  connectedCallback() {
    if (this.firstElementChild) return;
    const kind = this.getAttribute("kind");
    const row = Object.fromEntries([...this.attributes].map(({ name, value: one }) => [name, one]));
    const words = this.getAttribute("label") ?? KINDS[kind].button(row);
    const style = kind === "halt" ? "danger" : "";
    const button = make(
      "button",
      { type: "button", class: style, onclick: () => ask(kind, row) },
      words,
    );
    this.append(button);
    if (!this.hasAttribute("topic")) return;
    link.watch(this.getAttribute("topic"), {
      changed: (shape) => {
        Object.assign(row, shape?.values);
        if (!this.hasAttribute("label")) button.textContent = KINDS[kind].button(row);
      },
    });
  }
}

customElements.define("fw-control", ControlButton);
