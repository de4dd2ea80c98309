/** Lines of a transcript, and what can be done to them. Nothing is changed in place. */
import { inTime, needsSpace, wordsIn } from "./words_in_time.js";

/**
 * @typedef {object} Word
 * @property {string} text with the space before it
 * @property {number} start_s
 * @property {number} end_s
 * @property {number} probability 0 to 1
 * @property {boolean} [placed] false for a word of known lyrics whose time was not found
 */
/**
 * @typedef {object} Line a segment of the server
 * @property {number} start_s
 * @property {number} end_s
 * @property {string} text
 * @property {Word[]} words empty if their times are unknown
 * @property {boolean} [placed] false for a line of known lyrics whose time was not found
 */

/** Words below are marked as doubtful. */
const DOUBTFUL = 0.5;
/** Every word keeps at least this time when it or a neighbour is moved. */
const MIN_MOVED_S = 0.03;

/** @param {Word} word */
export const isDoubtful = (word) => word.probability < DOUBTFUL;

/** The words of a line; if their times are unknown, they share that of the line. @param {Line} line */
export function wordsOf(line) {
  return line.words.length > 0 ? line.words : inTime([], line.text, line.start_s, line.end_s);
}

/** Whether two versions have the same lines and words. @param {Line[]} lines @param {Line[]} others */
export const isSame = (lines, others) => essence(lines) === essence(others);

/** What can be edited. @param {Line[]} lines */
function essence(lines) {
  const timed = (/** @type {Line | Word} */ { text, start_s, end_s }) => [text, start_s, end_s];
  return JSON.stringify(
    lines.map((line) => [timed(line), line.words.map((word) => [timed(word), word.probability])]),
  );
}

/**
 * Change the text of a line; without any, the line is removed.
 * @param {Line[]} lines
 * @param {number} n
 * @param {string} text
 */
export function edited(lines, n, text) {
  const line = lines[n];
  if (!line || line.text.trim() === text.trim()) return lines;
  return lines.toSpliced(n, 1, ...(text.trim() ? [withText(line, text)] : []));
}

/** @param {Line} line @param {string} text @returns {Line} */
function withText(line, text) {
  const written = (/^\s/.test(line.text) ? " " : "") + text.trim();
  const words = line.words.length > 0 ? inTime(line.words, written, line.start_s, line.end_s) : [];
  return { ...line, text: written, words };
}

/**
 * Make two lines of one; the texts are those before and after the place.
 * @param {Line[]} lines
 * @param {number} n
 * @param {string} left
 * @param {string} right
 */
export function split(lines, n, left, right) {
  const line = lines[n];
  if (!line || !left.trim() || !right.trim()) return lines;
  const whole = withText(line, `${left.trim()} ${right.trim()}`);
  const count = wordsIn(left.trim()).length;
  const words = wordsOf(whole);
  const [first, second] = [words.slice(0, count), words.slice(count)];
  const space = /^\s/.test(line.text) ? " " : "";
  const [firstEndS, secondStartS] = [first.at(-1)?.end_s ?? line.end_s, second[0]?.start_s ?? line.start_s];
  const areKnown = line.words.length > 0;
  return lines.toSpliced(
    n,
    1,
    { ...line, end_s: Math.max(line.start_s, firstEndS), text: space + left.trim(), words: areKnown ? first : [] },
    { ...line, start_s: secondStartS, text: space + right.trim(), words: areKnown ? second : [] },
  );
}

/** Make one line of `n` and the next. @param {Line[]} lines @param {number} n */
export function joined(lines, n) {
  const [line, next] = [lines[n], lines[n + 1]];
  if (!line || !next) return lines;
  const space = needsSpace(line.text.trimEnd(), next.text) ? " " : "";
  const haveWords = line.words.length > 0 && next.words.length > 0;
  const words = haveWords
    ? [...line.words, ...next.words.map((word, w) => (w === 0 ? { ...word, text: space + word.text.trimStart() } : word))]
    : [];
  const text = line.text.trimEnd() + space + next.text.trimStart();
  const placed = line.placed === false && next.placed !== false ? { placed: true } : {};
  return lines.toSpliced(n, 2, { ...line, ...placed, end_s: Math.max(line.end_s, next.end_s), text, words });
}

/** Mark a word as right. @param {Line[]} lines @param {number} n @param {number} w */
export function confirmed(lines, n, w) {
  const line = lines[n];
  const word = line?.words[w];
  if (!line || !word) return lines;
  return lines.with(n, { ...line, words: line.words.with(w, { ...word, probability: 1 }) });
}

/**
 * Move a word in time. Its neighbours give way, and keep a little time themselves.
 * @param {Line[]} lines
 * @param {number} n
 * @param {number} w
 * @param {number} startS
 * @param {number} endS
 */
export function moved(lines, n, w, startS, endS) {
  const line = lines[n];
  if (!line) return lines;
  const words = wordsOf(line).map((word) => ({ ...word }));
  const [before, word, after] = [words[w - 1], words[w], words[w + 1]];
  if (!word) return lines;
  const least = before ? before.start_s + MIN_MOVED_S : (lines[n - 1]?.end_s ?? 0);
  const most = after ? after.end_s - MIN_MOVED_S : (lines[n + 1]?.start_s ?? Infinity);
  word.start_s = Math.max(Math.min(startS, most - MIN_MOVED_S), Math.min(least, word.start_s));
  word.end_s = Math.min(Math.max(endS, word.start_s + MIN_MOVED_S), Math.max(most, word.end_s));
  if (word.placed === false) word.placed = true;
  if (before) before.end_s = Math.min(before.end_s, word.start_s);
  if (after) after.start_s = Math.max(after.start_s, word.end_s);
  const [first, last] = [words[0] ?? word, words.at(-1) ?? word];
  return lines.with(n, { ...line, start_s: first.start_s, end_s: last.end_s, words });
}

/**
 * The last line that has begun at a time, or -1; the same for words.
 * @param {{ start_s: number }[]} parts in order
 * @param {number} timeS
 */
export function begunAt(parts, timeS) {
  let [from, to] = [0, parts.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((parts[middle]?.start_s ?? Infinity) <= timeS) from = middle + 1;
    else to = middle;
  }
  return from - 1;
}
