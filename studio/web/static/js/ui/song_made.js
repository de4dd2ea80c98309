/** What was made of a song, as links. */
import { t } from "../words.js";
import { musicalKey, number, trackName } from "./format.js";
import { html } from "./html.js";
import { hasText, stemsOf } from "./song_state.js";

/** @param {{ song: import("../data/songs.js").Song }} properties */
export function Made({ song }) {
  const status = song.status.value;
  const stems = stemsOf(status);
  const others = (status?.tracks ?? []).filter((/** @type {string} */ name) => name.startsWith("music"));
  const analysis = analysisOf(status);
  if (stems.length + others.length === 0 && !hasText(status) && !analysis) return null;
  return html`<ul class="made" aria-label=${t("song.made")}>
    ${[...stems, ...others].map((name) => html`<li><${Download} id=${song.id} track=${name} /></li>`)}
    ${stems.length > 0 && html`<li><a href=${`/download/${song.id}/all.zip`} download>ZIP</a></li>`}
    ${hasText(status) && html`<li><${Download} id=${song.id} track="transcription" /></li>`}
    ${analysis && html`<li><a href=${`/studio/${song.id}`}>${analysis}</a></li>`}
  </ul>`;
}

/** @param {{ id: string, track: string }} properties */
function Download({ id, track }) {
  return html`<a href=${`/download/${id}/${track}`} download>${trackName(track)}</a>`;
}

/** The tempo and the key that an analysis found, in words; empty without one. @param {any} status */
function analysisOf(status) {
  const isDone = (/** @type {any} */ job) => job.model === "analysis" && job.result;
  const result = status?.jobs.find(isDone)?.result;
  if (!result) return "";
  const parts = [];
  if (result.tempo_bpm) parts.push(t("song.tempo", { tempo: number(result.tempo_bpm) }));
  if (result.key) parts.push(musicalKey(result.key));
  return parts.join(", ") || t("song.nothing");
}
