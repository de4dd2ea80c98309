/** The lines of a song as they are shown for singing. */
import { wordsOf } from "./transcript.js";

/**
 * @typedef {object} SungWord
 * @property {string} text
 * @property {number} start_s
 * @property {number} end_s
 * @property {number} line of the transcript
 * @property {number} word of that line
 * @property {boolean} isRightToLeft
 */
/** @typedef {{ words: SungWord[], start_s: number, end_s: number }} Row */

/** Longer lines are shown in parts of about the same length. */
const MAX_COLUMNS = 42;
/** A pause in a line begins a new row. */
const PAUSE_S = 2;
/** A row stays for this time after its last word. */
const HOLD_S = 0.3;
/** Media elements may round the position they seek to. */
const AFTER_S = 0.01;
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}]/u;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/;

/** @param {import("./transcript.js").Line[]} lines @returns {Row[]} */
export function rowsOf(lines) {
  return lines.flatMap((line, n) => {
    // Known lyrics whose time was not found would flash by.
    if (line.placed === false) return [];
    const words = wordsOf(line).map((word, w) => ({
      ...word,
      line: n,
      word: w,
      isRightToLeft: RIGHT_TO_LEFT.test(word.text),
    }));
    return partsOf(words).map((part) => ({
      words: part,
      start_s: part[0]?.start_s ?? line.start_s,
      end_s: part.at(-1)?.end_s ?? line.end_s,
    }));
  });
}

/** @param {SungWord[]} words */
function partsOf(words) {
  const columns = words.reduce((sum, word) => sum + widthOf(word.text), 0);
  const each = columns / Math.ceil(columns / MAX_COLUMNS);
  /** @type {SungWord[][]} */
  const parts = [];
  let width = Infinity;
  words.forEach((word, w) => {
    const before = words[w - 1];
    if (width >= each || (before && word.start_s - before.end_s > PAUSE_S)) {
      parts.push([]);
      width = 0;
    }
    parts.at(-1)?.push(word);
    width += widthOf(word.text);
  });
  return parts;
}

/** The columns of a text. @param {string} text */
export function widthOf(text) {
  return [...text].reduce((sum, letter) => sum + (WIDE.test(letter) ? 2 : 1), 0);
}

/** The row that is sung at a time, or comes next; the number of rows at the end. @param {Row[]} rows
 * @param {number} timeS
 */
export function rowAt(rows, timeS) {
  const at = rows.findIndex((row) => row.end_s + HOLD_S > timeS);
  return at < 0 ? rows.length : at;
}

/** The earliest time, from its start on, at which `rowAt` returns a row: the previous one stays for a moment.
 * @param {Row[]} rows
 * @param {number} n
 */
export function shownFromS(rows, n) {
  const heldUntilS = (rows[n - 1]?.end_s ?? -Infinity) + HOLD_S;
  return Math.max(rows[n]?.start_s ?? 0, heldUntilS + AFTER_S);
}

/** How much of a word has been sung, 0 to 1. @param {SungWord} word @param {number} timeS */
export function sungShare(word, timeS) {
  const lengthS = Math.max(word.end_s - word.start_s, 0.01);
  return Math.min(1, Math.max(0, (timeS - word.start_s) / lengthS));
}
