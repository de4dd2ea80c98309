/** Deleting songs, which can be undone for some seconds. */
import { effect, untracked } from "@preact/signals";
import { t } from "../words.js";
import { ApiError, request } from "./api.js";
import { returns } from "./connection.js";
import { deleteIn, deletions, keep } from "./deletions.js";
import { changeSongs } from "./songs.js";
import { draftKey, lyricsKey, offsetKey, store } from "./stored.js";
import { UNDO_MS, offer } from "./undo.js";

/** Other tabs wait longer than the one in which a deletion can be undone. */
const OTHERS_WAIT_MS = UNDO_MS + 2000;
/** Between attempts to delete what a busy server has kept. */
const RETRY_MS = 60_000;

/** @typedef {import("./songs.js").Song} Song */

/** @type {Set<string>} the songs whose deletion can be undone in this tab, or is asked for by it */
const own = new Set();

/** Take a song off the list; it is deleted on the server unless that is undone in time. @param {Song} song */
export function remove(song) {
  changeSongs((list) => list.filter((one) => one.id !== song.id));
  if (song.isGone.value) {
    forget(song);
    return;
  }
  own.add(song.id);
  const isStored = deleteIn(song.id, OTHERS_WAIT_MS);
  // Another tab may have opened the song, and so kept it.
  const isKept = () => isStored && !(song.id in deletions());
  offer({
    text: t("song.deleted", { name: song.name }),
    undo: () => bringBack(song),
    prolong: () => {
      if (!isKept()) deleteIn(song.id, OTHERS_WAIT_MS);
    },
    settle: () => (isKept() ? bringBack(song) : finish(song)),
    place: `[data-id="${song.id}"] h3 a`,
  });
}

/** @param {Song} song */
function bringBack(song) {
  own.delete(song.id);
  keep(song.id);
  changeSongs((list) => {
    const others = list.filter((one) => one.id !== song.id);
    return [...others, song].sort((a, b) => b.addedMs - a.addedMs);
  });
}

/** Delete on the server what can no longer be undone. @param {Song} song */
function finish(song) {
  request(`/cleanup/${song.id}`, { method: "DELETE", keepalive: true }).then(
    () => forget(song),
    (error) => {
      if (error.status === 404) return forget(song);
      song.refusal.value = error.message;
      bringBack(song);
    },
  );
}

/** Remove what this browser keeps of a song. @param {{ id: string }} song */
function forget({ id }) {
  own.delete(id);
  keep(id);
  store(draftKey(id), null);
  store(offsetKey(id), null);
  store(lyricsKey(id), null, "sessionStorage");
}

let looking = 0;

/** Delete what earlier pages could not. */
function finishEarlier() {
  clearTimeout(looking);
  const nowMs = Date.now();
  let nextMs = Infinity;
  for (const [id, dueMs] of Object.entries(deletions())) {
    // A song that is opened is kept, as soon as its page is loaded.
    if (own.has(id) || location.pathname.includes(id)) continue;
    if (dueMs > nowMs) nextMs = Math.min(nextMs, dueMs);
    else void finishOne(id);
  }
  if (nextMs < Infinity) looking = setTimeout(finishEarlier, Math.min(nextMs - nowMs, RETRY_MS));
}

/** @param {string} id */
async function finishOne(id) {
  own.add(id);
  try {
    await request(`/cleanup/${id}`, { method: "DELETE" });
    drop(id);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 404) drop(id);
    // `returns` tells when a server is back that was lost.
    else if (error.isPassing && error.code !== "offline" && id in deletions()) {
      deleteIn(id, RETRY_MS);
      looking = setTimeout(finishEarlier, RETRY_MS);
    }
  } finally {
    own.delete(id);
  }
}

/** @param {string} id */
function drop(id) {
  changeSongs((list) => list.filter((song) => song.id !== id));
  forget({ id });
}

effect(() => {
  if (returns.value >= 0) untracked(finishEarlier);
});
