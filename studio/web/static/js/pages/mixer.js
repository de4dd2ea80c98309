/** The mixer of a song. */
import { useSignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { Metronome } from "../audio/metronome.js";
import { StemPlayer } from "../audio/stem_player.js";
import { analysisOf } from "../data/analysis.js";
import { ApiError } from "../data/api.js";
import { returns } from "../data/connection.js";
import { isActive, refresh, start } from "../data/jobs.js";
import { Mix, stemNames } from "../data/mix.js";
import { peaksOf } from "../data/peaks.js";
import { followInAddress } from "../route.js";
import { ChordLane } from "../ui/chord_lane.js";
import { html } from "../ui/html.js";
import { Lane } from "../ui/lane.js";
import { MixDownload } from "../ui/mix_download.js";
import { hasStems } from "../ui/make_text.js";
import { listenToKeys } from "../ui/mixer_keys.js";
import { Presets } from "../ui/presets.js";
import { SongAnalysis } from "../ui/song_analysis.js";
import { SongFrame } from "../ui/song_frame.js";
import { SongPicture } from "../ui/song_picture.js";
import { SongState } from "../ui/song_state.js";
import { Timeline } from "../ui/timeline.js";
import { Transport } from "../ui/transport.js";
import { useSong } from "../ui/use_song.js";
import { t } from "../words.js";

/** @typedef {import("../data/songs.js").Song} Song */

/** @param {{ id: string }} properties */
export function Mixer({ id }) {
  const open = useSong(id);
  const { song, files } = open;
  return html`<${SongFrame} id=${id} page="mixer" open=${open}>
    ${files && hasStems(files)
      ? html`<${Console} key=${files.stems.job_id} song=${song} files=${files} />`
      : files && html`<${NoStems} song=${song} files=${files} />`}
  <//>`;
}

/** @param {{ song: Song, files: any }} properties */
function NoStems({ song, files }) {
  return html`<div class="card list">
    ${files.duration_s !== null &&
    html`<${SongPicture} id=${song.id} stems=${[]} durationS=${files.duration_s} />`}
    <p>${t("mixer.separate")}</p>
    <${SongState} song=${song} />
    <p>
      <button class="primary" disabled=${isActive(song.status.value)} onClick=${() => start(song, "demucs")}>
        ${t("song.separate")}
      </button>
    </p>
  </div>`;
}

/** @param {{ song: Song, files: any }} properties */
function Console({ song, files }) {
  const { player, metronome } = usePlayer(files);
  const [analysis, setAnalysis] = useState(/** @type {import("../data/analysis.js").Analysis | null} */ (null));
  const peaks = usePeaks(files, player?.mix.stems.map((stem) => stem.name) ?? []);
  const format = useSignal("mp3");
  const tracks = files.tracks.map((/** @type {any} */ one) => one.job_id).join();

  useEffect(() => {
    analysisOf(files).then(setAnalysis, (error) => {
      // What is known stays.
      if (!(error instanceof ApiError)) throw error;
    });
  }, [tracks, returns.value]);
  useEffect(() => {
    if (metronome) metronome.beats = analysis?.beats ?? [];
  }, [metronome, analysis]);
  useEffect(() => {
    if (player?.hasFailed.value) void refresh(song);
  }, [player?.hasFailed.value]);
  useEffect(() => {
    if (player?.hasFailed.value) player.retry();
  }, [returns.value]);

  if (!player) return html`<p class="starting">…</p>`;
  const { mix } = player;
  const durationS = player.durationS.value;
  const top = Math.max(1, ...[...peaks.values()].map((one) => one.top));
  return html`${player.hasFailed.value &&
    html`<p class="notice error row" role="alert">
      <span class="wide">${t("mixer.failed")}</span>
      <button onClick=${() => player.retry()}>${t("upload.retry")}</button>
    </p>`}
    <${Transport} player=${player} durationS=${durationS}>
      <${SongAnalysis} song=${song} mix=${mix} analysis=${analysis} />
    <//>
    <${SongState} song=${song} />
    <${Timeline} player=${player} analysis=${analysis}>
      ${analysis && html`<${ChordLane} analysis=${analysis} durationS=${durationS} />`}
      ${mix.stems.map(
        (stem) =>
          html`<${Lane}
            key=${stem.name}
            id=${song.id}
            stem=${stem}
            mix=${mix}
            durationS=${durationS}
            peaks=${peaks.get(stem.name)}
            top=${top}
            format=${format.value}
          />`,
      )}
    <//>
    <${Presets} mix=${mix} />
    <${MixDownload} id=${song.id} mix=${mix} format=${format} />
    <p class="muted keys">${t("mixer.keys")}</p>`;
}

/** The player of a song with its metronome, both null before the first render. @param {any} files */
function usePlayer(files) {
  const [made, setMade] = useState({
    player: /** @type {StemPlayer | null} */ (null),
    metronome: /** @type {Metronome | null} */ (null),
  });

  useEffect(() => {
    const mix = new Mix(stemNames(files.stems), new URLSearchParams(location.search));
    const player = new StemPlayer(files.stems, mix);
    const metronome = new Metronome(player);
    const unlisten = listenToKeys(player);
    const forget = followInAddress(() => mix.state());
    setMade({ player, metronome });
    return () => {
      unlisten();
      forget();
      metronome.close();
      player.close();
    };
  }, []);
  return made;
}

/**
 * The waveforms of stems as they arrive, at the scale that the screen needs.
 * @param {any} files
 * @param {string[]} names
 */
function usePeaks(files, names) {
  const [peaks, setPeaks] = useState(/** @type {Map<string, import("../data/peaks.js").Peaks>} */ (new Map()));

  useEffect(() => {
    const width = innerWidth * devicePixelRatio;
    for (const name of names) {
      if (peaks.has(name)) continue;
      peaksOf(files.file_id, name, files.stems.duration_s, width).then(
        (one) => setPeaks((before) => new Map(before).set(name, one)),
        () => {},
      );
    }
  }, [names.join(), returns.value]);
  return peaks;
}
