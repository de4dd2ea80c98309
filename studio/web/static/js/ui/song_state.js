/** What is being made of a song, or why it failed. */
import { isActive } from "../data/songs.js";
import { named, t } from "../words.js";
import { roughly, trackName } from "./format.js";
import { html } from "./html.js";

/** @param {{ song: import("../data/songs.js").Song }} properties */
export function SongState({ song }) {
  const status = song.status.value;
  if (song.isGone.value) return html`<p class="bad">${t("song.gone")}</p>`;
  if (song.error.value) return html`<p class="bad" role="alert">${song.error.value}</p>`;
  if (status?.status === "failed") return html`<p class="bad">${status.error?.error}</p>`;
  if (isActive(status)) return html`<${Progress} status=${status} name=${song.name} />`;
  const names = readyTracks(status).map(trackName);
  return html`<div class="state muted" aria-live="polite">
    ${names.length > 0 && html`<p>${t("song.parts", { names: names.join(", ") })}</p>`}
    ${status?.status === "canceled" && html`<p>${t("job.canceled")}</p>`}
  </div>`;
}

/** @param {{ status: any, name: string }} properties */
function Progress({ status, name }) {
  if (status.status === "queued") {
    return html`<div class="state" aria-live="polite">
      <p>${t("job.queued", { place: status.place ?? "" })}</p>
    </div>`;
  }
  const stage = named("stage", status.stage);
  const percent = Math.floor((status.progress ?? 0) * 100);
  const left = status.eta_s === null ? "" : `, ${t("job.left", { time: roughly(status.eta_s) })}`;
  return html`<div class="state">
    <progress aria-label=${name} value=${status.progress ?? 0} max="1"></progress>
    <p class="muted">${t("job.running", { stage, percent })}${left}</p>
  </div>`;
}

/** The stems and texts of completed jobs, without tracks that are derived from others. @param {any} status */
export function readyTracks(status) {
  /** @type {string[]} */
  const names = (status?.jobs ?? []).flatMap((/** @type {any} */ job) => job.tracks ?? []);
  const isDerived = (/** @type {string} */ name) => name.startsWith("no_") || name === "instrumental";
  return [...new Set(names)].filter((name) => !isDerived(name));
}
