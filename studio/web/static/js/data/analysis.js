/** Beats and chords of a song. */
import { ApiError, jsonWhenFree } from "./api.js";

/**
 * @typedef {object} Analysis
 * @property {number | null} tempo_bpm
 * @property {string | null} key
 * @property {{ time_s: number, beat: number }[]} beats
 * @property {{ start_s: number, end_s: number, name: string }[]} chords
 */

/**
 * The latest analysis of a song, or null without one; throws ApiError.
 * @param {any} files the answer of /files/<id>
 * @returns {Promise<Analysis | null>}
 */
export async function analysisOf(files) {
  if (!files.tracks.some((/** @type {any} */ one) => one.track === "analysis")) return null;
  try {
    return await jsonWhenFree(`/download/${files.file_id}/analysis`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** The chord at a time; empty without one. @param {Analysis} analysis @param {number} positionS */
export function chordAt({ chords }, positionS) {
  return chords.find((one) => positionS >= one.start_s && positionS < one.end_s)?.name ?? "";
}
