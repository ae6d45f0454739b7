// What a page shows, as tests/browser.py asks inside of it: an object of functions.
({
  /** All panels with the raw figures, the text and the title of what is seen in them. */
  panels() {
    const figure = (cell) => ({ value: cell.dataset.value ?? "", text: cell.textContent, title: cell.title });
    const row = (tr) => Object.fromEntries([...tr.querySelectorAll("td[data-column]")].map((td) => [td.dataset.column, figure(td)]));
    const named = (box) => [...box.querySelectorAll("[data-name]")].filter((one) => one.getClientRects().length);
    const step = (li) => ({
      part: li.dataset.part, text: li.querySelector("p").textContent, at: li.querySelector("time").dataset.value,
      latency: li.querySelector("small").dataset.value, codes: [...li.querySelectorAll("h3 .chip")].map((one) => one.textContent),
      inputs: Object.fromEntries(named(li).map((one) => [one.dataset.name, one.dataset.value])),
    });
    return [...document.querySelectorAll(".panel[topic]")].map((panel) => ({
      tag: panel.localName,
      topic: panel.getAttribute("topic"),
      state: panel.dataset.state,
      notice: panel.querySelector(".notice")?.textContent ?? "",
      values: Object.fromEntries(named(panel).map((one) => [one.dataset.name, figure(one)])),
      rows: [...panel.querySelectorAll("tbody tr[data-key]")].map((tr) => [tr.dataset.key, row(tr)]),
      cells: [...panel.querySelectorAll("rect[data-x]")].map((one) => [Number(one.dataset.x), Number(one.dataset.y), one.dataset.value]),
      steps: [...panel.querySelectorAll(".steps > li")].map(step),
      paths: [...panel.querySelectorAll("svg.chart path")].map((path) => path.getAttribute("d")),
    }));
  },

  /** What is beyond the screen's edge, cut off, or covers something beside it. */
  misplaced() {
    const seen = (one) => one.getClientRects().length && getComputedStyle(one).visibility !== "hidden";
    const named = (one) => `${one.localName}.${one.className?.baseVal ?? one.className} ${one.textContent.trim().slice(0, 40)}`;
    const free = [...document.querySelectorAll("body *")].filter((one) => seen(one) && !one.closest(".scroll, svg, dialog, .skip, #nav"));
    const beyond = free.filter((one) => one.getBoundingClientRect().right > innerWidth + 1);
    const cut = free.filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth && getComputedStyle(one).overflowX !== "visible");
    const over = [];
    for (const group of [".top > *", ".panel", "dl > div", "main > header > *", ".panel > header > *"]) {
      const boxes = [...document.querySelectorAll(group)].filter(seen).map((one) => [one, one.getBoundingClientRect()]);
      for (const [n, [one, a]] of boxes.entries()) {
        for (const [other, b] of boxes.slice(n + 1)) {
          const apart = a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
          if (!apart && !one.contains(other)) over.push(`${named(one)} over ${named(other)}`);
        }
      }
    }
    return [...beyond.map((one) => `beyond: ${named(one)}`), ...cut.map((one) => `cut: ${named(one)}`), ...over];
  },

  /** Words whose contrast with what is behind them is less than 4.5 (WCAG 2.2, 1.4.3). */
  faint() {
    const rgb = (text) => text.match(/[\d.]+/g).map(Number);
    const linear = (one) => (one /= 255) <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (one) => {
      for (let at = one; at; at = at.parentElement) {
        const found = rgb(getComputedStyle(at).backgroundColor);
        if (found.length === 3 || found[3] > 0.5) return found;
      }
      return [0, 0, 0];
    };
    const words = [...document.querySelectorAll("body *:not(svg *)")].filter((one) => one.getClientRects().length
      && [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
    return words.filter((one) => {
      const [a, b] = [light(rgb(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5;
    }).map((one) => `${one.localName}.${one.className} ${one.textContent.trim().slice(0, 40)}`);
  },
})
