/** Starts what a page of words needs. */
import { cancel, isActive, start, startLyrics } from "../data/jobs.js";
import { t } from "../words.js";
import { html } from "./html.js";
import { SongState } from "./song_state.js";
import { transcriptOf } from "./use_song.js";

/** @typedef {import("../data/songs.js").Song} Song */

/** For a file without a transcript. @param {{ song: Song }} properties */
export function MakeText({ song }) {
  const isBusy = isActive(song.status.value);
  return html`<section class="card list">
    <h2>${t("text.none")}</h2>
    <p class="muted">${t("text.none.hint")}</p>
    <${SongState} song=${song} />
    <div class="row">
      <button class="primary" disabled=${isBusy} onClick=${() => start(song, "whisper")}>${t("text.whole")}</button>
      <button disabled=${isBusy} onClick=${() => start(song, "whisper", { source: "vocals" })}>
        ${t("text.vocals")}
      </button>
      ${isBusy && html`<button onClick=${() => cancel(song)}>${t("song.cancel")}</button>`}
    </div>
  </section>`;
}

/** Whether a song has several stems; a transcript of its vocals leaves only them. @param {any} files */
export function hasStems(files) {
  return new Set(files.stems?.channels).size > 1;
}

/** Whether the voice of a song and its music can be played together. @param {any} files */
export function hasVocals(files) {
  return hasStems(files) && files.stems.channels.includes("vocals");
}

/**
 * For a song that lacks its stems or its words: one button makes both.
 * @param {{ song: Song, files: any }} properties
 */
export function MakeKaraoke({ song, files }) {
  const isBusy = isActive(song.status.value);
  const make = () => (transcriptOf(files) ? start(song, "demucs") : startLyrics(song, hasVocals(files)));
  return html`<section class="card list">
    <h2>${t("karaoke.none")}</h2>
    <p class="muted">${t("karaoke.none.hint")}</p>
    <${SongState} song=${song} />
    <div class="row">
      <button class="primary" disabled=${isBusy} onClick=${make}>${t("karaoke.make")}</button>
      ${isBusy && html`<button onClick=${() => cancel(song)}>${t("song.cancel")}</button>`}
    </div>
  </section>`;
}
