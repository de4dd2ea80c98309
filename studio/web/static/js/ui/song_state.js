/** What is being made of a song, or why it failed. */
import { unfinished } from "../data/jobs.js";
import { named, t } from "../words.js";
import { roughly } from "./format.js";
import { html } from "./html.js";

/** @param {{ song: import("../data/songs.js").Song }} properties */
export function SongState({ song }) {
  const status = song.status.value;
  if (song.isGone.value) return html`<p class="bad">${t("song.gone")}</p>`;
  const running = unfinished(status);
  const isCanceled = running.length === 0 && status?.status === "canceled";
  const failure = running.length === 0 && status?.status === "failed" ? status.error?.error : "";
  const problem = song.refusal.value || song.error.value || failure;
  return html`<div class="state" aria-live="polite">
    ${running.map((job) => html`<${Progress} key=${job.job_id} job=${job} name=${song.name} />`)}
    ${problem && html`<p class="bad" role="alert">${problem}</p>`}
    ${isCanceled && html`<p class="muted">${t("job.canceled")}</p>`}
  </div>`;
}

/** @param {{ job: any, name: string }} properties */
function Progress({ job, name }) {
  const work = named("work", job.model);
  if (job.status === "queued") {
    return html`<p class="muted">${work}: ${t("job.queued", { place: job.place ?? "" })}</p>`;
  }
  const stage = named("stage", job.stage);
  const percent = Math.floor((job.progress ?? 0) * 100);
  const left = job.eta_s === null ? "" : `, ${t("job.left", { time: roughly(job.eta_s) })}`;
  // Only changes of the stage are read out.
  return html`<div class="progress">
    <progress aria-label=${`${name}: ${stage}`} value=${job.progress ?? 0} max="1"></progress>
    <p class="muted">${stage}<span aria-live="off">: ${percent} %${left}</span></p>
  </div>`;
}

/** The stems of a separation into all parts, in their order. @param {any} status @returns {string[]} */
export function stemsOf(status) {
  const isWhole = (/** @type {any} */ job) => job.status === "completed" && (job.result?.stems?.length ?? 0) > 1;
  const whole = (status?.jobs ?? []).filter(isWhole);
  const most = whole.reduce(
    (/** @type {any} */ best, /** @type {any} */ job) =>
      job.result.stems.length > (best?.result.stems.length ?? 0) ? job : best,
    null,
  );
  return most?.result.stems ?? [];
}

/** @param {any} status */
export function hasText(status) {
  return Boolean(status?.tracks.includes("transcription"));
}
