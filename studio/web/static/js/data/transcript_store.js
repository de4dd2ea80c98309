/** A transcript while it is edited: loaded, saved if nobody else has changed it, and kept up to date. */
import { effect } from "@preact/signals";
import { ApiError, isOffline } from "./api.js";
import { askWhile } from "./leaving.js";
import { NOTHING, SavedLines } from "./saved_lines.js";

/** @typedef {import("./transcript.js").Line} Line */
/** @typedef {import("./transcript_file.js").Version} Version */

const CHECK_EVERY_MS = 10_000;

/** @type {Set<TranscriptStore>} */
const open = new Set();
askWhile(() => [...open].some((store) => !store.keepDraft()));

export class TranscriptStore extends SavedLines {
  /** @param {string} id of the file */
  constructor(id) {
    super(id);
    /** While a line is being edited, nobody else's changes are taken over. */
    this.isHeld = false;
    this._checks = setInterval(() => void this.check(), CHECK_EVERY_MS);
    this._leave = () => void this.keepDraft();
    open.add(this);
    addEventListener("pagehide", this._leave);
    this._stop = effect(() => {
      if (!isOffline.value && this.state.peek() === "failed") void this.retry();
    });
  }

  async load() {
    try {
      const version = (await this.file.read()) ?? NOTHING;
      const draft = this.file.draft();
      this.history.reset(version.lines);
      if (draft) this._goOn(draft, version);
      else this._settle(version);
    } catch (error) {
      this._fail(error);
    }
  }

  /** Retry what failed. */
  async retry() {
    await (this._saved === NOTHING ? this.load() : this.save());
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
    if (!(await this.save())) return;
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

  close() {
    clearInterval(this._checks);
    removeEventListener("pagehide", this._leave);
    this._stop();
    this.keepDraft();
    void this.save().finally(() => open.delete(this));
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
