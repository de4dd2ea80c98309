/** What the browser keeps between visits. It may refuse to, or have no room; then pages do without. */

/** @typedef {"localStorage" | "sessionStorage"} Place for all tabs, or for this one */

/** The value of a key, or null. @param {string} key @param {Place} [place] */
export function stored(key, place = "localStorage") {
  try {
    return window[place].getItem(key);
  } catch {
    return null;
  }
}

/**
 * Whether the browser did it.
 * @param {string} key
 * @param {string | null} value null removes it
 * @param {Place} [place]
 */
export function store(key, value, place = "localStorage") {
  try {
    if (value === null) window[place].removeItem(key);
    else window[place].setItem(key, value);
    return true;
  } catch {
    // The page still has the value.
    return false;
  }
}

/** The key of the edits of a transcript that are not saved. @param {string} id of the file */
export const draftKey = (id) => `studio.draft.${id}`;

/** The key of lyrics that somebody is pasting, in the tab. @param {string} id of the file */
export const lyricsKey = (id) => `studio.lyrics.${id}`;

/** The key of how much later a song's words are shown. @param {string} id of the file */
export const offsetKey = (id) => `studio.offset.${id}`;
