/** The place in a transcript that keys act on, and the line that is edited. */
import { signal } from "@preact/signals";
import { confirmed, edited, joined, split, wordsOf } from "../data/transcript.js";
import { wordsIn } from "../data/words_in_time.js";

/** A word is played from a little before its start. */
export const EARLY_S = 0.05;

/** @typedef {{ line: number, word: number }} Place */

export class TranscriptCursor {
  /**
   * @param {import("../data/transcript_store.js").TranscriptStore} store
   * @param {import("../audio/media_player.js").MediaPlayer} player
   */
  constructor(store, player) {
    this.store = store;
    this.player = player;
    this.chosen = signal(/** @type {Place} */ ({ line: 0, word: 0 }));
    this.editing = signal(/** @type {{ line: number, caret: number } | null} */ (null));
    /** Whether the chosen word takes the focus once it is drawn. */
    this.wantsFocus = false;
  }

  /** @param {number} line */
  _wordsIn(line) {
    const known = this.store.lines[line];
    return known ? wordsOf(known) : [];
  }

  /** The nearest place that exists in the transcript. @param {Place} place */
  _nearest(place) {
    const line = Math.max(0, Math.min(place.line, this.store.lines.length - 1));
    const word = Math.max(0, Math.min(place.word, this._wordsIn(line).length - 1));
    return { line, word };
  }

  /** The chosen word, or the nearest one if it was removed, for example by an undo. */
  get place() {
    return this._nearest(this.chosen.value);
  }

  /** @param {Place} place @param {boolean} [takesFocus] */
  choose(place, takesFocus = true) {
    this.wantsFocus = takesFocus;
    this.chosen.value = this._nearest(place);
  }

  /** To the next word, or with -1 the one before. @param {1 | -1} by */
  step(by) {
    const { line, word } = this.place;
    const isLast = word + by >= this._wordsIn(line).length;
    if (word + by < 0) this.choose(line > 0 ? { line: line - 1, word: Infinity } : { line, word });
    else if (isLast && line < this.store.lines.length - 1) this.choose({ line: line + 1, word: 0 });
    else this.choose({ line, word: word + by });
  }

  /** @param {Place} place */
  hear({ line, word }) {
    const startS = this._wordsIn(line)[word]?.start_s ?? this.store.lines[line]?.start_s;
    if (startS !== undefined) void this.player.play(Math.max(0, startS - EARLY_S));
  }

  confirm() {
    const { line, word } = this.place;
    this.store.change(confirmed(this.store.lines, line, word));
  }

  /** Edit a line, from a word on. @param {Place} place */
  edit({ line, word }) {
    if (!this.store.lines[line]) return;
    const before = this._wordsIn(line).slice(0, word).map((one) => one.text).join("").trimStart();
    const hasSpace = /^\s/.test(this._wordsIn(line)[word]?.text ?? "") && before !== "";
    this.editing.value = { line, caret: before.length + (hasSpace ? 1 : 0) };
  }

  /** @returns {number} the line that is edited */
  get _edited() {
    return this.editing.value?.line ?? 0;
  }

  /** @param {string} text */
  _write(text) {
    this.store.change(edited(this.store.lines, this._edited, text));
  }

  /** Keep the text of the line. @param {string} text @param {boolean} takesFocus */
  end(text, takesFocus) {
    if (!this.editing.value) return;
    const line = this._edited;
    this._write(text);
    this.editing.value = null;
    const { chosen } = this;
    this.choose({ line, word: chosen.value.line === line ? chosen.value.word : 0 }, takesFocus);
  }

  /** @param {string} left @param {string} right */
  split(left, right) {
    const line = this._edited;
    const lines = split(this.store.lines, line, left, right);
    if (lines === this.store.lines) {
      this.end(left + right, true);
      return;
    }
    this.store.change(lines);
    this._editAt(line + 1, 0);
  }

  /** Join the line to the one before, or with 1 to the next. @param {string} text @param {1 | -1} by */
  join(text, by) {
    const line = this._edited;
    this._write(text);
    const first = by < 0 ? line - 1 : line;
    const { lines } = this.store;
    const both = first < 0 ? lines : joined(lines, first);
    if (both === lines) {
      this._editAt(line, by < 0 ? 0 : text.length);
      return;
    }
    const [before, after] = [lines[first]?.text.trim() ?? "", lines[first + 1]?.text.trim() ?? ""];
    this.store.change(both);
    this._editAt(first, (both[first]?.text.trim().length ?? before.length) - after.length);
  }

  /** Edit the next line, or with -1 the one before. @param {string} text @param {1 | -1} by */
  go(text, by) {
    const line = this._edited;
    this._write(text);
    const next = this.store.lines[line + by];
    if (next) this._editAt(line + by, by < 0 ? next.text.trim().length : 0);
    else this._editAt(line, by < 0 ? 0 : text.length);
  }

  /** Play from a place in the text of the line. @param {string} text @param {number} caret */
  hearAt(text, caret) {
    this.hear({ line: this._edited, word: Math.max(0, wordsIn(text.slice(0, caret)).length - 1) });
  }

  /** @param {number} line @param {number} caret */
  _editAt(line, caret) {
    this.chosen.value = { line, word: 0 };
    this.editing.value = { line, caret };
  }
}
