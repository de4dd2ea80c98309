/** The mixer of a song. */
import { effect } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { StemPlayer } from "../audio/stem_player.js";
import { ApiError, json } from "../data/api.js";
import { Mix } from "../data/mix.js";
import { isActive, songOf, start } from "../data/songs.js";
import { trackName } from "../ui/format.js";
import { html } from "../ui/html.js";
import { Lane } from "../ui/lane.js";
import { listenToKeys } from "../ui/mixer_keys.js";
import { SongState } from "../ui/song_state.js";
import { Timeline } from "../ui/timeline.js";
import { Transport } from "../ui/transport.js";
import { t } from "../words.js";

/** @param {{ id: string }} properties */
export function Mixer({ id }) {
  const [song] = useState(() => songOf(id));
  const [files, setFiles] = useState(/** @type {any} */ (null));
  const [error, setError] = useState("");
  const status = song.status.value?.status;

  // Again when a job has ended.
  useEffect(() => {
    if (isActive(song.status.value)) return;
    json(`/files/${id}`).then(setFiles, (problem) => {
      if (!(problem instanceof ApiError)) throw problem;
      setError(problem.message);
    });
  }, [id, status]);

  if (error) return html`<p class="notice error" role="alert">${error}</p>`;
  if (files === null) return html`<p class="starting">…</p>`;
  if (files.stems) return html`<${Console} id=${id} files=${files} />`;
  return html`<h1 class="ellipsis" dir="auto">${files.filename}</h1>
    <div class="card list">
      <p>${t("mixer.separate")}</p>
      <${SongState} song=${song} />
      <p>
        <button class="primary" disabled=${isActive(song.status.value)} onClick=${() => start(song, "demucs")}>
          ${t("song.separate")}
        </button>
      </p>
    </div>`;
}

/** @param {{ id: string, files: any }} properties */
function Console({ id, files }) {
  const [player, setPlayer] = useState(/** @type {StemPlayer | null} */ (null));

  useEffect(() => {
    const names = files.stems.channels.filter((/** @type {string} */ _, /** @type {number} */ n) => n % 2 === 0);
    const mix = new Mix(names, new URLSearchParams(location.search));
    const { flac, wav } = files.stems.formats;
    const made = new StemPlayer((flac ?? wav).url, mix);
    const unlisten = listenToKeys(made);
    const forget = effect(() => mix.keep());
    setPlayer(made);
    return () => {
      unlisten();
      forget();
      made.close();
    };
  }, [id]);

  if (!player) return html`<p class="starting">…</p>`;
  if (player.hasFailed.value) return html`<p class="notice error" role="alert">${t("mixer.failed")}</p>`;
  const { mix } = player;
  return html`<h1 class="ellipsis" dir="auto">${files.filename}</h1>
    <${Transport} player=${player} />
    <${Timeline} player=${player}>
      ${mix.stems.map(
        (stem) =>
          html`<${Lane} key=${stem.name} id=${id} stem=${stem} mix=${mix} durationS=${player.durationS.value} />`,
      )}
    <//>
    <${Presets} mix=${mix} />
    <div class="row">
      <a class="button" href=${`/download/${id}/all.zip`} download>${t("mixer.zip")}</a>
    </div>
    <p class="muted">${t("mixer.keys")}</p>`;
}

/** @param {{ mix: Mix }} properties */
function Presets({ mix }) {
  return html`<div class="row" role="group" aria-label=${t("mixer.presets")}>
    <button onClick=${() => mix.preset(() => true)}>${t("mixer.all")}</button>
    <button onClick=${() => mix.preset((name) => name !== "vocals")}>${t("mixer.karaoke")}</button>
    ${mix.stems
      .filter((stem) => stem.name !== "vocals")
      .map(
        (stem) => html`<button onClick=${() => mix.preset((name) => name !== stem.name)}>
          ${t("mixer.without", { name: trackName(stem.name) })}
        </button>`,
      )}
  </div>`;
}
