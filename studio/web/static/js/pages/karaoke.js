/** Karaoke: the words of a song in time with its music, and its voice as soft as wanted. */
import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { StemPlayer } from "../audio/stem_player.js";
import { rowsOf } from "../data/karaoke_rows.js";
import { KaraokeSettings } from "../data/karaoke_settings.js";
import { stemNames } from "../data/mix.js";
import { TranscriptStore } from "../data/transcript_store.js";
import { useFullScreen, useScreenOn } from "../ui/full_screen.js";
import { html } from "../ui/html.js";
import { KaraokeControls } from "../ui/karaoke_controls.js";
import { KaraokeStage } from "../ui/karaoke_stage.js";
import { KnownLyrics } from "../ui/known_lyrics.js";
import { MakeKaraoke, hasVocals } from "../ui/make_text.js";
import { PlayBar, usePlayerKeys } from "../ui/play_bar.js";
import { Conflict, SaveState } from "../ui/save_state.js";
import { SongFrame } from "../ui/song_frame.js";
import { Exports } from "../ui/transcript_tools.js";
import { transcriptOf, useSong } from "../ui/use_song.js";
import { VideoLink } from "../ui/video_link.js";
import { WordTiming } from "../ui/word_timing.js";
import { t } from "../words.js";

/** @param {{ id: string }} properties */
export function Karaoke({ id }) {
  const open = useSong(id);
  const { files } = open;
  const track = files && transcriptOf(files);
  return html`<${SongFrame} id=${id} page="karaoke" open=${open}>
    ${track && hasVocals(files)
      ? html`<${Show} key=${`${track.job_id} ${files.stems.job_id}`} id=${id} open=${open} />`
      : files && html`<${MakeKaraoke} song=${open.song} files=${files} />`}
  <//>`;
}

/** @param {string} id @param {any} files */
function useParts(id, files) {
  const [parts, setParts] = useState(
    /** @type {{ store: TranscriptStore, settings: KaraokeSettings, player: StemPlayer } | null} */ (null),
  );
  useEffect(() => {
    const settings = new KaraokeSettings(id, stemNames(files.stems));
    const player = new StemPlayer(files.stems, settings.mix);
    const store = new TranscriptStore(id);
    const fromS = Number(new URLSearchParams(location.search).get("t"));
    if (fromS > 0) player.seek(fromS);
    void store.load();
    setParts({ store, settings, player });
    return () => {
      settings.close();
      store.close();
      player.close();
    };
  }, [id]);
  return parts;
}

/** @param {{ id: string, open: import("../ui/use_song.js").OpenSong }} properties */
function Show({ id, open }) {
  const parts = useParts(id, open.files);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [isFull, toggleFull] = useFullScreen(box);
  usePlayerKeys(parts?.player ?? null, {
    f: toggleFull,
    "+": () => parts?.settings.transpose(1),
    "-": () => parts?.settings.transpose(-1),
    "[": () => parts?.settings.shift(-1),
    "]": () => parts?.settings.shift(1),
  });
  useScreenOn(parts?.player.isPlaying.value ?? false);

  if (!parts || parts.store.state.value === "loading") return html`<p class="starting">…</p>`;
  const { store, settings, player } = parts;
  return html`<${Conflict} store=${store} />
    <${Singing} parts=${parts} id=${id} open=${open} box=${box} isFull=${isFull} toggleFull=${toggleFull} />
    ${player.keyShift.problem.value && html`<p class="bad" role="alert">${player.keyShift.problem.value}</p>`}
    <${TakeAway} id=${id} files=${open.files} store=${store} settings=${settings} />
    <p class="muted keys">${t("karaoke.keys")}</p>`;
}

/**
 * @param {{ parts: { store: TranscriptStore, settings: KaraokeSettings, player: StemPlayer }, id: string,
 *   open: import("../ui/use_song.js").OpenSong, box: any, isFull: boolean, toggleFull: () => void }} properties
 */
function Singing({ parts, id, open, box, isFull, toggleFull }) {
  const { store, settings, player } = parts;
  const rows = useComputed(() => rowsOf(store.lines));
  const at = useSignal(0);

  const timeS = () => {
    const { context, media } = player;
    const waitS = player.isPlaying.value ? (context.outputLatency || 0) * media.playbackRate : 0;
    return player.positionS - waitS - settings.offsetMs.value / 1000;
  };
  return html`<section class=${isFull ? "karaoke full" : "karaoke"} ref=${box}>
      <${KaraokeStage} rows=${rows.value} at=${at} language=${store.file.language} timeS=${timeS} />
      <div class="card list">
        <${PlayBar} player=${player}>
          <button onClick=${toggleFull}>${isFull ? t("karaoke.full.end") : t("karaoke.full")}</button>
        <//>
        <${KaraokeControls} settings=${settings} />
      </div>
    </section>
    <${WordTiming}
      id=${id}
      store=${store}
      player=${player}
      rows=${rows.value}
      at=${at.value}
      offsetS=${settings.offsetMs.value / 1000}
    />
    <${KnownLyrics} song=${open.song} jobId=${transcriptOf(open.files).job_id} />
    <${SaveState} store=${store} />`;
}

/** @param {{ id: string, files: any, store: TranscriptStore, settings: KaraokeSettings }} properties */
function TakeAway({ id, files, store, settings }) {
  return html`<section class="list" aria-labelledby="take-title">
    <h2 id="take-title">${t("karaoke.exports")}</h2>
    <div class="row">
      <${VideoLink} path=${`/download/${id}/karaoke.mp4?${settings.video()}`} store=${store} />
      <${Exports}
        store=${store}
        files=${files}
        formats=${["lrc", "ass"]}
        offsetMs=${settings.offsetMs.value}
      />
    </div>
  </section>`;
}
