/** The transcript of a live session, and its formats. */
import { effect, signal } from "@preact/signals";
import { t } from "../words.js";
import { store, stored } from "./stored.js";
import { offer } from "./undo.js";

const KEY = "studio.live";

/**
 * @typedef {object} Line
 * @property {string} text
 * @property {number} startS
 * @property {number} endS
 * @property {{ text: string, start: number, end: number, probability: number }[]} words
 * @property {number} stable characters that will probably not change
 */

export class LiveText {
  constructor() {
    /** @type {import("@preact/signals").Signal<Line[]>} */
    this.finals = signal(JSON.parse(stored(KEY, "sessionStorage") ?? "[]"));
    /** @type {import("@preact/signals").Signal<Line | null>} */
    this.interim = signal(null);
    /** Whether somebody has copied or saved all final lines. */
    this.isKept = this.finals.value.length === 0;
    // Browsers discard tabs that are not seen, and people load pages again.
    effect(() => {
      const lines = this.finals.value.map((line) => ({ ...line, words: [] }));
      store(KEY, lines.length > 0 ? JSON.stringify(lines) : null, "sessionStorage");
    });
  }

  /** When the last line ends, 0 without one. */
  get endS() {
    return this.finals.value.at(-1)?.endS ?? 0;
  }

  /** Take a `transcription` event, whose times begin at `baseS`. @param {any} data @param {number} baseS */
  take(data, baseS) {
    const words = (data.words ?? []).map((/** @type {any} */ word) => ({
      ...word,
      start: baseS + word.start,
      end: baseS + word.end,
    }));
    const line = {
      text: data.transcription,
      startS: baseS + data.start,
      endS: baseS + data.end,
      words,
      stable: (data.stable ?? "").length,
    };
    this.interim.value = data.is_final ? null : line;
    if (!data.is_final || !line.text) return;
    this.finals.value = [...this.finals.value, line];
    this.isKept = false;
  }

  /** The final lines as plain text. */
  get plain() {
    return `${this.finals.value.map((line) => line.text).join("\n")}\n`;
  }

  /** Remove all lines; this can be undone. */
  clear() {
    const { isKept, finals } = this;
    const lines = finals.value;
    finals.value = [];
    this.interim.value = null;
    this.isKept = true;
    const undo = () => {
      finals.value = [...lines, ...finals.value];
      this.isKept = isKept && this.isKept;
    };
    offer({ text: t("live.cleared"), undo, place: ".live-lines" });
  }
}

/**
 * A line in parts: the words, and what stands between them. Chinese has no spaces.
 * @param {Line} line
 * @returns {{ text: string, word: Line["words"][number] | null, isStable: boolean }[]}
 */
export function partsOf({ text, words, stable }) {
  const parts = [];
  let at = 0;
  for (const word of words) {
    const begin = text.indexOf(word.text, at);
    if (begin < 0) continue;
    const end = begin + word.text.length;
    if (begin > at) parts.push({ text: text.slice(at, begin), word: null, isStable: begin <= stable });
    parts.push({ text: word.text, word, isStable: end <= stable });
    at = end;
  }
  if (at < text.length) parts.push({ text: text.slice(at), word: null, isStable: text.length <= stable });
  return parts;
}
