/**
 * All controls that a page can ask for: words, fields, and what of a row they concern.
 * Never here: one that arms live trading.
 */
import { text } from "./format.js";

const CAPS = ["strategy", "family", "underlying", "direction", "utilization"];
const LIMITS = [...CAPS.map((name) => `cap_${name}`), "drawdown_stop"];

/** By the last part of their address. `of`: what the body says without being asked for it. */
export const KINDS = {
  halt: {
    title: "Halt trading",
    word: "HALT",
    says: "No new entries until a resume. Resting orders are cancelled, positions stay and settle.",
    fields: { reason: { type: "text", required: true, maxlength: 200 } },
    button: () => "Halt",
  },
  resume: {
    title: "Resume trading",
    word: "RESUME",
    says: "Entries are allowed again, also after a drawdown stop.",
    button: () => "Resume",
  },
  reset: {
    title: "Reset",
    word: "RESET",
    says: "Open orders are cancelled; cooldowns, streaks and counters forgotten; settings kept.",
    fields: { force_defaults: { type: "checkbox" } },
    button: () => "Reset",
  },
  enable: {
    title: "Switch a strategy",
    says: "Concerns new entries only; positions stay and settle.",
    of: (row) => ({ strategy: row.strategy ?? row.id, enabled: !row.enabled }),
    button: (row) => (row.enabled ? "Switch off" : "Switch on"),
  },
  multiplier: {
    title: "Scale a strategy's size",
    says: "From 0 to 2; 1 is its own size.",
    of: (row) => ({ strategy: row.strategy ?? row.id }),
    fields: { value: { type: "number", min: 0, max: 2, step: "any", required: true } },
    now: (row) => row.multiplier,
    button: () => "Scale",
  },
  parameter: {
    title: "Set a parameter",
    of: (row, owner) => ({ strategy: row.strategy ?? owner, name: row.name }),
    says: ({ low, high, unit, default: usual }) =>
      `From ${text("", low)} to ${text("", high)} ${unit}; ${text("", usual)} by default.`,
    fields: (row) => ({
      value: { type: "number", min: row.low, max: row.high, step: "any", required: true },
    }),
    now: (row) => row.value,
    button: () => "Set",
  },
  risk: {
    title: "Set limits of capital",
    word: "RISK",
    says: "Shares of equity, from 0 to 1. What is left empty stays as it is.",
    fields: Object.fromEntries(
      LIMITS.map((name) => [name, { type: "number", min: 0, max: 1, step: "any" }]),
    ),
    button: () => "Set limits",
  },
  deposit: {
    title: "Add paper money",
    word: "DEPOSIT",
    fields: { dollars: { type: "number", min: 0.01, step: 0.01, required: true } },
    says: "The stop of the day moves with it.",
    button: () => "Deposit",
  },
  acknowledge: {
    title: "Acknowledge an alert",
    says: "Somebody knows and looks. It stays until the trouble is away.",
    of: (row) => ({ kind: row.kind, subject: row.subject }),
    applies: (row) => ["firing", "open"].includes(row.state),
    button: () => "Acknowledge",
  },
};
