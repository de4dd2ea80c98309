/** The transcript of a live session, and its formats. */
import { signal } from "@preact/signals";

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
    this.finals = signal([]);
    /** @type {import("@preact/signals").Signal<Line | null>} */
    this.interim = signal(null);
    /** Whether somebody has copied or saved all final lines. */
    this.isKept = true;
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

  clear() {
    this.finals.value = [];
    this.interim.value = null;
    this.isKept = true;
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
