/** Lines that are edited, and what the server has of them: they are saved shortly after each change. */
import { signal } from "@preact/signals";
import { ApiError } from "./api.js";
import { History } from "./history.js";
import { isSame } from "./transcript.js";
import { TranscriptFile } from "./transcript_file.js";

/** @typedef {import("./transcript.js").Line} Line */
/** @typedef {import("./transcript_file.js").Version} Version */
/** @typedef {"loading" | "unloaded" | "saved" | "unsaved" | "saving" | "failed" | "conflict" | "gone"} State */

const SAVE_AFTER_MS = 700;
/** @type {Version} before the lines are loaded */
export const NOTHING = { lines: [], etag: "" };

export class SavedLines {
  /** @param {string} id of the file */
  constructor(id) {
    this.file = new TranscriptFile(id);
    this.history = new History(NOTHING.lines);
    this.state = signal(/** @type {State} */ ("loading"));
    this.error = signal("");
    /** Whether this browser has the changes that could not be saved. */
    this.isDraftKept = signal(true);
    /** What somebody else saved, while there is a conflict. */
    this.theirs = signal(NOTHING);
    /** Whether somebody else's changes were taken over since the last own one. */
    this.wasUpdated = signal(false);
    this._saved = NOTHING;
    this._timer = 0;
    /** @type {Promise<void> | null} the save in progress */
    this._saving = null;
  }

  get lines() {
    return this.history.current.value;
  }

  get _hasChanges() {
    return this.lines !== this._saved.lines;
  }

  /** Whether nothing can be saved for now: the lines are not loaded, somebody has to decide, or the file is gone. */
  get _isHalted() {
    return !this._isLoaded || this.state.value === "conflict" || this.state.value === "gone";
  }

  /** Whether the server has all changes that this browser has. */
  get isOnServer() {
    if (["saving", "conflict", "gone"].includes(this.state.value)) return false;
    return this._isLoaded ? !this._hasChanges : !this.file.hasDraft;
  }

  get _isLoaded() {
    return this._saved !== NOTHING;
  }

  /** Save all changes. @returns {Promise<boolean>} whether the server has all of them */
  async save() {
    do {
      await this._saveOnce();
    } while (this.state.value === "unsaved" || this.state.value === "saving");
    return this.isOnServer;
  }

  /** Save what has changed until now, or wait for the save in progress. */
  _saveOnce() {
    clearTimeout(this._timer);
    this._saving ??= this._write().finally(() => {
      this._saving = null;
    });
    return this._saving;
  }

  async _write() {
    if (this._isHalted) return;
    if (!this._hasChanges) {
      if (this.state.value === "failed") this._settle(this._saved);
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

  _changed() {
    if (this._isHalted) return;
    const state = this.state.value;
    // The draft of what is undone would come back with the next load.
    if (state === "failed" && !this._hasChanges) this._settle(this._saved);
    else if (state !== "saving") this.state.value = this._hasChanges ? "unsaved" : "saved";
    this.wasUpdated.value = false;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this._saveOnce(), SAVE_AFTER_MS);
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
    this.error.value = "";
    this.state.value = "conflict";
    this.keepDraft();
  }

  /** @param {unknown} error */
  _fail(error) {
    if (!(error instanceof ApiError)) throw error;
    const state = this._isLoaded ? "failed" : "unloaded";
    this.state.value = error.code === "unknown_file" ? "gone" : state;
    this.error.value = error.message;
    this.keepDraft();
  }

  /** Store the changes in this browser; whether none can be lost. */
  keepDraft() {
    const draft = { lines: this.lines, etag: this._saved.etag };
    this.isDraftKept.value = !this._hasChanges || this.file.keepDraft(draft);
    return this.isDraftKept.value;
  }
}
