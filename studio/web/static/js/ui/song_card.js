/** A song of the list: what was made of it, what is being made, and what can be done. */
import { useEffect, useRef } from "preact/hooks";
import { cancel, isActive, refresh, remove, start } from "../data/songs.js";
import { t } from "../words.js";
import { clock } from "./format.js";
import { html } from "./html.js";
import { SongState, readyTracks } from "./song_state.js";

/** @typedef {import("../data/songs.js").Song} Song */

/** @param {{ song: Song }} properties */
export function SongCard({ song }) {
  const card = useRef(/** @type {HTMLElement | null} */ (null));
  // A long list asks only for the songs that are seen.
  useEffect(() => {
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      void refresh(song);
    });
    if (card.current) seen.observe(card.current);
    return () => seen.disconnect();
  }, [song]);

  return html`<article class="card song" ref=${card} data-id=${song.id}>
    <header>
      <h3>
        <a href=${`/studio/${song.id}`} class="ellipsis" dir="auto">${song.name}</a>
      </h3>
      ${song.durationS !== null && html`<span class="muted">${clock(song.durationS)}</span>`}
    </header>
    <${SongState} song=${song} />
    <${Actions} song=${song} />
  </article>`;
}

/** @param {{ song: Song }} properties */
function Actions({ song }) {
  const status = song.status.value;
  if (song.isGone.value) return html`<div class="row"><${Delete} song=${song} /></div>`;
  const tracks = readyTracks(status);
  const isBusy = isActive(status);
  return html`<div class="row">
    ${hasStems(status)
      ? html`<a class="button primary" href=${`/studio/${song.id}`}>${t("song.open")}</a>`
      : html`<button class="primary" disabled=${isBusy} onClick=${() => start(song, "demucs")}>
          ${t("song.separate")}
        </button>`}
    ${!tracks.includes("transcription") &&
    html`<button disabled=${isBusy} onClick=${() => start(song, "whisper", { source: "vocals" })}>
        ${t("song.lyrics")}
      </button>
      <button disabled=${isBusy} onClick=${() => start(song, "whisper")}>${t("song.transcribe")}</button>`}
    ${tracks.includes("transcription") &&
    html`<a class="button" href=${`/download/${song.id}/transcription`} download>${t("song.transcript")}</a>`}
    ${isBusy && html`<button onClick=${() => cancel(song)}>${t("song.cancel")}</button>`}
    <${Delete} song=${song} />
  </div>`;
}

/** @param {{ song: Song }} properties */
function Delete({ song }) {
  return html`<button class="quiet" onClick=${() => remove(song)}>${t("song.delete")}</button>`;
}

/** @param {any} status */
function hasStems(status) {
  return readyTracks(status).includes("vocals");
}
