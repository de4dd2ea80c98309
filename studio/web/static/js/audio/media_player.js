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
    this.durationS = signal(durationS);
    this.media = new Audio(url);
    this.media.preload = "auto";
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
  }

  /** Seconds of the song that are heard now. */
  get positionS() {
    return this.media.currentTime;
  }

  /** @param {number} [fromS] */
  async play(fromS) {
    if (fromS !== undefined) this.seek(fromS);
    try {
      await this.media.play();
    } catch (error) {
      // A pause before the first sound is no failure; the event reports others.
      if (!(error instanceof DOMException)) throw error;
    }
  }

  pause() {
    this.media.pause();
  }

  toggle() {
    if (this.media.paused) void this.play();
    else this.pause();
  }

  /** @param {number} positionS */
  seek(positionS) {
    this.media.currentTime = Math.min(Math.max(0, positionS), this.durationS.value);
  }

  /** Jump ahead, or with -1 back. @param {1 | -1} steps */
  jump(steps) {
    this.seek(this.media.currentTime + steps * JUMP_S);
  }

  /** Load again what could not be loaded, and go on at the same place. */
  retry() {
    const at = this.media.currentTime;
    const wasPlaying = this.isPlaying.value;
    this.media.load();
    this.media.currentTime = at;
    if (wasPlaying) void this.play();
  }

  close() {
    this.media.pause();
    this.media.removeAttribute("src");
    this.media.load();
  }
}
