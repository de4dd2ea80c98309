/** The right words of a song, pasted by somebody who has them; the server finds their times. */
import { useState } from "preact/hooks";
import { isActive, start } from "../data/jobs.js";
import { lyricsKey, store } from "../data/stored.js";
import { t } from "../words.js";
import { html } from "./html.js";
import { SongState } from "./song_state.js";
import { useKept } from "./use_kept.js";

/** @param {{ song: import("../data/songs.js").Song }} properties */
export function KnownLyrics({ song }) {
  const lyrics = useKept(lyricsKey(song.id), "");
  const [wasKept] = useState(lyrics.value !== "");
  const isBusy = isActive(song.status.value);
  const send = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    await start(song, "whisper", { source: "vocals", lyrics: lyrics.value });
    // The server has them now; the form keeps them until they have their times.
    if (song.refusal.value === "") store(lyricsKey(song.id), null, "sessionStorage");
  };
  return html`<details class="card" open=${wasKept}>
    <summary>${t("karaoke.lyrics")}</summary>
    <form class="list" onSubmit=${send}>
      <p class="muted">${t("karaoke.lyrics.hint")}</p>
      <textarea
        required
        dir="auto"
        rows="8"
        aria-label=${t("karaoke.lyrics.label")}
        value=${lyrics.value}
        onInput=${(/** @type {any} */ event) => (lyrics.value = event.currentTarget.value)}
      ></textarea>
      <${SongState} song=${song} />
      <p><button class="primary" disabled=${isBusy}>${t("karaoke.lyrics.start")}</button></p>
    </form>
  </details>`;
}
