/** Deleting songs, which can be undone for some seconds. */
import { signal } from "@preact/signals";
import { request } from "./api.js";
import { keep, songs } from "./songs.js";

/** @typedef {import("./songs.js").Song} Song */

const UNDO_MS = 6000;

/** @type {import("@preact/signals").Signal<Song | null>} just deleted, can be brought back */
export const deleted = signal(/** @type {Song | null} */ (null));

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
  if (song !== null) bringBack(song);
}

/** @param {Song} song */
function bringBack(song) {
  songs.value = [...songs.value, song].sort((a, b) => b.addedMs - a.addedMs);
  keep();
}

/** Delete on the server what can no longer be undone. */
function finish() {
  clearTimeout(pending);
  const song = deleted.value;
  deleted.value = null;
  if (song === null) return;
  const init = { method: "DELETE", keepalive: true };
  void request(`/cleanup/${song.id}`, init).catch((error) => {
    if (error.status !== 404) bringBack(song);
  });
}

addEventListener("pagehide", finish);
