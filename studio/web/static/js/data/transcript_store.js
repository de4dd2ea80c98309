/** A transcript while it is edited: loaded, saved if nobody else has changed it, and kept up to date. */
import { effect, untracked } from "@preact/signals";
import { ApiError } from "./api.js";
import { returns } from "./connection.js";
import { askWhile, beforeEnd } from "./leaving.js";
import { NOTHING, SavedLines } from "./saved_lines.js";

/** @typedef {import("./transcript.js").Line} Line */
/** @typedef {import("./transcript_file.js").Version} Version */

const CHECK_EVERY_MS = 10_000;
const LOAD_AGAIN_S = 5;

/** @type {Set<TranscriptStore>} those of the page, and those of pages that were left with changes at risk */
const open = new Set();
const atRisk = () => [...open].filter((store) => !store.keepDraft());
askWhile(() => atRisk().length > 0);

export class TranscriptStore extends SavedLines {
  /** @param {string} id of the file */
  constructor(id) {
    super(id);
    this._id = id;
    this._isClosed = false;
    /** While a line is being edited, nobody else's changes are taken over. */
    this.isHeld = false;
    this._loading = 0;
    this._checks = setInterval(() => void this.check(), CHECK_EVERY_MS);
    open.add(this);
    this._stopKeeping = beforeEnd(() => void this.keepDraft());
    this._stop = effect(() => {
      const hasFailed = ["failed", "unloaded"].includes(this.state.peek());
      if (returns.value > 0 && hasFailed) void untracked(() => this.retry());
    });
  }

  async load() {
    clearTimeout(this._loading);
    try {
      // What this page could neither save nor store before.
      const left = atRisk().find((store) => store._isClosed && store._id === this._id);
      await left?.save();
      const version = (await this.file.read()) ?? NOTHING;
      if (this._isClosed || this._isLoaded) return;
      const draft = left?._handOver() ?? this.file.draft();
      this.history.reset(version.lines);
      if (draft) this._goOn(draft, version);
      else this._settle(version);
    } catch (error) {
      this._fail(error);
      this._loadLater(error);
    }
  }

  /** Load again when the server may be free. `returns` tells when one is back that was lost. @param {any} error */
  _loadLater({ isPassing, code, retryAfterS }) {
    if (this._isClosed || !isPassing || code === "offline") return;
    this._loading = setTimeout(() => void this.load(), 1000 * (retryAfterS || LOAD_AGAIN_S));
  }

  /** Retry what failed. */
  async retry() {
    await (this._isLoaded ? this.save() : this.load());
    if (this._isClosed) this._endIfSafe();
  }

  /** @param {Line[]} lines */
  change(lines) {
    this.history.change(lines);
    this._changed();
  }

  undo() {
    this.history.undo();
    this._changed();
  }

  redo() {
    this.history.redo();
    this._changed();
  }

  /** Return to what the model wrote; this can be undone. */
  async restore() {
    if (!(await this.save()) || !this._isLoaded) return;
    try {
      await this.file.restore(this._saved.etag);
      const version = (await this.file.read()) ?? NOTHING;
      this.history.change(version.lines);
      this._settle(version);
    } catch (error) {
      await this._failSaving(error);
    }
  }

  /** Look whether somebody else has changed the transcript. */
  async check() {
    const isIdle = this.state.value === "saved" || this.state.value === "unsaved";
    if (document.hidden || this.isHeld || !isIdle) return;
    const { etag } = this._saved;
    try {
      const version = await this.file.read(etag);
      if (version === null || etag !== this._saved.etag || this.isHeld) return;
      if (this._hasChanges) {
        this._conflict(version);
      } else {
        this.history.change(version.lines);
        this._settle(version);
        this.wasUpdated.value = true;
      }
    } catch (error) {
      // Saving reports for itself what it cannot do; the next look is soon.
      if (!(error instanceof ApiError && error.isPassing)) this._fail(error);
    }
  }

  takeTheirs() {
    this.history.change(this.theirs.value.lines);
    this._settle(this.theirs.value);
  }

  keepMine() {
    this._saved = this.theirs.value;
    this.state.value = "unsaved";
    void this.save();
  }

  /** The page is left. Changes that can be neither saved nor stored stay in memory, and are tried again. */
  close() {
    this._isClosed = true;
    clearTimeout(this._loading);
    clearInterval(this._checks);
    this._checks = setInterval(() => void this.retry(), CHECK_EVERY_MS);
    this.keepDraft();
    // A line that is still open is changed after this call, and before the end of the save.
    void this.save().finally(() => this._endIfSafe());
  }

  _endIfSafe() {
    if (this.keepDraft() || this.state.value === "gone") this._end();
  }

  _end() {
    clearInterval(this._checks);
    this._stopKeeping();
    this._stop();
    open.delete(this);
  }

  /** The changes that are at risk, for the store that goes on with them. @returns {Version | null} */
  _handOver() {
    this._end();
    return this._hasChanges ? { lines: this.lines, etag: this._saved.etag } : null;
  }

  /** Go on with what could not be saved before. @param {Version} draft @param {Version} version */
  _goOn(draft, version) {
    // Until somebody decides, the draft stays one of its own version, and nothing is written over theirs.
    this._saved = { lines: version.lines, etag: draft.etag };
    this.history.change(draft.lines);
    if (draft.etag === version.etag) this._changed();
    else this._conflict(version);
  }
}
