/** Deleting songs, which can be undone for some seconds. */
import { t } from "../words.js";
import { ApiError, request } from "./api.js";
import { changeSongs } from "./songs.js";
import { draftKey, lyricsKey, offsetKey, store, stored } from "./stored.js";
import { UNDO_MS, offer } from "./undo.js";

const KEY = "studio.deleting";

/** @typedef {import("./songs.js").Song} Song */

/** Take a song off the list; it is deleted on the server unless that is undone in time. @param {Song} song */
export function remove(song) {
  changeSongs((list) => list.filter((one) => one.id !== song.id));
  if (song.isGone.value) {
    forget(song);
    return;
  }
  setUnfinished([...unfinished(), song.id]);
  offer({
    text: t("song.deleted", { name: song.name }),
    undo: () => bringBack(song),
    settle: () => finish(song),
    place: `[data-id="${song.id}"] h3 a`,
  });
}

/** @param {Song} song */
function bringBack(song) {
  setUnfinished(unfinished().filter((id) => id !== song.id));
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
  setUnfinished(unfinished().filter((one) => one !== id));
  store(draftKey(id), null);
  store(offsetKey(id), null);
  store(lyricsKey(id), null, "sessionStorage");
}

/** The IDs of files that are off the list and may still be on the server. @returns {string[]} */
function unfinished() {
  try {
    return JSON.parse(stored(KEY) ?? "[]");
  } catch {
    return [];
  }
}

/** @param {string[]} ids */
function setUnfinished(ids) {
  store(KEY, ids.length > 0 ? JSON.stringify(ids) : null);
}

/** Delete what an earlier page could not. @param {string} id */
async function finishEarlier(id) {
  try {
    await request(`/cleanup/${id}`, { method: "DELETE" });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // Some later page tries again.
    if (error.isPassing || error.status === 401) return;
  }
  changeSongs((list) => list.filter((song) => song.id !== id));
  forget({ id });
}

const earlier = unfinished();
// Another tab may still undo it.
if (earlier.length > 0) {
  setTimeout(() => earlier.filter((id) => unfinished().includes(id)).forEach(finishEarlier), UNDO_MS);
}
