// What the panels of a page show: run by tests/browser.py inside the page.
() => {
  const figure = (cell) => ({ value: cell.dataset.value ?? "", text: cell.textContent, title: cell.title });
  const row = (tr) => Object.fromEntries([...tr.querySelectorAll("td[data-column]")].map((td) => [td.dataset.column, figure(td)]));
  const seen = (element) => element.getClientRects().length > 0;
  return [...document.querySelectorAll(".panel[topic]")].map((panel) => ({
    tag: panel.localName,
    topic: panel.getAttribute("topic"),
    label: panel.getAttribute("label") ?? "",
    state: panel.dataset.state,
    notice: panel.querySelector(".notice")?.textContent ?? "",
    values: Object.fromEntries([...panel.querySelectorAll("[data-name]")].filter(seen).map((one) => [one.dataset.name, figure(one)])),
    rows: [...panel.querySelectorAll("tbody tr[data-key]")].map((tr) => [tr.dataset.key, row(tr)]),
    cells: [...panel.querySelectorAll("rect[data-x]")].map((one) => [Number(one.dataset.x), Number(one.dataset.y), one.dataset.value]),
    steps: [...panel.querySelectorAll(".steps > li")].map((li) => ({
      part: li.dataset.part, text: li.querySelector("p").textContent, at: li.querySelector("time").dataset.value,
      latency: li.querySelector("small").dataset.value, codes: [...li.querySelectorAll("h3 .chip")].map((one) => one.textContent),
      inputs: Object.fromEntries([...li.querySelectorAll("[data-name]")].map((one) => [one.dataset.name, one.dataset.value])),
    })),
    paths: [...panel.querySelectorAll("svg.chart path")].map((path) => path.getAttribute("d")),
  }));
}
