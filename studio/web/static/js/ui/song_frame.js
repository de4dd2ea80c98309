/** What the pages of one song share: its name, the way to the other pages, and what is wrong. */
import { t } from "../words.js";
import { html } from "./html.js";
import { useTitle } from "./title.js";

/** The pages of a song, by the end of their addresses. */
const PAGES = /** @type {const} */ ({ mixer: "", karaoke: "/karaoke", transcript: "/transcript" });
/** What these pages have in common in their addresses. */
const SHARED = ["key", "speed"];

/** @typedef {keyof typeof PAGES} SongPage */

/**
 * @param {{ id: string, page: SongPage, open: import("./use_song.js").OpenSong, children: any }} properties
 */
export function SongFrame({ id, page, open, children }) {
  const { song, files, error } = open;
  useTitle(...(files ? [files.filename, t(`tabs.${page}`)] : []));
  const problem = files === null && (error || song.error.value);
  if (song.isGone.value || problem) {
    return html`<div class="notice error" role="alert">
        ${song.isGone.value ? html`<h1>${t("song.gone")}</h1>` : html`<p>${problem}</p>`}
      </div>
      <p><a class="button" href="/studio">${t("missing.home")}</a></p>`;
  }
  if (files === null) return html`<p class="starting">…</p>`;
  return html`<header class="song-head">
      <h1 class="ellipsis" dir="auto">${files.filename}</h1>
      <${SongTabs} id=${id} page=${page} />
    </header>
    ${children}`;
}

/** @param {{ id: string, page: SongPage }} properties */
function SongTabs({ id, page }) {
  const keepShared = (/** @type {any} */ event) => {
    const here = new URLSearchParams(location.search);
    const link = new URL(event.currentTarget.href);
    for (const name of SHARED) if (here.has(name)) link.searchParams.set(name, here.get(name) ?? "");
    event.currentTarget.href = link.href;
  };
  return html`<nav class="tabs" aria-label=${t("tabs")}>
    ${Object.entries(PAGES).map(
      ([name, end]) => html`<a
        class="button quiet"
        href=${`/studio/${id}${end}`}
        aria-current=${name === page ? "page" : null}
        onClick=${keepShared}
        >${t(`tabs.${/** @type {SongPage} */ (name)}`)}</a
      >`,
    )}
  </nav>`;
}
