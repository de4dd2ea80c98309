/** The songs that are off the list and may still be on the server, as all tabs know them. */
import { store, stored } from "./stored.js";

const KEY = "studio.deleting";

/** When each may be deleted, in milliseconds of `Date.now()`, by ID. @returns {Record<string, number>} */
export function deletions() {
  try {
    return JSON.parse(stored(KEY) ?? "{}");
  } catch {
    return {};
  }
}

/** Leave a song to be deleted in a while; whether this browser stores that. @param {string} id @param {number} ms */
export function deleteIn(id, ms) {
  return write({ ...deletions(), [id]: Date.now() + ms });
}

/** A song is not to be deleted, or is deleted already. @param {string} id */
export function keep(id) {
  const left = deletions();
  if (!(id in left)) return;
  delete left[id];
  write(left);
}

/** @param {Record<string, number>} left */
function write(left) {
  return store(KEY, Object.keys(left).length > 0 ? JSON.stringify(left) : null);
}
