/** Music of the list: its variations side by side, and what can be done with them. */
import { useState } from "preact/hooks";
import { ApiError } from "../data/api.js";
import { cancel, isActive } from "../data/jobs.js";
import { discard, separate } from "../data/tunes.js";
import { go, route } from "../route.js";
import { t } from "../words.js";
import { clock } from "./format.js";
import { html } from "./html.js";
import { SongState } from "./song_state.js";
import { useWatchSeen } from "./watch_seen.js";

const FORMATS = ["wav", "flac", "mp3", "ogg"];

/** @typedef {import("../data/tunes.js").Tune} Tune */

/** @param {{ tune: Tune, onAgain: (draft: { prompt: string, seed: string }) => void }} properties */
export function TuneCard({ tune, onAgain }) {
  const { song, prompt } = tune;
  const [error, setError] = useState("");
  const card = useWatchSeen(song);

  const attempt = async (/** @type {() => Promise<unknown>} */ work) => {
    setError("");
    try {
      await work();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      setError(problem.message);
    }
  };
  const job = musicOf(song.status.value);
  const seed = job?.options?.seed;
  return html`<article class="card song" ref=${card} data-id=${song.id}>
    <h3 dir="auto">${prompt}</h3>
    ${job && !isActive(song.status.value)
      ? html`<div class="tunes">
          ${job.tracks.map(
            (/** @type {string} */ track, /** @type {number} */ n) =>
              html`<${Variation}
                key=${track}
                tune=${tune}
                track=${track}
                number=${n + 1}
                durationS=${job.result?.duration_s}
                attempt=${attempt}
              />`,
          )}
        </div>`
      : html`<${SongState} song=${song} />`}
    ${job?.result?.note && html`<p class="warn">${job.result.note}</p>`}
    ${error && html`<p class="notice error" role="alert">${error}</p>`}
    <div class="row">
      ${isActive(song.status.value) && html`<button onClick=${() => cancel(song)}>${t("song.cancel")}</button>`}
      ${seed !== undefined && html`<span class="muted">${t("music.seed.of", { seed })}</span>`}
      <button onClick=${() => onAgain({ prompt, seed: String(seed ?? "") })}>${t("music.again")}</button>
      <${Delete} onDelete=${() => attempt(() => discard(tune))} />
    </div>
  </article>`;
}

/** The latest job that made music. @param {any} status */
function musicOf(status) {
  return (status?.jobs ?? []).find(
    (/** @type {any} */ job) => job.model === "musicgen" && job.status === "completed",
  );
}

/**
 * The browser loads nothing before somebody plays it: a proxy allows an address only some downloads at once.
 * @param {{ tune: Tune, track: string, number: number, durationS: number | undefined,
 *   attempt: (work: () => Promise<unknown>) => Promise<void> }} properties
 */
function Variation({ tune, track, number, durationS, attempt }) {
  const [isMoving, setMoving] = useState(false);
  const name = t("music.variation", { number });
  const address = `/download/${tune.song.id}/${track}`;
  const move = async () => {
    setMoving(true);
    await attempt(async () => {
      const id = await separate(tune, track);
      // The upload may take a while; the user may have opened another page meanwhile.
      if (route.peek().page === "music") go(`/studio/${id}`);
    });
    setMoving(false);
  };
  return html`<section class="tune" aria-label=${name}>
    <h4>${name} ${durationS !== undefined && html`<span class="muted">${clock(durationS)}</span>`}</h4>
    <audio controls preload="none" src=${address} aria-label=${name}></audio>
    <div class="row">
      ${FORMATS.map(
        (format) => html`<a
          class="button quiet"
          href=${`${address}?format=${format}`}
          download
          aria-label=${t("music.download", { name, format: format.toUpperCase() })}
          >${format.toUpperCase()}</a
        >`,
      )}
    </div>
    <button disabled=${isMoving} onClick=${move}>${t(isMoving ? "music.separating" : "music.separate")}</button>
  </section>`;
}

/** Deletes at the second press. @param {{ onDelete: () => void }} properties */
function Delete({ onDelete }) {
  const [isAsked, setAsked] = useState(false);
  return html`<button
    class="quiet"
    onBlur=${() => setAsked(false)}
    onClick=${() => (isAsked ? onDelete() : setAsked(true))}
  >
    ${t(isAsked ? "music.sure" : "song.delete")}
  </button>`;
}
