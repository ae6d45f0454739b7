/**
 * Elements made by hand: text is text, never markup.
 * In: names, attributes, figures. Out: elements of HTML and SVG.
 */
import { exact, signed, text } from "./format.js";

const TONES = {
  bad: /^(critical|failed|FAILED|REFUSED|INVARIANT.*|loss|LOSS|error|no answer|broken)$/,
  warn: /^(warning|degraded|firing|EXPIRED|CANCELLED|KILLED|expired|void|VOID|disabled|burning)$/,
  good: /^(ok|OK|FILLED|win|WIN|CONFIRMED|running|connected)$/,
  calm: /^(info|acknowledged|resolved|DECIDED|SENT|DELAYED|LIVE|RESTING|PARTIAL)$/,
};
/** How a word is meant: bad, warn, good, calm, or nothing of that. */
export const tone = (word) => Object.keys(TONES).find((name) => TONES[name].test(word));
/** A word in a frame. */
export const chip = (word) => make("span", { class: `chip ${tone(word) ?? ""}` }, word);

/** Put a figure into an element: text, all digits as title, and the raw figure for programs. */
export function put(element, name, value, plus = signed(name)) {
  const shown = plus ? text(name, value) : text(name, value).replace("+", "");
  if (element.textContent !== shown) element.textContent = shown;
  element.title = exact(name, value);
  element.dataset.value = value === null || value === undefined ? "" : String(value);
  const sign = plus ? Math.sign(Number(value)) : 0;
  element.classList.toggle("gain", sign > 0);
  element.classList.toggle("loss", sign < 0);
}

/** A new element: tag, attributes and properties, children (text is text, never markup). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** As `make`, for SVG. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
