/** The right words of a song, pasted by somebody who has them; the server finds their times. */
import { useState } from "preact/hooks";
import { isActive, start } from "../data/jobs.js";
import { lyricsKey } from "../data/stored.js";
import { t } from "../words.js";
import { html } from "./html.js";
import { SongState } from "./song_state.js";
import { useKept } from "./use_kept.js";

/** `job` is the one that they were sent to. */
const NOTHING = { text: "", job: "" };

/** @param {{ song: import("../data/songs.js").Song, jobId: string }} properties the job of the transcript */
export function KnownLyrics({ song, jobId }) {
  const lyrics = useKept(lyricsKey(song.id), NOTHING);
  const [wasKept] = useState(() => {
    // What has its times is no longer needed here; if that job has failed, the text stays.
    if (lyrics.peek().job === jobId) lyrics.value = NOTHING;
    return lyrics.peek().text !== "";
  });
  const isBusy = isActive(song.status.value);
  const send = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const sent = lyrics.value;
    const job = await start(song, "whisper", { source: "vocals", lyrics: sent.text });
    if (job !== null && lyrics.value === sent) lyrics.value = { ...sent, job: job.job_id };
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
        value=${lyrics.value.text}
        onInput=${(/** @type {any} */ event) => (lyrics.value = { ...NOTHING, text: event.currentTarget.value })}
      ></textarea>
      <${SongState} song=${song} />
      <p><button class="primary" disabled=${isBusy}>${t("karaoke.lyrics.start")}</button></p>
    </form>
  </details>`;
}
