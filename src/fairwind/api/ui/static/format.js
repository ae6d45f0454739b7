/**
 * Figures as people read them. A name says its unit by its end: `cash_micro`, `price_e4`.
 * In: a name and a figure. Out: text, rounded by integers or exact. Never here: an element.
 */
export const NOTHING = "–";

const LABELS = {
  ts_ns: "Time",
  hold_share: "Hold rate",
  fill_share: "Fill rate",
  use_share: "In use",
  at_ns: "Time",
  id: "Strategy",
  mask: "Gates failed",
  codes: "Gates failed",
  changes: "Life cycle",
  ok: "Agrees",
  payout_e4: "A share pays",
  share: "Share",
  slug: "Window",
  kelly_share: "Kelly, advisory",
  kelly_applied_share: "Kelly, applied",
  binding: "Binding cap",
  ev_side: "Side",
  ev_gross_micro: "Before costs",
  ev_net_micro: "Expected value",
  ev_price_micro: "Price",
  distance_micro: "Spot above strike",
  distance_deviations: "In deviations",
  fair_stderr: "Standard error",
  scan_age_ns: "Age of the scan",
  size_hold: "Size held by",
};
const CAPITALS = {
  slo: "SLO",
  ev: "EV",
  et: "ET",
  pnl: "P&L",
  kelly: "Kelly",
  up: "Up",
  p50: "median",
  p95: "p95",
  p99: "p99",
  cpu: "CPU",
  pid: "PID",
  btc: "BTC",
  utc: "UTC",
};
const UNITS = /(?:^|_)(micro|half_e4|e4|e6|e8|ns|ms|s|share|bytes)$/;
const DOLLARS = /^(spot|reference|strike|final)$/;
const NUMBERS = /(^|_)(order|pid|seed|posting|fill)$/;
const WINDOW = /\b([a-z]+)-updown-(\d+[mh])-(\d{10})\b/g;
const MOMENT = /(^|_)(ts|at|start|end|now|since|closed|opened|changed|scanned|refused|entry)_ns$/;
const SHARES = /(^|_)(shares|size|filled|depth|quantity)_micro$/;
const SIGNED =
  /^(?!required|edge_st).*(profit|net|gross|realised|edge|margin|markout|expectancy|distance)/;

/** What kind of figure a name stands for. */
export function unit(name) {
  if (SHARES.test(name)) return "shares";
  if (DOLLARS.test(name)) return "dollars";
  if (NUMBERS.test(name)) return "number";
  if (/^ev_.*_micro$/.test(name)) return "ev";
  return UNITS.exec(name)?.[1] ?? "";
}

/** Whether a plus belongs before what is above zero. */
export const signed = (name) =>
  SIGNED.test(name) && ["micro", "e4", "e8", "ev"].includes(unit(name));

