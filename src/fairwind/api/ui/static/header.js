/**
 * What stands above every page: mode, freshness, alerts by severity, the clock, and the banner that
 * says when figures are old. In: beats, alerts, the kill switch. Never here: old without age.
 */
import { make } from "./elements.js";
import { setToday, span, time } from "./format.js";
import { link } from "./link.js";

const SEVERITIES = ["critical", "warning", "info"];
const MARKS = { critical: "▲", warning: "◆", info: "●" };
const find = (id) => document.getElementById(id);
let beaten = performance.now();
let engineNs = 0; // age of the engine's own word

const silentNs = () => (performance.now() - beaten) * 1e6;

/** How old what is shown is: the link's silence on top of what the server was behind. */
const ageNs = () => Number(link.beat?.behind_ns ?? 0) + silentNs();

function freshness() {
  const engine = link.beat?.engine;
  const words = { connecting: "connecting", lost: "link lost", out: "signed out" }[link.state];
  if (words) return [words, "bad"];
  if (link.beat.mode === "REPLAY") return ["complete record", "good"];
  if (engine === "over") return ["the run has ended", "calm"];
  if (engine === "silent") return [`engine silent ${span(engineNs)}`, "bad"];
  const age = ageNs();
  return [`live ${(age / 1e9).toFixed(1)} s`, age > 2e9 ? "warn" : "good"];
}

function banner() {
  const since = link.beat
    ? `Figures are as of ${time(link.beat.now_ns, 0)} UTC, ${span(silentNs())} ago.`
    : "";
  if (link.state === "lost") return `Link lost: reconnecting. ${since}`;
  if (link.state === "out")
    return `This session is over. Run “fairwind login RUN” for a new link. ${since}`;
  if (link.beat?.engine === "silent" && link.beat.mode !== "REPLAY") {
    const at = time(link.beat.now_ns, 0);
    return `The engine does not answer. Figures are as of ${at} UTC, ${span(engineNs)} ago.`;
  }
  return "";
}

function show() {
  const [words, tone] = freshness();
  const fresh = find("freshness");
  fresh.textContent = words;
  fresh.className = tone;
  const mode = link.beat?.mode ?? document.body.dataset.mode;
  find("mode").textContent = mode;
  find("mode").dataset.mode = mode;
  const said = banner();
  if (find("banner").textContent !== said) find("banner").textContent = said;
  find("banner").hidden = !said;
  document.body.dataset.engine = link.beat?.engine ?? "";
  const old = said && link.beat ? `as of ${time(link.beat.now_ns, 0)}` : "";
  for (const note of document.querySelectorAll(".asof"))
    if (note.textContent !== old) note.textContent = old;
  if (link.beat) find("clock").textContent = `${time(Math.round(link.nowNs), 0)} UTC`;
}

/** Counts of alerts that are not resolved, by severity. */
function counted(shape, error) {
  const rollup = find("rollup");
  if (!shape || error) {
    rollup.replaceChildren(make("span", {}, "alerts –"));
    return;
  }
  const at = shape.columns.indexOf("severity");
  const state = shape.columns.indexOf("state");
  const open = shape.rows.filter((row) => row[state] !== "resolved");
  const counts = SEVERITIES.map((one) => [
    one,
    open.filter((row) => row[at] === one).length,
  ]).filter(([, n]) => n);
  const chips = counts.map(([one, n]) =>
    make(
      "span",
      { class: `chip ${one}`, "data-severity": one, "data-value": n },
      `${MARKS[one]} ${n} ${one}`,
    ),
  );
  rollup.replaceChildren(
    ...(chips.length ? chips : [make("span", { class: "quiet" }, "no alerts")]),
  );
}

/** The kill switch is seen on every page. */
function halted(shape) {
  const { halted: by, drawdown_stopped: stopped } = shape?.values ?? {};
  find("halted").hidden = !by && !stopped;
  find("halted").textContent = by ? "■ HALTED" : "■ DRAWDOWN STOP";
  document.querySelector("fw-control[kind=resume]").hidden = !by && !stopped;
}

link.addEventListener("beat", () => {
  beaten = performance.now();
  setToday(link.beat.now_ns);
  show();
});
link.addEventListener("state", show);
link.watch("alerts", { changed: counted });
link.watch("kill", { changed: halted });
link.watch("engine", {
  changed: (shape) => {
    engineNs = Number(shape?.values.status_age_ns ?? 0);
  },
});
setInterval(show, 200);

find("menu").addEventListener("click", ({ currentTarget }) => {
  currentTarget.setAttribute("aria-expanded", document.body.classList.toggle("menu"));
});
