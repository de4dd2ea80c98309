/**
 * Gives the words of an edited line their times: letters that stayed keep theirs, and new ones share
 * the time between their neighbours.
 */

/** @typedef {import("./transcript.js").Word} Word */
/** @typedef {{ letter: string, startS: number, endS: number, word: Word }} Letter */

/** Scripts that write no spaces between words. */
const WITHOUT_SPACES =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
/** Longer texts are compared only at their beginnings and ends. */
const MAX_COMPARISONS = 1_000_000;
/** No word is shorter, where its neighbours can spare the time. */
const MIN_WORD_S = 0.1;

/** The words of a text, each with the space before it. @param {string} text */
export function wordsIn(text) {
  const chunks = text.match(/\s*\S+/g) ?? [];
  return chunks.flatMap((chunk) => (WITHOUT_SPACES.test(chunk) ? segmented(chunk) : [chunk]));
}

/** Whether a space belongs between two texts. @param {string} before @param {string} after */
export function needsSpace(before, after) {
  return !(WITHOUT_SPACES.test(before.slice(-1)) && WITHOUT_SPACES.test(after.trimStart().slice(0, 1)));
}

/** @param {string} chunk */
function segmented(chunk) {
  /** @type {string[]} */
  const words = [];
  let word = "";
  let hasLetters = false;
  for (const part of new Intl.Segmenter(undefined, { granularity: "word" }).segment(chunk)) {
    if (part.isWordLike && hasLetters) {
      words.push(word);
      word = "";
    }
    word += part.segment;
    hasLetters ||= part.isWordLike === true;
  }
  return [...words, word];
}

/**
 * The words of `text`, in the time from `startS` to `endS`.
 * @param {Word[]} known words of the line before it was edited
 * @param {string} text
 * @param {number} startS
 * @param {number} endS
 * @returns {Word[]}
 */
export function inTime(known, text, startS, endS) {
  const old = known.flatMap(lettersOf);
  const texts = wordsIn(text);
  const letters = texts.flatMap((word) => [...word.trim()]);
  const places = alike(old.map((one) => one.letter), letters);
  const times = timesOf(old, places, startS, endS);
  let at = 0;
  const words = texts.map((word) => {
    const from = at;
    at += [...word.trim()].length;
    return wordOf(word, old, places.slice(from, at), times.slice(from, at));
  });
  return roomForAll(words);
}

/** @param {Word} word @returns {Letter[]} */
function lettersOf(word) {
  const letters = [...word.text.trim()];
  const each = (word.end_s - word.start_s) / letters.length;
  return letters.map((letter, n) => {
    const startS = word.start_s + n * each;
    return { letter, startS, endS: startS + each, word };
  });
}

/**
 * The place in `old` of each letter in `now`, or -1: the longest text that both have in common.
 * @param {string[]} old
 * @param {string[]} now
 */
function alike(old, now) {
  const places = new Array(now.length).fill(-1);
  let from = 0;
  while (from < old.length && from < now.length && old[from] === now[from]) places[from] = from++;
  let [oldEnd, end] = [old.length, now.length];
  while (oldEnd > from && end > from && old[oldEnd - 1] === now[end - 1]) places[--end] = --oldEnd;
  const [rows, columns] = [oldEnd - from, end - from];
  if (rows === 0 || columns === 0 || rows * columns > MAX_COMPARISONS) return places;

  const width = columns + 1;
  const common = new Uint16Array((rows + 1) * width);
  const at = (/** @type {number} */ row, /** @type {number} */ column) => common[row * width + column] ?? 0;
  for (let row = rows - 1; row >= 0; row--) {
    for (let column = columns - 1; column >= 0; column--) {
      common[row * width + column] =
        old[from + row] === now[from + column]
          ? at(row + 1, column + 1) + 1
          : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  // Texts with little in common share letters by chance.
  if (at(0, 0) < Math.min(rows, columns) / 2) return places;
  for (let row = 0, column = 0; row < rows && column < columns; ) {
    if (old[from + row] === now[from + column]) places[from + column++] = from + row++;
    else if (at(row + 1, column) >= at(row, column + 1)) row++;
    else column++;
  }
  return places;
}

/**
 * @param {Letter[]} old
 * @param {number[]} places
 * @param {number} startS
 * @param {number} endS
 */
function timesOf(old, places, startS, endS) {
  /** @type {[number, number][]} */
  const times = [];
  let beforeS = startS;
  for (let n = 0; n < places.length; ) {
    const stayed = old[places[n] ?? -1];
    if (stayed) {
      times.push([stayed.startS, stayed.endS]);
      beforeS = stayed.endS;
      n++;
      continue;
    }
    let next = n;
    while (next < places.length && places[next] === -1) next++;
    const each = (Math.max(beforeS, old[places[next] ?? -1]?.startS ?? endS) - beforeS) / (next - n);
    for (let k = 0; n < next; n++, k++) times.push([beforeS + k * each, beforeS + (k + 1) * each]);
  }
  return times;
}

/**
 * @param {string} text
 * @param {Letter[]} old
 * @param {number[]} places
 * @param {[number, number][]} times
 * @returns {Word}
 */
function wordOf(text, old, places, times) {
  const word = old[places[0] ?? -1]?.word;
  const stayed = word && places.every((place) => old[place]?.word === word) && word.text.trim() === text.trim();
  if (stayed) return { ...word, text };
  // What a person has written is not in doubt.
  return { text, start_s: times[0]?.[0] ?? 0, end_s: times.at(-1)?.[1] ?? 0, probability: 1 };
}

/** Take time from neighbours for words that have none. @param {Word[]} words */
function roomForAll(words) {
  const made = words.map((word) => ({ ...word }));
  made.forEach((word, n) => {
    const missing = MIN_WORD_S - (word.end_s - word.start_s);
    if (missing <= 0) return;
    const [before, after] = [made[n - 1], made[n + 1]];
    if (before && before.end_s - before.start_s > 2 * MIN_WORD_S) {
      word.start_s = Math.min(word.start_s, before.end_s) - missing;
      before.end_s = Math.min(before.end_s, word.start_s);
    } else if (after && after.end_s - after.start_s > 2 * MIN_WORD_S) {
      word.end_s = Math.max(word.end_s, after.start_s) + missing;
      after.start_s = Math.max(after.start_s, word.end_s);
    }
  });
  return made.map((word) => ({ ...word, start_s: rounded(word.start_s), end_s: rounded(word.end_s) }));
}

/** @param {number} seconds */
const rounded = (seconds) => Math.round(seconds * 1000) / 1000;
