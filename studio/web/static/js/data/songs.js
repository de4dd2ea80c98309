/** The list of songs: kept on a server that tells people apart by keys, else in this browser. */
import { signal } from "@preact/signals";
import { ApiError, json } from "./api.js";
import { deletions } from "./deletions.js";
import { KeptList } from "./kept_list.js";

/**
 * @typedef {object} Song
 * @property {string} id
 * @property {string} name
 * @property {number} addedMs
 * @property {number | null} durationS null for a text
 * @property {import("@preact/signals").Signal<any>} status the answer of /status, or null
 * @property {import("@preact/signals").Signal<string>} error why its state cannot be got
 * @property {import("@preact/signals").Signal<string>} refusal why the last thing that was asked of it failed
 * @property {import("@preact/signals").Signal<boolean>} isGone no longer on the server
 */

/** Whether the server lists the songs of a key. */
export const isListed = document.body.dataset.listsFiles === "true";

/** @type {KeptList<Song>} newest first, without a list of the server */
const kept = new KeptList("studio.songs", {
  idOf: (song) => song.id,
  made,
  recordOf: ({ id, name, addedMs, durationS }) => ({ id, name, addedMs, durationS }),
});
/** @type {import("@preact/signals").Signal<Song[]>} newest first */
export const songs = isListed ? signal([]) : kept.items;
export const { isStored } = kept;
/** The server's next page of the list, or null. */
export const nextPage = signal(/** @type {string | null} */ (isListed ? "/files" : null));
/** @type {import("@preact/signals").Signal<any>} what the key may use, or null */
export const quota = signal(null);
/** Why the list cannot be got. */
export const listError = signal("");

/** @param {any} record @returns {Song} */
function made({ id, name, addedMs, durationS }) {
  const [error, refusal] = [signal(""), signal("")];
  return { id, name, addedMs, durationS, status: signal(null), error, refusal, isGone: signal(false) };
}

/** Change the list, also the one that this browser stores. @param {(list: Song[]) => Song[]} change */
export function changeSongs(change) {
  if (isListed) songs.value = change(songs.value);
  else kept.change(change);
}

/** @param {any} upload the answer of /upload */
export function add(upload) {
  const song = songFrom(upload, Date.now());
  changeSongs((list) => [song, ...list.filter((one) => one.id !== song.id)]);
  return song;
}

/** @param {any} upload @param {number} addedMs */
function songFrom({ file_id: id, filename: name, duration_s: durationS = null }, addedMs) {
  return made({ id, name, durationS, addedMs });
}

/** A song of the list, or one that somebody sent the address of. @param {string} id */
export function songOf(id) {
  return songs.value.find((song) => song.id === id) ?? made({ id, name: "", addedMs: 0, durationS: null });
}

let isLoading = false;

/** Get the next page of the server's list that has songs. */
export async function loadMore() {
  if (isLoading) return;
  isLoading = true;
  try {
    let added = 0;
    while (nextPage.value !== null && added === 0) added = await loadPage(nextPage.value);
    listError.value = "";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    listError.value = error.code === "offline" ? "" : error.message;
  } finally {
    isLoading = false;
  }
}

/** Get a page; the number of its songs. @param {string} address */
async function loadPage(address) {
  const page = await json(address);
  const known = new Set([...songs.value.map((song) => song.id), ...Object.keys(deletions())]);
  // Texts are prompts of the page for music.
  const isNew = (/** @type {any} */ file) => file.duration_s !== null && !known.has(file.file_id);
  const loaded = page.files.filter(isNew).map((/** @type {any} */ file) => songFrom(file, Date.parse(file.created_at)));
  songs.value = [...songs.value, ...loaded];
  nextPage.value = page.next;
  quota.value = page.quota;
  return loaded.length;
}

/** Get all pages, as a search needs them. */
export async function loadAll() {
  while (nextPage.value !== null && listError.value === "") {
    const before = nextPage.value;
    await loadMore();
    if (nextPage.value === before) return;
  }
}
