/**
 * <fw-grid topic cell="net_edge_e4" flip-x>: a heat map. Colour says sign and size, each cell says
 * its figure where there is room, and the pointer or the arrow keys read any of them.
 */
import { draw, make, put } from "./elements.js";
import { label, text } from "./format.js";
import { link } from "./link.js";
import { level, short } from "./scale.js";
import { View } from "./view.js";

const [LEFT, BOTTOM, TOP] = [54, 36, 4];
const SWATCH = { width: 16, height: 12, "aria-hidden": "true" };
class Grid extends View {
  #at = null;

  connectedCallback() {
    super.connectedCallback();
    const seen = { changed: (shape) => Object.assign(this, { seen: shape }) };
    if (this.hasAttribute("at")) this.stopSeen = link.watch(this.getAttribute("at"), seen);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stopSeen?.();
  }

  isEmpty({ cells }) {
    return !cells.some((row) => row.some((one) => one !== null));
  }

  draw(shape) {
    if (!this.map) this.#frame();
    const width = this.body.clientWidth;
    if (!width) return;
    const { x, y, cells } = shape;
    const used = y.map((_, n) => n).filter((n) => cells[n].some((one) => one !== null));
    this.rowsShown = [];
    for (let n = used.at(-1); n >= used[0]; n--) this.rowsShown.push(n);
    this.columnsShown = x.map((_, n) => n);
    if (this.hasAttribute("flip-x")) this.columnsShown.reverse();
    this.name = this.getAttribute("cell") ?? "net_edge_e4";
    const sizes = cells
      .flat()
      .filter((one) => one !== null)
      .map(Math.abs)
      .sort((a, b) => a - b);
    this.most = Math.max(1, sizes[Math.floor(sizes.length * 0.95)]); // a few outliers may be beyond
    this.wide = (width - LEFT) / x.length;
    this.high = Math.max(17, Math.min(26, 340 / this.rowsShown.length));
    const tall = TOP + this.rowsShown.length * this.high + BOTTOM;
    this.map.setAttribute("viewBox", `0 0 ${width} ${tall}`);
    this.map.setAttribute("height", tall);
    this.cross = draw("g", { class: "cross" });
    this.map.replaceChildren(
      ...this.rowsShown.flatMap((n, row) => this.#row(shape, n, row)),
      ...this.#axis(shape, tall, width),
      this.cross,
    );
    this.#scale();
    this.#read();
  }

  #frame() {
    this.map = draw("svg", {
      class: "map",
      tabindex: 0,
      role: "img",
      "aria-label": `${this.getAttribute("label")}; arrow keys read the cells`,
    });
    this.read = make("output", { class: "when" });
    this.scale = make("ul", { class: "legend scale" });
    this.body.append(make("div", { class: "key" }, this.scale, this.read), this.map);
    this.map.addEventListener("pointermove", ({ offsetX, offsetY }) =>
      this.#to(Math.floor((offsetX - LEFT) / this.wide), Math.floor((offsetY - TOP) / this.high)),
    );
    for (const end of ["pointerleave", "blur"])
      this.map.addEventListener(end, () => this.#to(-1, -1));
    this.map.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.shape && this.redraw()).observe(this.body);
  }

  #row({ y, y_name, cells }, n, row) {
    const top = TOP + row * this.high;
    const parts = this.columnsShown.flatMap((m, column) => {
      const figure = cells[n][m];
      const left = LEFT + column * this.wide;
      const rect = draw("rect", {
        class: level(figure, this.most),
        x: left + 0.5,
        y: top + 0.5,
        width: Math.max(1, this.wide - 1),
        height: this.high - 1,
        "data-x": m,
        "data-y": n,
        "data-value": figure ?? "",
      });
      if (figure === null || this.wide < 10) return [rect];
      const sign = figure < 0 ? "−" : figure > 0 ? "+" : "";
      const shown = this.wide < 44 ? sign : text(this.name, Math.round(figure));
      const place = { class: "cell", x: left + this.wide / 2, y: top + this.high / 2 + 4 };
      return [rect, draw("text", place, shown)];
    });
    return [
      draw("text", { class: "side", x: LEFT - 8, y: top + this.high / 2 + 4 }, text(y_name, y[n])),
      ...parts,
    ];
  }

  #axis({ x, x_name, y_name }, tall, width) {
    const every = Math.ceil(46 / this.wide);
    const marks = this.columnsShown
      .map((m, column) => [m, column])
      .filter(([, column]) => column % every === 0)
      .map(([m, column]) =>
        draw(
          "text",
          { class: "time", x: LEFT + (column + 0.5) * this.wide, y: tall - 20 },
          short(x_name, x[m]),
        ),
      );
    return [
      ...marks,
      draw("text", { class: "name", x: width, y: tall - 4 }, `${label(x_name)} →`),
      draw("text", { class: "name start", x: 0, y: tall - 4 }, `↑ ${label(y_name)}`),
    ];
  }

  #scale() {
    const swatch = (name, words) =>
      make(
        "li",
        {},
        draw("svg", SWATCH, draw("rect", { class: name, width: 16, height: 12 })),
        words,
      );
    const steps = [-1, -0.5, 0, 0.5, 1].map((part) =>
      swatch(level(part, 1), text(this.name, Math.round(part * this.most))),
    );
    this.scale.replaceChildren(...steps, swatch("none", "no data"));
  }

  #to(column, row) {
    const inside =
      column >= 0 && row >= 0 && column < this.columnsShown.length && row < this.rowsShown.length;
    this.#at = inside ? [column, row] : null;
    this.#read();
  }

  #key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
      event.key
    ];
    if (!moves) return;
    event.preventDefault();
    const clamp = (one, most) => Math.max(0, Math.min(most - 1, one));
    const [column, row] = this.#at ?? [-moves[0], -moves[1]];
    this.#to(
      clamp(column + moves[0], this.columnsShown.length),
      clamp(row + moves[1], this.rowsShown.length),
    );
  }

  #read() {
    if (!this.#at || !this.cross) {
      this.read.textContent = "";
      this.cross?.replaceChildren();
      return;
    }
    const [column, row] = this.#at;
    const { x, x_name, y, y_name, cells } = this.shape;
    const [m, n] = [this.columnsShown[column], this.rowsShown[row]];
    put(this.read, this.name, cells[n][m]);
    const seen = this.seen?.cells[n]?.[m];
    this.read.prepend(
      `${label(x_name)} ${text(x_name, x[m])}, ${label(y_name)} ${text(y_name, y[n])}: `,
    );
    if (seen) this.read.append(`, seen ${text("at_ns", seen)}`);
    this.cross.replaceChildren(
      draw("rect", {
        x: LEFT + column * this.wide,
        y: TOP + row * this.high,
        width: this.wide,
        height: this.high,
      }),
    );
  }
}

customElements.define("fw-grid", Grid);
