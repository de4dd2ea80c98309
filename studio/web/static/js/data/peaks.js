/** Waveforms of tracks, as the server wrote them: the lowest and the highest sample of each pixel. */
import { jsonWhenFree } from "./api.js";

/** Samples per pixel that the server has. */
const FINE = 512;
const COARSE = 8192;
/** Requests at the same time. A proxy allows an address only some downloads at once. */
const AT_ONCE = 4;

let busy = 0;
/** @type {((value?: unknown) => void)[]} */
const waiting = [];

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
 * @returns {Promise<Peaks>}
 */
export async function peaksOf(id, track, durationS, width) {
  const isLong = (durationS * 44100) / COARSE >= width;
  let answer = await read(id, track, isLong ? COARSE : FINE);
  // A lower sample rate has fewer pixels.
  if (isLong && answer.length < width) answer = await read(id, track, FINE);
  const values = Int8Array.from(answer.data);
  return {
    secondsPerPixel: answer.samples_per_pixel / answer.sample_rate,
    values,
    top: values.reduce((most, value) => Math.max(most, Math.abs(value)), 1),
  };
}

/** @param {string} id @param {string} track @param {number} zoom */
async function read(id, track, zoom) {
  const query = new URLSearchParams({ format: "peaks", samples_per_pixel: String(zoom) });
  if (busy < AT_ONCE) busy += 1;
  else await new Promise((resolve) => waiting.push(resolve));
  try {
    return await jsonWhenFree(`/download/${id}/${track}?${query}`);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else busy -= 1;
  }
}

/** @type {Promise<unknown>} */
let lastOfUpload = Promise.resolve();

/**
 * The waveform of an upload. The server decodes the file when it is first asked for, so a list of songs
 * asks for one after the other.
 * @param {string} id
 * @param {number} durationS
 * @param {number} width in pixels of the screen
 */
export function peaksOfUpload(id, durationS, width) {
  const peaks = lastOfUpload.then(() => peaksOf(id, "original", durationS, width));
  lastOfUpload = peaks.catch(() => {});
  return peaks;
}
