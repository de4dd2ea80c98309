/** Deleting songs, which can be undone for some seconds. */
import { t } from "../words.js";
import { request } from "./api.js";
import { keep, songs } from "./songs.js";
import { draftKey, lyricsKey, offsetKey, store } from "./stored.js";
import { offer } from "./undo.js";

/** @typedef {import("./songs.js").Song} Song */

/** Take a song off the list; it is deleted on the server unless that is undone in time. @param {Song} song */
export function remove(song) {
  songs.value = songs.value.filter((one) => one !== song);
  keep();
  if (song.isGone.value) {
    forget(song);
    return;
  }
  offer({
    text: t("song.deleted", { name: song.name }),
    undo: () => bringBack(song),
    settle: () => finish(song),
    place: `[data-id="${song.id}"] h3 a`,
  });
}

/** @param {Song} song */
function bringBack(song) {
  songs.value = [...songs.value, song].sort((a, b) => b.addedMs - a.addedMs);
  keep();
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

/** Remove what this browser keeps of a song. @param {Song} song */
function forget({ id }) {
  store(draftKey(id), null);
  store(offsetKey(id), null);
  store(lyricsKey(id), null, "sessionStorage");
}
