/** Tempo and key of a song with its metronome, or the button that has them found. */
import { start, unfinished } from "../data/jobs.js";
import { t } from "../words.js";
import { musicalKey, number } from "./format.js";
import { html } from "./html.js";

/**
 * @param {{ song: import("../data/songs.js").Song, mix: import("../data/mix.js").Mix,
 *   analysis: import("../data/analysis.js").Analysis | null }} properties
 */
export function SongAnalysis({ song, mix, analysis }) {
  if (analysis === null) {
    const isBusy = unfinished(song.status.value).some((job) => job.model === "analysis");
    return html`<button disabled=${isBusy} onClick=${() => start(song, "analysis")}>
      ${isBusy ? t("mixer.analysing") : t("mixer.analyse")}
    </button>`;
  }
  const isOn = mix.click.value > 0;
  return html`<div class="row">
    ${analysis.tempo_bpm !== null &&
    html`<span class="fact">${t("song.tempo", { tempo: number(analysis.tempo_bpm * mix.speed.value) })}</span>`}
    ${analysis.key !== null && html`<span class="fact">${musicalKey(analysis.key)}</span>`}
    ${analysis.beats.length > 0 &&
    html`<button aria-pressed=${isOn} onClick=${() => mix.toggleClick()}>
      ${t("mixer.metronome")}
    </button>`}
    ${analysis.beats.length === 0 && analysis.key === null && html`<span class="muted">${t("song.nothing")}</span>`}
  </div>`;
}
