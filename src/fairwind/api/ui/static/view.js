/**
 * What all elements that show a topic have in common: a heading, and states that look different.
 * In: the attributes topic, label, empty. Out: a panel. Never here: how a shape is drawn.
 */
import { make } from "./elements.js";
import { link } from "./link.js";

/** Base: an element says when its shape is empty, and draws it. */
export class View extends HTMLElement {
  #stop = null;
  #waiting = false;
  shape = null;
  error = "";

  connectedCallback() {
    if (!this.body) this.#build();
    this.#stop = link.watch(this.getAttribute("topic"), this);
  }

  disconnectedCallback() {
    this.#stop?.();
  }

  /** The link's word; drawn with the next frame of the screen, once. */
  changed(shape, error) {
    this.shape = shape;
    this.error = error;
    this.redraw();
  }

  redraw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#show();
    });
  }

  /** Names of an attribute that lists them. */
  names(attribute) {
    return this.getAttribute(attribute)?.trim().split(/\s+/).filter(Boolean) ?? [];
  }

  isEmpty() {
    return false;
  }
  draw() {}

  #build() {
    const label = this.getAttribute("label");
    this.classList.add("panel");
    this.heading = make(
      "header",
      {},
      make("h2", {}, label ?? ""),
      make("small", { class: "asof" }),
    );
    this.heading.hidden = !label;
    this.body = make("div", { class: "body" });
    this.notice = make("p", { class: "notice" });
    this.replaceChildren(this.heading, this.notice, this.body);
    if (label) {
      this.setAttribute("role", "region");
      this.setAttribute("aria-label", label);
    }
    this.#state("loading", "loading …");
  }

  #show() {
    if (this.error) this.#state("error", `Not available: ${this.error}`);
    else if (!this.shape) this.#state("loading", "loading …");
    else if (this.isEmpty(this.shape))
      this.#state("empty", this.getAttribute("empty") ?? "nothing yet");
    else this.#state("ready", "");
    if (this.dataset.state === "ready") this.draw(this.shape);
  }

  #state(state, text) {
    if (this.dataset.state !== state) this.dataset.state = state;
    if (this.notice.textContent !== text) this.notice.textContent = text;
    this.notice.hidden = !text;
    this.body.hidden = Boolean(text);
  }
}
