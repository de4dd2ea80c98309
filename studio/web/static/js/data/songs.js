/** The songs of this browser: their list, their jobs, and how they are deleted. */
import { signal } from "@preact/signals";
import { ApiError, json, request, send } from "./api.js";

const KEY = "studio.songs";
const POLL_MS = 1000;
/** Between attempts while the server cannot be reached. */
const RETRY_MS = 3000;
const UNDO_MS = 6000;

/**
 * @typedef {object} Song
 * @property {string} id
 * @property {string} name
 * @property {number} addedMs
 * @property {number | null} durationS
 * @property {import("@preact/signals").Signal<any>} status the answer of /status, or null
 * @property {import("@preact/signals").Signal<string>} error why the last request failed
 * @property {import("@preact/signals").Signal<boolean>} isGone no longer on the server
 */

/** @type {import("@preact/signals").Signal<Song[]>} newest first */
export const songs = signal(stored());
/** @type {import("@preact/signals").Signal<Song | null>} just deleted, can be brought back */
export const deleted = signal(/** @type {Song | null} */ (null));

/** @type {Set<Song>} */
const followed = new Set();
let isPolling = false;

/** @returns {Song[]} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "[]").map(made);
  } catch {
    return [];
  }
}

/** @param {any} record @returns {Song} */
function made({ id, name, addedMs, durationS }) {
  return { id, name, addedMs, durationS, status: signal(null), error: signal(""), isGone: signal(false) };
}

function keep() {
  const records = songs.value.map(({ id, name, addedMs, durationS }) => ({ id, name, addedMs, durationS }));
  localStorage.setItem(KEY, JSON.stringify(records));
}

// Another tab changed the list.
addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  const known = new Map(songs.value.map((song) => [song.id, song]));
  songs.value = stored().map((song) => known.get(song.id) ?? song);
});

/** @param {any} upload the answer of /upload */
export function add(upload) {
  const { file_id: id, filename: name, duration_s: durationS = null } = upload;
  const song = made({ id, name, durationS, addedMs: Date.now() });
  songs.value = [song, ...songs.value.filter((one) => one.id !== id)];
  keep();
  return song;
}

/** A song of the list, or one that somebody sent the address of. @param {string} id */
export function songOf(id) {
  return songs.value.find((song) => song.id === id) ?? made({ id, name: "", addedMs: 0, durationS: null });
}

/** @param {any} status */
export function isActive(status) {
  return status?.status === "queued" || status?.status === "processing";
}

/** Get the state of a song, and follow its jobs until they end. @param {Song} song */
export async function refresh(song) {
  try {
    song.status.value = await json(`/status/${song.id}`);
    song.error.value = "";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 404) song.isGone.value = true;
    else if (error.code !== "offline") song.error.value = error.message;
    if (error.code !== "offline") {
      followed.delete(song);
      return;
    }
  }
  if (song.status.value === null || isActive(song.status.value)) follow(song);
  else followed.delete(song);
}

/** @param {Song} song */
function follow(song) {
  followed.add(song);
  if (isPolling) return;
  isPolling = true;
  setTimeout(poll, POLL_MS);
}

async function poll() {
  await Promise.all([...followed].map(refresh));
  isPolling = followed.size > 0;
  if (!isPolling) return;
  const isReached = [...followed].some((song) => song.status.value !== null);
  setTimeout(poll, isReached ? POLL_MS : RETRY_MS);
}

/**
 * @param {Song} song
 * @param {string} model
 * @param {object} [options]
 */
export async function start(song, model, options = {}) {
  await attempt(song, () => send(`/process/${model}/${song.id}`, options));
}

/** @param {Song} song */
export async function cancel(song) {
  await attempt(song, () => send(`/cancel/${song.id}`, {}));
}

/** @param {Song} song @param {() => Promise<unknown>} work */
async function attempt(song, work) {
  try {
    await work();
    await refresh(song);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    song.error.value = error.message;
  }
}

let pending = 0;

/** Take a song off the list; it is deleted on the server unless that is undone in time. @param {Song} song */
export function remove(song) {
  finish();
  songs.value = songs.value.filter((one) => one !== song);
  keep();
  if (song.isGone.value) return;
  deleted.value = song;
  pending = setTimeout(finish, UNDO_MS);
}

export function undo() {
  clearTimeout(pending);
  const song = deleted.value;
  deleted.value = null;
  if (song === null) return;
  songs.value = [...songs.value, song].sort((a, b) => b.addedMs - a.addedMs);
  keep();
}

/** Delete on the server what can no longer be undone. */
export function finish() {
  clearTimeout(pending);
  const song = deleted.value;
  deleted.value = null;
  if (song) void request(`/cleanup/${song.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

addEventListener("pagehide", finish);
