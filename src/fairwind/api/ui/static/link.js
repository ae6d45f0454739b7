/**
 * The one WebSocket of a page. In: frames of the hub. Out: each topic's newest snapshot to those
 * who watch it, and how fresh everything is. Never here: what a figure means.
 */
import { applied } from "./shapes.js";

const SILENCE_MS = 2000;
const RETRIES_MS = [100, 300, 1000, 2000];
const TOPICS_PER_FRAME = 32;

/** Integers that a float cannot hold become BigInt, so that no digit is lost. */
const whole = (_key, value, context) =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
    ? BigInt(context.source)
    : value;

class Link extends EventTarget {
  /** connecting, live, lost, or out (the session is over) */
  state = "connecting";
  beat = null;
  #topics = new Map();
  #socket = null;
  #heard = performance.now();
  #beaten = performance.now();
  #speed = 1;
  #failures = 0;

  constructor() {
    super();
    setInterval(() => this.#check(), 200);
    this.#connect();
  }

  /** Tell `viewer.changed(shape, error)` whenever the topic changes; returns how to end that. */
  watch(name, viewer) {
    let topic = this.#topics.get(name);
    if (!topic) {
      topic = { viewers: new Set(), sequence: null, shape: null, error: "" };
      this.#topics.set(name, topic);
      this.#send({ subscribe: [name] });
    }
    topic.viewers.add(viewer);
    if (topic.shape || topic.error) viewer.changed(topic.shape, topic.error);
    return () => {
      topic.viewers.delete(viewer);
      if (topic.viewers.size || !this.#topics.delete(name)) return;
      this.#send({ unsubscribe: [name] });
    };
  }

  /** How long nothing has come, in milliseconds. */
  get silentMs() {
    return performance.now() - this.#heard;
  }

  /** Whether what is shown is as new as the engine. */
  get current() {
    return this.state === "live" && this.beat !== null && this.beat.engine !== "silent";
  }

  /** Market time by the last beat, moved on by the clock while the engine runs. */
  get nowNs() {
    if (!this.beat) return 0;
    const moving = this.current && this.beat.engine === "running" && this.beat.mode !== "REPLAY";
    const passed = moving ? (performance.now() - this.#beaten) * 1e6 * this.#speed : 0;
    return Number(this.beat.now_ns) + passed;
  }

  #connect() {
    const address = new URL("/api/socket", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#heard = performance.now();
    socket.onopen = () => {
      const names = [...this.#topics.keys()];
      for (let at = 0; at < names.length; at += TOPICS_PER_FRAME) {
        this.#send({ subscribe: names.slice(at, at + TOPICS_PER_FRAME) });
      }
    };
    socket.onmessage = (frame) => this.#take(frame.data, socket);
    socket.onclose = () => this.#lost(socket);
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #take(data, socket) {
    if (socket !== this.#socket) return;
    this.#heard = performance.now();
    this.#failures = 0;
    const message = JSON.parse(data, whole);
    if (message.beat) this.#pulse(message.beat);
    else if (message.topic !== undefined && !this.#update(message)) this.#lost(socket);
  }

  #pulse(beat) {
    const now = performance.now();
    const wall = (now - this.#beaten) * 1e6;
    const market = this.beat ? Number(beat.now_ns) - Number(this.beat.now_ns) : 0;
    if (market > 0 && wall > 5e8)
      this.#speed = 0.5 * this.#speed + 0.5 * Math.min(market / wall, 1000);
    this.#beaten = now;
    this.beat = beat;
    this.#become("live");
    this.dispatchEvent(new Event("beat"));
  }

  /** Whether the message follows the last one of its topic. */
  #update({ topic: name, sequence, snapshot, delta, error }) {
    const topic = this.#topics.get(name);
    if (!topic) return true;
    if (delta && sequence !== topic.sequence + 1) return false;
    topic.error = error ?? "";
    topic.sequence = sequence;
    if (!error) topic.shape = applied(topic.shape, snapshot ?? delta.snapshot ?? delta);
    for (const viewer of topic.viewers) viewer.changed(topic.shape, topic.error);
    return true;
  }

  #check() {
    if (this.#socket && this.silentMs > SILENCE_MS) this.#lost(this.#socket);
  }

  async #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.onclose = null;
    socket.close();
    for (const topic of this.#topics.values()) topic.sequence = null;
    if (this.state !== "connecting" || this.#failures) this.#become("lost");
    const wait = RETRIES_MS[Math.min(this.#failures++, RETRIES_MS.length - 1)];
    if (await this.#signedOut()) this.#become("out");
    setTimeout(() => this.#connect(), wait);
  }

  async #signedOut() {
    try {
      return (await fetch("/api/session", { signal: AbortSignal.timeout(1000) })).status === 401;
    } catch {
      return false;
    }
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    document.body.dataset.link = state;
    this.dispatchEvent(new Event("state"));
  }
}

export const link = new Link();
