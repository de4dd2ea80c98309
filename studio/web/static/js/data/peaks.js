/** Waveforms of tracks, as the server wrote them: the lowest and the highest sample of each pixel. */
import { jsonWhenFree } from "./api.js";

/** Samples per pixel that the server has. */
const FINE = 512;
const COARSE = 8192;

/** Work of which only so much is done at once. Of what waits, the newest comes first: it is what is seen now. */
class Turns {
  /** @param {number} atOnce */
  constructor(atOnce) {
    this._free = atOnce;
    /** @type {((value?: unknown) => void)[]} */
    this._waiting = [];
  }

  /**
   * Throws an AbortError if the work was aborted before its turn.
   * @template T
   * @param {() => Promise<T>} work
   * @param {AbortSignal} [signal]
   */
  async take(work, signal) {
    if (this._free > 0) this._free -= 1;
    else await new Promise((resolve) => this._waiting.push(resolve));
    try {
      signal?.throwIfAborted();
      return await work();
    } finally {
      const next = this._waiting.pop();
      if (next) next();
      else this._free += 1;
    }
  }
}

/** A proxy allows an address only some downloads at once. */
const requests = new Turns(4);
/** The server decodes an upload when its waveform is first asked for. */
const uploads = new Turns(1);

/**
 * @typedef {object} Peaks
 * @property {number} secondsPerPixel
 * @property {Int8Array} values lowest and highest in turn, -128 to 127
 * @property {number} top the largest value without its sign, at least 1
 */

/**
 * @param {string} id
 * @param {string} track
 * @param {number} durationS
 * @param {number} width in pixels of the screen
 * @param {AbortSignal} [signal]
 * @returns {Promise<Peaks>}
 */
export async function peaksOf(id, track, durationS, width, signal) {
  const isLong = (durationS * 44100) / COARSE >= width;
  let answer = await read(id, track, isLong ? COARSE : FINE, signal);
  // A lower sample rate has fewer pixels.
  if (isLong && answer.length < width) answer = await read(id, track, FINE, signal);
  const values = Int8Array.from(answer.data);
  return {
    secondsPerPixel: answer.samples_per_pixel / answer.sample_rate,
    values,
    top: values.reduce((most, value) => Math.max(most, Math.abs(value)), 1),
  };
}

/** @param {string} id @param {string} track @param {number} zoom @param {AbortSignal} [signal] */
function read(id, track, zoom, signal) {
  const query = new URLSearchParams({ format: "peaks", samples_per_pixel: String(zoom) });
  return requests.take(() => jsonWhenFree(`/download/${id}/${track}?${query}`, { signal }), signal);
}

/**
 * The waveform of an upload; a list of songs asks for one after the other.
 * @param {string} id
 * @param {number} durationS
 * @param {number} width in pixels of the screen
 * @param {AbortSignal} signal
 */
export function peaksOfUpload(id, durationS, width, signal) {
  return uploads.take(() => peaksOf(id, "original", durationS, width, signal), signal);
}
