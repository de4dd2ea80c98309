/** Plays a file through one media element. */
import { signal } from "@preact/signals";

const JUMP_S = 5;

export class MediaPlayer {
  /**
   * @param {string} url
   * @param {number} durationS as the server measured it, so that seeking works before the file is loaded
   */
  constructor(url, durationS) {
    this.isPlaying = signal(false);
    this.hasFailed = signal(false);
    /** Whether the browser wants another press of the button. */
    this.isBlocked = signal(false);
    this.durationS = signal(durationS);
    this.media = new Audio(url);
    this.media.preload = "auto";
    /** @type {number | null} where to seek after the seek in progress */
    this._nextS = null;
    this._listen();
  }

  _listen() {
    const { media } = this;
    media.addEventListener("loadedmetadata", () => {
      // The length of a recording of a browser may be missing in its file.
      if (Number.isFinite(media.duration)) this.durationS.value = media.duration;
      this.hasFailed.value = false;
    });
    media.addEventListener("play", () => {
      this.isPlaying.value = true;
      this.isBlocked.value = false;
    });
    media.addEventListener("pause", () => {
      this.isPlaying.value = false;
    });
    // What is loaded again is paused without an event of its own.
    media.addEventListener("emptied", () => {
      this.isPlaying.value = false;
    });
    media.addEventListener("error", () => {
      this.hasFailed.value = true;
    });
    media.addEventListener("seeked", () => {
      if (this._nextS !== null) this.seek(this._nextS);
    });
  }

  /** Where the file is, or where it seeks, in seconds. */
  get timeS() {
    return this._nextS ?? this.media.currentTime;
  }

  /** Seconds of the song that are heard now. */
  get positionS() {
    return this.timeS;
  }

  /** @param {number} [fromS] */
  async play(fromS) {
    if (fromS !== undefined) this.seek(fromS);
    try {
      await this.media.play();
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      // A pause before the first sound is no failure, and an event reports a file that cannot be played.
      if (error.name !== "NotAllowedError") return;
      this.isPlaying.value = !this.media.paused;
      this.isBlocked.value = true;
    }
  }

  pause() {
    this.media.pause();
  }

  toggle() {
    if (this.media.paused) void this.play();
    else this.pause();
  }

  /**
   * One seek at a time: Chromium can stop for good if several are in progress.
   * @param {number} positionS
   */
  seek(positionS) {
    const atS = Math.min(Math.max(0, positionS), this.durationS.value);
    this._nextS = this.media.seeking ? atS : null;
    if (this._nextS === null) this.media.currentTime = atS;
  }

  /** Jump ahead, or with -1 back. @param {1 | -1} steps */
  jump(steps) {
    this.seek(this.timeS + steps * JUMP_S);
  }

  /** Load again what could not be loaded, and go on at the same place. */
  retry() {
    const atS = this.timeS;
    const wasPlaying = this.isPlaying.value;
    this.media.load();
    this.seek(atS);
    if (wasPlaying) void this.play();
  }

  close() {
    this.media.pause();
    this.media.removeAttribute("src");
    this.media.load();
  }
}
