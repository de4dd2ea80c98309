/** Waveforms of tracks, as the server wrote them: the lowest and the highest sample of each pixel. */
import { json } from "./api.js";

/** Samples per pixel that the server has. */
const FINE = 512;
const COARSE = 8192;

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
  const isFine = (durationS * 44100) / COARSE < width;
  const zoom = isFine ? FINE : COARSE;
  const query = new URLSearchParams({ format: "peaks", samples_per_pixel: String(zoom) });
  const answer = await json(`/download/${id}/${track}?${query}`);
  const values = Int8Array.from(answer.data);
  return {
    secondsPerPixel: answer.samples_per_pixel / answer.sample_rate,
    values,
    top: values.reduce((most, value) => Math.max(most, Math.abs(value)), 1),
  };
}
