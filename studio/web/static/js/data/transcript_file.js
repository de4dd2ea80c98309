/** A transcript on the server, and what could not be saved there, in this browser. */
import { received, request } from "./api.js";
import { draftKey, store, stored } from "./stored.js";

/** @typedef {import("./transcript.js").Line} Line */
/** @typedef {{ lines: Line[], etag: string }} Version */

/** An ETag without the mark of proxies that compress some answers and not others. @param {string | null} etag */
const strong = (etag) => (etag ?? "").replace(/^W\//, "");

export class TranscriptFile {
  /** @param {string} id of the file */
  constructor(id) {
    /** That of the text, which may be a translation. */
    this.language = "";
    this._path = `/files/${id}/transcription`;
    this._download = `/download/${id}/transcription?format=json`;
    this._draft = draftKey(id);
    /** @type {string | null} the draft that this page stored or loaded; another tab may have stored its own */
    this._own = null;
    /** @type {any} what the server has beside the lines */
    this._rest = {};
  }

  /**
   * The lines, or null if they are those that are known.
   * @param {string} [known] an ETag
   * @returns {Promise<Version | null>}
   */
  async read(known) {
    /** @type {Record<string, string>} */
    const headers = known ? { "If-None-Match": known } : {};
    const answer = await request(this._download, { headers, cache: "no-store" });
    if (answer.status === 304) return null;
    const { segments, language, language_probability, translated_into } = await received(answer.json());
    this._rest = { language, language_probability };
    this.language = translated_into ?? language ?? "";
    return { lines: segments, etag: strong(answer.headers.get("ETag")) };
  }

  /** The ETag of the lines that were written in place of those of another ETag. @param {Version} version */
  async write({ lines, etag }) {
    const answer = await request(this._path, {
      method: "PUT",
      headers: { "Content-Type": "application/json", "If-Match": etag },
      body: JSON.stringify({ ...this._rest, segments: lines }),
    });
    return strong(answer.headers.get("ETag"));
  }

  /** Return to what the model wrote. @param {string} etag */
  async restore(etag) {
    await request(this._path, { method: "DELETE", headers: { "If-Match": etag } });
  }

  /**
   * Whether the browser now has a draft, which is not stored over that of another tab.
   * @param {Version} version lines, and the ETag of those that they were made from
   */
  keepDraft(version) {
    const draft = JSON.stringify(version);
    const known = stored(this._draft);
    if (known !== null && known !== this._own && known !== draft) return false;
    if (!store(this._draft, draft)) return false;
    this._own = draft;
    return true;
  }

  /** Remove the draft, but not that of another tab. */
  forgetDraft() {
    if (this._own !== null && stored(this._draft) === this._own) store(this._draft, null);
    this._own = null;
  }

  /** Whether this browser has changes that the server may not have. */
  get hasDraft() {
    return stored(this._draft) !== null;
  }

  /** @returns {Version | null} */
  draft() {
    this._own = stored(this._draft);
    return JSON.parse(this._own ?? "null");
  }
}