/** The name in words, without its unit. */
export function label(name) {
  if (LABELS[name]) return LABELS[name];
  const words = name
    .replace(UNITS, "")
    .replace(/^ev_/, "")
    .split("_")
    .map((word) => CAPITALS[word] ?? word);
  const text = words.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

/** `value` / 10^scale with so many digits behind the point; integers are rounded exactly. */
function fixed(value, scale, digits, plus = false) {
  const whole = typeof value === "bigint" || Number.isInteger(value);
  const more = whole ? Math.max(0, digits - scale) : 9;
  const scaled = whole ? BigInt(value) * 10n ** BigInt(more) : BigInt(Math.round(value * 1e9));
  const cut = 10n ** BigInt(scale + more - digits);
  const size = ((scaled < 0n ? -scaled : scaled) + cut / 2n) / cut;
  const text = size.toString().padStart(digits + 1, "0");
  const sign = size === 0n ? "" : scaled < 0n ? "−" : plus ? "+" : "";
  const point = text.length - digits;
  return [sign, grouped(text.slice(0, point)) + (digits ? `.${text.slice(point)}` : "")];
}

const money = ([sign, digits]) => `${sign}$${digits}`;
const plain = ([sign, digits]) => sign + digits;
const two = (number) => String(number).padStart(2, "0");

/** A span of nanoseconds in its largest fitting unit. */
export function span(ns) {
  const size = Math.abs(Number(ns));
  const sign = ns < 0 ? "−" : "";
  if (size < 1e6) return `${sign}${(size / 1e6).toFixed(size ? 3 : 0)} ms`;
  if (size < 1e9) return `${sign}${Math.round(size / 1e6)} ms`;
  if (size < 60e9) return `${sign}${(size / 1e9).toFixed(1)} s`;
  const seconds = Math.floor(size / 1e9);
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  if (seconds < 172800)
    return `${sign}${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} min`;
  return `${sign}${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

let today = "";
/** Times of this day are written without their date. */
export const setToday = (ns) => {
  today = iso(ns).slice(0, 10);
};
const iso = (ns) => new Date(Number(ns) / 1e6).toISOString();

/** A UTC time; with its date when that is not today's. `digits` of a second: 0 or 3. */
export function time(ns, digits = 3) {
  const text = iso(ns);
  const clock = text.slice(11, digits ? 23 : 19);
  return text.slice(0, 10) === today || !today ? clock : `${text.slice(5, 10)} ${clock}`;
}

const isTime = (ns) => Number(ns) > 1e17;
const asNs = (ns, name) => {
  if (isTime(ns)) return time(ns, Number(BigInt(ns) % 1_000_000_000n) ? 3 : 0);
  return MOMENT.test(name) ? NOTHING : span(ns);
};
const free = (value) => {
  if (typeof value === "bigint" || Number.isInteger(value)) return plain(fixed(value, 0, 0));
  const size = Math.abs(value);
  return plain(fixed(value, 0, size >= 100 ? 2 : size >= 1 ? 3 : 4));
};

const ROUNDED = {
  dollars: (v) => money(fixed(Number(v), 0, Math.abs(v) < 1000 ? 4 : 2)),
  number: String,
  ev: (v, name) => money(fixed(v, 6, 4, signed(name))),
  half_e4: (v) => plain(fixed(Number(v) * 5, 5, 5)),
  bytes: (v) =>
    Number(v) < 1e9 ? `${(Number(v) / 1e6).toFixed(1)} MB` : `${(Number(v) / 1e9).toFixed(1)} GB`,
  shares: (v) => plain(fixed(v, 6, 2)),
  micro: (v, name) => money(fixed(v, 6, 2, signed(name))),
  e4: (v, name) => plain(fixed(v, 4, 4, signed(name))),
  e6: (v) => `${plain(fixed(v, 4, 2))} %`,
  e8: (v, name) => money(fixed(v, 8, 2, signed(name))),
  ns: asNs,
  ms: (v) => span(Number(v) * 1e6),
  s: (v) => span(Number(v) * 1e9),
  share: (v) => `${plain(fixed(Number(v) * 100, 0, 2))} %`,
  "": free,
};
const EXACT = {
  ev: (v) => money(fixed(v, 6, 6)),
  shares: (v) => `${plain(fixed(v, 6, 6))} shares`,
  micro: (v) => money(fixed(v, 6, 6)),
  e4: (v) => money(fixed(v, 4, 4)),
  e6: (v) => plain(fixed(v, 6, 6)),
  e8: (v) => money(fixed(v, 8, 8)),
  ns: (v) =>
    isTime(v) ? `${iso(v).slice(0, 19)}.${String(v).slice(-9)} UTC` : `${grouped(String(v))} ns`,
};

/** The figure as it is shown. */
export function text(name, value) {
  if (value === null || value === undefined || value === "") return NOTHING;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "string" || unit(name) === "dollars")
    return ROUNDED[unit(name)](value, name);
  return value.replace(
    WINDOW,
    (_, asset, length, start) =>
      `${asset.toUpperCase()} ${length} ${time(`${start}000000000`, 0).slice(0, -3)}`,
  );
}

/** The figure with every digit that it has, for whoever points at it. */
export function exact(name, value) {
  if (value === null || value === undefined) return "no datum";
  if (typeof value === "string" || typeof value === "boolean") return String(value);
  return (EXACT[unit(name)] ?? String)(value);
}

/** Order of two figures; what is not there comes last. */
export function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "string" && typeof b === "string")
    return a.localeCompare(b, "en", { numeric: true });
  return a < b ? -1 : Number(a > b);
}
