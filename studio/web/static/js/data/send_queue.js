/** Audio on its way to the server: what was not accepted yet, and what may have to be sent again. */

/** Chunks of one message. */
const MAX_CHUNKS = 8;
/** Decoded audio that is kept in case the connection drops; an utterance is shorter. */
const KEPT_S = 30;

/** @typedef {{ pcm: Int16Array, rateHz: number, startS: number }} Chunk */

/** @param {Chunk[]} chunks */
const secondsOf = (chunks) => chunks.reduce((sum, { pcm, rateHz }) => sum + pcm.length / rateHz, 0);

export class SendQueue {
  constructor() {
    /** @type {Chunk[]} not yet accepted */
    this._waiting = [];
    /** @type {Chunk[]} accepted, and without a final text */
    this._kept = [];
  }

  get seconds() {
    return secondsOf(this._waiting);
  }

  get isEmpty() {
    return this._waiting.length === 0;
  }

  /** @param {Chunk} chunk */
  add(chunk) {
    this._waiting.push(chunk);
  }

  /** The chunks of the next message. @param {number} limitBytes */
  next(limitBytes) {
    /** @type {Chunk[]} */
    const chunks = [];
    let bytes = 0;
    for (const chunk of this._waiting.slice(0, MAX_CHUNKS)) {
      bytes += chunk.pcm.byteLength;
      if (chunk.rateHz !== this._waiting[0]?.rateHz || (chunks.length > 0 && bytes > limitBytes)) break;
      chunks.push(chunk);
    }
    return chunks;
  }

  /**
   * The first chunks need not be sent again, unless the connection drops.
   * @param {number} count
   * @param {number} decodedS up to where the server has decoded
   */
  accept(count, decodedS) {
    const accepted = this._waiting.splice(0, count);
    this._kept.push(...accepted);
    this.forget(decodedS - KEPT_S);
    return secondsOf(accepted);
  }

  /** The first chunks cannot be used. @param {number} count */
  drop(count) {
    this._waiting.splice(0, count);
  }

  /** What ends before this time has its final text. @param {number} untilS */
  forget(untilS) {
    this._kept = this._kept.filter((chunk) => chunk.startS + secondsOf([chunk]) > untilS);
  }

  /** Put back what has no final text. */
  restore() {
    this._waiting = [...this._kept, ...this._waiting];
    this._kept = [];
  }
}

/** The samples of a message. @param {Chunk[]} chunks */
export function joined(chunks) {
  const whole = new Int16Array(chunks.reduce((sum, { pcm }) => sum + pcm.length, 0));
  let at = 0;
  for (const { pcm } of chunks) {
    whole.set(pcm, at);
    at += pcm.length;
  }
  return whole;
}

/** Samples as 16 bits, and their peak. @param {Float32Array} samples */
export function quantized(samples) {
  const pcm = new Int16Array(samples.length);
  let peak = 0;
  samples.forEach((sample, n) => {
    const value = Math.max(-1, Math.min(1, sample));
    peak = Math.max(peak, Math.abs(value));
    pcm[n] = value * 32767;
  });
  return { pcm, peak };
}
