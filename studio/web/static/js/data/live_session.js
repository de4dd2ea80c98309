/**
 * A live session: audio goes to the server in order, one message at a time, and what the server
 * could not take is sent again. So is everything since the last final text if the connection drops.
 */
import { signal } from "@preact/signals";
import { io } from "socket.io-client";
import { needsKey } from "./api.js";
import { LiveReconnection, STOPPING } from "./live_reconnection.js";
import { SendQueue, joined, quantized } from "./send_queue.js";

const RETRY_MS = 500;
const ATTEMPTS = 20;
/** More audio than this may not wait for the server. */
const MAX_HELD_S = 300;
/** Errors after which the same audio may be sent later. */
const FOR_NOW = ["too_far_behind", "finishing"];
/** Errors that are not shown, because the session goes on. */
const UNSEEN = [...FOR_NOW, "session_too_long", STOPPING];

/** @typedef {"connecting" | "listening" | "reconnecting" | "finishing" | "ended"} State */

export class LiveSession {
  /**
   * @param {{ variant: string, language: string | null }} settings
   * @param {import("./live_text.js").LiveText} text
   * @param {number} beginS seconds of earlier recordings
   */
  constructor(settings, text, beginS) {
    this._settings = settings;
    this._text = text;
    this.state = signal(/** @type {State} */ ("connecting"));
    this.error = signal("");
    this.level = signal(0);
    this.endS = signal(beginS);
    this.sentS = signal(0);
    this.pendingS = signal(0);
    this.lagS = signal(0);
    this.latencyS = signal(/** @type {number | null} */ (null));
    this.isFull = signal(false);
    this.lostS = signal(0);
    this._queue = new SendQueue();
    this._isClosing = false;
    this._isReady = false;
    this._isUnderway = false;
    this._limitBytes = Infinity;
    /** Where the server's times begin, in seconds of all recordings. */
    this._baseS = NaN;
    /** When second 0 of all recordings was spoken. */
    this._originMs = NaN;
    this._socket = io("/transcribe", {
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionAttempts: ATTEMPTS,
      forceNew: true,
    });
    this._reconnection = new LiveReconnection(this._socket);
    this._listen();
  }

  _listen() {
    const socket = this._socket;
    socket.on("connected", (data) => void this._configure(data.limits.chunk_bytes));
    socket.on("connect_error", (/** @type {any} */ error) => this._refused(error));
    socket.io.on("reconnect_failed", () => this._end());
    socket.on("disconnect", () => this._dropped());
    socket.on("transcription", (data) => this._heard(data));
    socket.on("lagging", (data) => (this.lagS.value = data.seconds));
    socket.on("finished", () => this._finished());
    socket.on("error", (data) => {
      if (!UNSEEN.includes(data.code)) this.error.value = data.message;
    });
  }

  /** Queue samples for sending. @param {Float32Array} samples @param {number} rateHz */
  send(samples, rateHz) {
    if (samples.length === 0 || this._isClosing || this.state.value === "ended") return;
    const { pcm, peak } = quantized(samples);
    this.level.value = peak;
    this._queue.add({ pcm, rateHz, startS: this.endS.value });
    this.endS.value += samples.length / rateHz;
    // Anew each time: nothing is heard during an interruption.
    this._originMs = performance.now() - 1000 * this.endS.value;
    this.pendingS.value = this._queue.seconds;
    if (this._queue.seconds > MAX_HELD_S) this.isFull.value = true;
    this._pump();
  }

  /** Ask for the last words; the session ends when they have come. */
  finish() {
    this._isClosing = true;
    this.level.value = 0;
    if (this.state.value === "listening") this.state.value = "finishing";
    this._pump();
  }

  /** @param {number} limitBytes */
  async _configure(limitBytes) {
    this._limitBytes = limitBytes;
    const answer = await this._socket.emitWithAck("configure", this._settings);
    if (answer?.error) {
      this._end();
      return;
    }
    this._isReady = true;
    this.state.value = this._isClosing ? "finishing" : "listening";
    this._pump();
  }

  /** @param {any} error */
  _refused(error) {
    const code = error.data?.code;
    if (code === "unauthorized") needsKey.value = true;
    if (this._reconnection.comesAfterRefusal(code)) {
      this.state.value = "reconnecting";
      return;
    }
    if (code) this.error.value = error.message;
    this._end();
  }

  _dropped() {
    if (this.state.value === "ended") return;
    this._isReady = false;
    this._isUnderway = false;
    this._text.interim.value = null;
    this._queue.restore();
    this._baseS = NaN;
    this.state.value = "reconnecting";
    if (!this._reconnection.comesAfterDrop()) this._end();
  }

  _end() {
    if (this.state.value === "ended") return;
    this._isReady = false;
    this._text.interim.value = null;
    this.lostS.value = this._queue.seconds;
    this.pendingS.value = 0;
    this.level.value = 0;
    this.state.value = "ended";
    this._reconnection.stop();
  }

  _pump() {
    if (this._isUnderway || !this._isReady) return;
    const chunks = this._queue.next(this._limitBytes);
    const [first] = chunks;
    if (!first) {
      if (this._isClosing) this._askForTheRest();
      return;
    }
    this._isUnderway = true;
    if (Number.isNaN(this._baseS)) this._baseS = first.startS;
    const payload = { data: joined(chunks).buffer, mimeType: `audio/pcm;rate=${first.rateHz}` };
    this._socket.emit("audio", { payload }, (/** @type {any} */ answer) => {
      // Without an answer, the server no longer knows this connection, and it will be closed.
      if (answer && this._isReady) this._answered(chunks.length, answer);
    });
  }

  /** @param {number} count of chunks @param {any} answer */
  _answered(count, answer) {
    const code = answer.error?.code;
    if (code === "session_too_long") {
      this._askForTheRest();
    } else if (FOR_NOW.includes(code)) {
      setTimeout(() => this._again(), RETRY_MS);
    } else {
      if (code) this._queue.drop(count);
      else this.sentS.value += this._queue.accept(count, this._baseS + answer.decoded_s);
      this._again();
    }
    this.pendingS.value = answer.waiting_s + this._queue.seconds;
  }

  _again() {
    this._isUnderway = false;
    this._pump();
  }

  _askForTheRest() {
    this._isUnderway = true;
    this._socket.emit("finish");
  }

  /** @param {any} data */
  _heard(data) {
    this._text.take(data, this._baseS);
    const endS = this._baseS + data.end;
    this.latencyS.value = Math.max(0, (performance.now() - this._originMs) / 1000 - endS);
    if (data.is_final) this._queue.forget(endS);
  }

  _finished() {
    this._queue.forget(Infinity);
    this._baseS = NaN;
    this._text.interim.value = null;
    if (this._isClosing && this._queue.isEmpty) this._end();
    else this._again();
  }
}
