/**
 * Live text as subtitles, by the rules of the server: at most two lines of 42 columns, for 7 s at
 * most. A pause begins another cue.
 */
import { widthOf } from "./karaoke_rows.js";
import { inTime } from "./words_in_time.js";

const MAX_COLUMNS = 42;
const MAX_ROWS = 2;
const MAX_CUE_S = 7;
const PAUSE_S = 1;
/** A cue lasts at least so long, if the next one allows. */
const READABLE_CUE_S = 0.7;

/** @typedef {import("./transcript.js").Word} Word */

/** @param {import("./live_text.js").Line[]} lines @param {"srt" | "vtt"} format */
export function subtitlesOf(lines, format) {
  const cues = lines.flatMap((line) => [...cuesOf(wordsOf(line))]);
  const mark = format === "srt" ? "," : ".";
  const blocks = cues.map((rows, n) => {
    const words = rows.flat();
    const [first, last] = [/** @type {Word} */ (words[0]), /** @type {Word} */ (words.at(-1))];
    const readableS = Math.max(last.end_s, first.start_s + READABLE_CUE_S);
    const endS = Math.min(readableS, cues[n + 1]?.[0]?.[0]?.start_s ?? Infinity);
    const text = rows.map((row) => (format === "vtt" ? escaped(textOf(row)) : textOf(row))).join("\n");
    return `${n + 1}\n${clock(first.start_s, mark)} --> ${clock(endS, mark)}\n${text}\n`;
  });
  return (format === "vtt" ? "WEBVTT\n\n" : "") + blocks.join("\n");
}

/**
 * The words of a line with their times. Where those are not known, they are spread over the line.
 * @param {import("./live_text.js").Line} line
 */
function wordsOf({ text, startS, endS, words }) {
  const known = words.map(({ start, end, ...word }) => ({ ...word, start_s: start, end_s: end }));
  return inTime(known, text, startS, endS);
}

/** The rows of each cue. @param {Word[]} words */
function* cuesOf(words) {
  /** @type {Word[][]} */
  let rows = [];
  for (const word of words) {
    const row = rows.at(-1);
    const [first, last] = [rows[0]?.[0], row?.at(-1)];
    const isNewRow = !row || widthOf(textOf([...row, word])) > MAX_COLUMNS;
    const isNewCue =
      (isNewRow && rows.length === MAX_ROWS) ||
      (first && word.end_s - first.start_s > MAX_CUE_S) ||
      (last && word.start_s - last.end_s > PAUSE_S);
    if (isNewCue) yield rows;
    if (!row || isNewCue) rows = [[word]];
    else if (isNewRow) rows.push([word]);
    else row.push(word);
  }
  if (rows.length > 0) yield rows;
}

/** @param {Word[]} row */
function textOf(row) {
  return row
    .map((word) => word.text)
    .join("")
    .trim();
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** @param {number} seconds @param {string} mark */
function clock(seconds, mark) {
  return new Date(Math.round(seconds * 1000)).toISOString().slice(11, 23).replace(".", mark);
}
