/**
 * <fw-series topic panes="a b|c" steps="strike">: lines over time. Lines of one unit share a pane;
 * each has a dash of its own, its newest figure at the right, and all figures under the crosshair.
 */
import { draw, make, put } from "./elements.js";
import { exact, label, text, time } from "./format.js";
import { apart, grouped, moments, nearest, path, ticks } from "./scale.js";
import { View } from "./view.js";

const DASHES = ["", "7 4", "2 3", "10 3 2 3", "1 5"];
const [RIGHT, BOTTOM, TOP, LEFT, TAG] = [94, 20, 8, 6, 17];
class Series extends View {
  #at = null;

  isEmpty({ points, lines }) {
    return !points.some((point) => lines.some((_, n) => point[n + 1] !== null));
  }

  draw(shape) {
    if (!this.chart) this.#frame();
    const width = this.body.clientWidth;
    if (!width) return;
    this.points = shape.points;
    this.lines = shape.lines;
    if (this.legendOf !== shape.lines.join()) this.#legend();
    const panes = grouped(this.lines, this.getAttribute("panes"));
    const tall = (Number(this.getAttribute("height")) || 220) + (panes.length - 1) * 90;
    const [start, end] = [Number(this.points[0][0]), Number(this.points.at(-1)[0])];
    this.x = (ns) =>
      LEFT + ((Number(ns) - start) / Math.max(1, end - start)) * (width - LEFT - RIGHT);
    this.chart.setAttribute("viewBox", `0 0 ${width} ${tall}`);
    this.chart.setAttribute("height", tall);
    const room = (tall - BOTTOM) / panes.reduce((sum, pane) => sum + pane.weight, 0);
    let top = 0;
    const drawn = panes.map((pane) => {
      const height = room * pane.weight;
      const part = this.#pane(pane.lines, top + TOP, top + height - 4, width);
      top += height;
      return part;
    });
    this.cross = draw("g", { class: "cross" });
    this.chart.replaceChildren(...this.#times(start, end, width, tall), ...drawn, this.cross);
    this.geometry = { width, tall };
    this.#read();
  }

  #frame() {
    this.chart = draw("svg", {
      class: "chart",
      tabindex: 0,
      role: "img",
      "aria-label": `${this.getAttribute("label")}; arrow keys read it`,
    });
    this.legend = make("ul", { class: "legend" });
    this.when = make("output", { class: "when" });
    this.body.append(make("div", { class: "key" }, this.legend, this.when), this.chart);
    this.chart.addEventListener("pointermove", ({ offsetX }) =>
      this.#read(nearest(this.points, this.x, offsetX)),
    );
    for (const end of ["pointerleave", "blur"])
      this.chart.addEventListener(end, () => this.#read(null));
    this.chart.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.shape && this.redraw()).observe(this.body);
  }

  #legend() {
    this.legendOf = this.lines.join();
    this.figures = this.lines.map((name) => make("b", { "data-name": name }));
    this.legend.replaceChildren(
      ...this.lines.map((name, n) =>
        make(
          "li",
          {},
          draw(
            "svg",
            { width: 26, height: 8, "aria-hidden": "true" },
            this.#stroke("line", n, { x1: 1, x2: 25, y1: 4, y2: 4 }),
          ),
          label(name),
          this.figures[n],
        ),
      ),
    );
  }

  #stroke(tag, n, attributes) {
    return draw(tag, {
      class: `line line${n % 5}`,
      "stroke-dasharray": DASHES[n % 5],
      ...attributes,
    });
  }

  #pane(lines, top, bottom, width) {
    const figures = this.points
      .flatMap((point) => lines.map((n) => point[n + 1]))
      .filter((one) => one !== null)
      .map(Number);
    if (!figures.length) return draw("g");
    let [low, high] = [Math.min(...figures), Math.max(...figures)];
    const pad = (high - low) * 0.08 || Math.abs(high) * 0.001 || 1;
    [low, high] = [low - pad, high + pad];
    const y = (figure) => bottom - ((Number(figure) - low) / (high - low)) * (bottom - top);
    const name = this.lines[lines[0]];
    const tags = this.#tags(lines, y, bottom);
    const hidden = (one) => tags.some((tag) => Math.abs(tag.y - y(one)) < TAG - 3);
    const grid = ticks(low, high, Math.max(2, (bottom - top) / 34)).map((one) =>
      draw(
        "g",
        { class: "tick" },
        draw("line", { x1: LEFT, x2: width - RIGHT, y1: y(one), y2: y(one) }),
        draw(
          "text",
          { x: width - RIGHT + 8, y: y(one) + 4 },
          hidden(one) ? "" : text(name, Math.round(one * 1e6) / 1e6),
        ),
      ),
    );
    const paths = lines
      .toReversed()
      .map((n) => this.#stroke("path", n, { d: this.#path(n, y), fill: "none" }));
    return draw("g", {}, ...grid, ...paths, ...tags.map((tag) => this.#tag(tag, width)));
  }

  #path(n, y) {
    const places = this.points.map((point) =>
      point[n + 1] === null ? null : [this.x(point[0]), y(point[n + 1])],
    );
    return path(places, this.names("steps").includes(this.lines[n]));
  }

  /** The newest figure of each line on the axis, moved apart where they would overlap. */
  #tags(lines, y, bottom) {
    const newest = this.points.at(-1);
    const tags = lines
      .map((n) => ({ n, figure: newest[n + 1] }))
      .filter(({ figure }) => figure !== null)
      .map((tag) => ({ ...tag, y: y(tag.figure) }))
      .sort((a, b) => a.y - b.y);
    return apart(tags, bottom - 2, TAG);
  }

  #tag({ n, figure, y }, width) {
    return draw(
      "g",
      { class: `tag line${n % 5}` },
      draw("rect", { x: width - RIGHT + 3, y: y - 8.5, width: RIGHT - 4, height: TAG - 1, rx: 3 }),
      draw("text", { x: width - RIGHT + 8, y: y + 4 }, text(this.lines[n], figure)),
    );
  }

  #times(start, end, width, tall) {
    return moments(start, end, width)
      .map(([ns, shown]) => [this.x(ns), shown])
      .filter(([x]) => x > 30)
      .map(([x, shown]) => [Math.min(x, width - 34), shown])
      .map(([x, shown]) => draw("text", { class: "time", x, y: tall - 5 }, shown));
  }

  #key(event) {
    const last = this.points.length - 1;
    const step = event.shiftKey ? 10 : 1;
    const to = {
      ArrowLeft: (this.#at ?? last) - step,
      ArrowRight: (this.#at ?? last) + step,
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === "Escape") this.#read(null);
    if (to === undefined) return;
    event.preventDefault();
    this.#read(Math.max(0, Math.min(last, to)));
  }

  /** Figures at the crosshair, or the newest. */
  #read(place = this.#at) {
    this.#at = place;
    if (!this.geometry) return;
    const at = Math.min(this.#at ?? Infinity, this.points.length - 1);
    const point = this.points[at];
    this.figures.forEach((figure, n) => put(figure, this.lines[n], point[n + 1]));
    this.when.textContent = `${this.#at === null ? "newest" : "at"} ${time(point[0], 0)}`;
    this.when.title = exact("at_ns", point[0]);
    const x = this.x(point[0]);
    this.cross.replaceChildren(
      ...(this.#at === null
        ? []
        : [draw("line", { x1: x, x2: x, y1: 0, y2: this.geometry.tall - BOTTOM })]),
    );
  }
}

customElements.define("fw-series", Series);
