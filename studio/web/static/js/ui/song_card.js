/** A song of the list: what was made of it, what is being made, and what can be done. */
import { remove } from "../data/deleting.js";
import { cancel, start, startLyrics, unfinished } from "../data/jobs.js";
import { t } from "../words.js";
import { clock } from "./format.js";
import { html } from "./html.js";
import { Made } from "./song_made.js";
import { SongPicture } from "./song_picture.js";
import { SongState, hasText, stemsOf } from "./song_state.js";
import { useWatchSeen } from "./watch_seen.js";

/** @typedef {import("../data/songs.js").Song} Song */

/** @param {{ song: Song }} properties */
export function SongCard({ song }) {
  const card = useWatchSeen(song);
  const status = song.status.value;
  const stems = status === null ? null : stemsOf(status);
  return html`<article class="card song" ref=${card} data-id=${song.id}>
    <header>
      <h3>
        <a href=${`/studio/${song.id}`} class="ellipsis" dir="auto">${song.name}</a>
      </h3>
      ${song.durationS !== null && html`<span class="muted">${clock(song.durationS)}</span>`}
    </header>
    ${!song.isGone.value &&
    song.durationS !== null &&
    html`<a href=${`/studio/${song.id}`} class="picture" tabindex="-1" aria-hidden="true">
      <${SongPicture} id=${song.id} stems=${stems} durationS=${song.durationS} />
    </a>`}
    <${SongState} song=${song} />
    ${!song.isGone.value && html`<${Made} song=${song} />`}
    <${Actions} song=${song} />
  </article>`;
}

/** @param {{ song: Song }} properties */
function Actions({ song }) {
  const status = song.status.value;
  if (song.isGone.value) return html`<div class="row"><${Delete} song=${song} /></div>`;
  const running = unfinished(status);
  const isMaking = (/** @type {string} */ model) => running.some((job) => job.model === model);
  const hasStems = stemsOf(status).length > 0;
  // Nothing is known before the first answer, and a text has no sound.
  const isOff = status === null || song.durationS === null;
  return html`<div class="row">
    ${hasStems
      ? html`<a class="button primary" href=${`/studio/${song.id}`}>${t("song.open")}</a>`
      : html`<button
          class="primary"
          disabled=${isOff || isMaking("demucs")}
          onClick=${() => start(song, "demucs")}
        >
          ${t("song.separate")}
        </button>`}
    ${hasStems && hasText(status) && html`<a class="button" href=${`/studio/${song.id}/karaoke`}>${t("mixer.karaoke")}</a>`}
    ${hasText(status) &&
    html`<a class="button" href=${`/studio/${song.id}/transcript`}>${t("song.transcript")}</a>`}
    ${!hasText(status) &&
    html`<button
        title=${t("song.lyrics.hint")}
        disabled=${isOff || isMaking("whisper")}
        onClick=${() => startLyrics(song, hasStems || isMaking("demucs"))}
      >
        ${t("song.lyrics")}
      </button>
      <button disabled=${isOff || isMaking("whisper")} onClick=${() => start(song, "whisper")}>
        ${t("song.transcribe")}
      </button>`}
    ${!status?.tracks.includes("analysis") &&
    html`<button
      title=${t("song.analyse.hint")}
      disabled=${isOff || isMaking("analysis")}
      onClick=${() => start(song, "analysis")}
    >
      ${t("song.analyse")}
    </button>`}
    ${running.length > 0 && html`<button onClick=${() => cancel(song)}>${t("song.cancel")}</button>`}
    <${Delete} song=${song} />
  </div>`;
}

/** @param {{ song: Song }} properties */
function Delete({ song }) {
  return html`<button
    class="quiet delete"
    aria-label=${t("song.delete.name", { name: song.name })}
    onClick=${() => remove(song)}
  >
    ${t("song.delete")}
  </button>`;
}
