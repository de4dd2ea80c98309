/** A transcript while it is edited: saved shortly after each change, if nobody else has changed it. */
import { effect, signal } from "@preact/signals";
import { ApiError, isOffline } from "./api.js";
import { History } from "./history.js";
import { isSame } from "./transcript.js";
import { TranscriptFile } from "./transcript_file.js";

/** @typedef {import("./transcript.js").Line} Line */
/** @typedef {import("./transcript_file.js").Version} Version */
/** @typedef {"loading" | "saved" | "unsaved" | "saving" | "failed" | "conflict" | "gone"} State */

const SAVE_AFTER_MS = 700;
const CHECK_EVERY_MS = 10_000;
/** @type {Version} */
const NOTHING = { lines: [], etag: "" };

export class TranscriptStore {
  /** @param {string} id of the file */
  constructor(id) {
    this.file = new TranscriptFile(id);
    this.history = new History(NOTHING.lines);
    this.state = signal(/** @type {State} */ ("loading"));
    this.error = signal("");
    /** What somebody else saved, while there is a conflict. */
    this.theirs = signal(NOTHING);
    /** Whether somebody else's changes were taken over since the last own one. */
    this.wasUpdated = signal(false);
    /** While a line is being edited, nobody else's changes are taken over. */
    this.isHeld = false;
    this._saved = NOTHING;
    this._timer = 0;
    this._checks = setInterval(() => void this.check(), CHECK_EVERY_MS);
    this._leave = () => this._keepDraft();
    addEventListener("pagehide", this._leave);
    this._stop = effect(() => {
      if (!isOffline.value && this.state.peek() === "failed") void this.retry();
    });
  }

  get lines() {
    return this.history.current.value;
  }

  get _hasChanges() {
    return this.lines !== this._saved.lines;
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
    await this.save();
    if (this.state.value !== "saved") return;
    try {
      await this.file.restore(this._saved.etag);
      const version = (await this.file.read()) ?? NOTHING;
      this.history.change(version.lines);
      this._settle(version);
    } catch (error) {
      await this._failSaving(error);
    }
  }

  async save() {
    clearTimeout(this._timer);
    const state = this.state.value;
    if (state === "saving" || state === "conflict" || state === "gone" || this._saved === NOTHING) return;
    if (!this._hasChanges) {
      if (state === "failed") this._settle(this._saved);
      return;
    }
    const lines = this.lines;
    this.state.value = "saving";
    try {
      this._settle({ lines, etag: await this.file.write({ lines, etag: this._saved.etag }) });
      if (this._hasChanges) this._changed();
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
    this._keepDraft();
    void this.save();
  }

  _changed() {
    const state = this.state.value;
    if (state === "conflict" || state === "gone") return;
    // The draft of what is undone would come back with the next load.
    if (state === "failed" && !this._hasChanges) this._settle(this._saved);
    else if (state !== "saving") this.state.value = this._hasChanges ? "unsaved" : "saved";
    this.wasUpdated.value = false;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this.save(), SAVE_AFTER_MS);
  }

  /** @param {Version} version what the server has */
  _settle(version) {
    this._saved = version;
    this.error.value = "";
    this.state.value = "saved";
    this.file.forgetDraft();
  }

  /** @param {unknown} error */
  async _failSaving(error) {
    if (!(error instanceof ApiError) || error.code !== "precondition_failed") return this._fail(error);
    try {
      return this._conflict((await this.file.read()) ?? NOTHING);
    } catch (another) {
      return this._fail(another);
    }
  }

  /** Somebody else saved a version, unless it is the own one, saved by this page before. @param {Version} version */
  _conflict(version) {
    if (isSame(this.lines, version.lines)) {
      this._settle({ lines: this.lines, etag: version.etag });
      return;
    }
    this.theirs.value = version;
    this.state.value = "conflict";
    this._keepDraft();
  }

  /** @param {unknown} error */
  _fail(error) {
    if (!(error instanceof ApiError)) throw error;
    this.state.value = error.code === "unknown_file" ? "gone" : "failed";
    this.error.value = error.message;
    this._keepDraft();
  }

  _keepDraft() {
    if (this._hasChanges) this.file.keepDraft({ lines: this.lines, etag: this._saved.etag });
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
