/** The transcript of a file: heard word by word, and edited. */
import { effect, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { MediaPlayer } from "../audio/media_player.js";
import { playCopyIfNeeded } from "../audio/playable_copy.js";
import { TranscriptStore } from "../data/transcript_store.js";
import { AddressKeeper } from "../route.js";
import { html } from "../ui/html.js";
import { MakeText } from "../ui/make_text.js";
import { PlayBar, usePlayerKeys } from "../ui/play_bar.js";
import { Conflict } from "../ui/save_state.js";
import { SongFrame } from "../ui/song_frame.js";
import { TranscriptCursor } from "../ui/transcript_cursor.js";
import { TranscriptLines } from "../ui/transcript_lines.js";
import { Exports, TranscriptTools } from "../ui/transcript_tools.js";
import { transcriptOf, useSong } from "../ui/use_song.js";
import { t } from "../words.js";

/** @param {{ id: string }} properties */
export function Transcript({ id }) {
  const open = useSong(id);
  const track = open.files && transcriptOf(open.files);
  return html`<${SongFrame} id=${id} page="transcript" open=${open}>
    ${track
      ? html`<${Editor} key=${track.job_id} id=${id} files=${open.files} isEdited=${track.edited} />`
      : html`<${MakeText} song=${open.song} />`}
  <//>`;
}

/** @param {{ id: string, files: any, isEdited: boolean }} properties */
function Editor({ id, files, isEdited }) {
  const [cursor, setCursor] = useState(/** @type {TranscriptCursor | null} */ (null));
  const search = useSignal("");

  useEffect(() => {
    const store = new TranscriptStore(id);
    const player = new MediaPlayer(`/download/${id}/original`, files.duration_s);
    playCopyIfNeeded(player, `/download/${id}/original?format=mp3`);
    const made = new TranscriptCursor(store, player);
    const stop = effect(() => {
      store.isHeld = made.editing.value !== null;
    });
    void store.load();
    const forget = keepPosition(player);
    setCursor(made);
    return () => {
      stop();
      forget();
      store.close();
      player.close();
    };
  }, [id]);
  usePlayerKeys(cursor?.player ?? null);
  useUndoKeys(cursor);

  if (!cursor || cursor.store.state.value === "loading") return html`<p class="starting">…</p>`;
  const { store, player } = cursor;
  return html`<${Conflict} store=${store} />
    <div class="card bar">
      <${PlayBar} player=${player} />
      <${TranscriptTools} cursor=${cursor} search=${search} isEdited=${isEdited} />
    </div>
    ${store.lines.length === 0 && store.state.value === "saved" && html`<p class="notice">${t("text.silent")}</p>`}
    <${TranscriptLines} cursor=${cursor} search=${search.value} />
    <section class="list" aria-labelledby="exports-title">
      <h2 id="exports-title">${t("edit.exports")}</h2>
      <${Exports} store=${store} files=${files} />
    </section>
    <p class="muted">${t("text.hint")} <span class="keys">${t("text.keys")}</span></p>`;
}

/** Begin at the time in the address, and keep it there until the returned function is called. @param {MediaPlayer} player */
function keepPosition(player) {
  const from = Number(new URLSearchParams(location.search).get("t"));
  if (from > 0) player.seek(from);
  const keeper = new AddressKeeper();
  const keep = () => {
    const atS = Math.floor(player.positionS);
    keeper.keep({ t: atS > 0 ? String(atS) : null });
  };
  player.media.addEventListener("pause", keep);
  player.media.addEventListener("seeked", keep);
  return () => keeper.close();
}

/** @param {TranscriptCursor | null} cursor */
function useUndoKeys(cursor) {
  useLayoutEffect(() => {
    if (!cursor) return undefined;
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      const isField = event.target instanceof Element && event.target.matches("input, textarea");
      if (isField || !(event.ctrlKey || event.metaKey) || event.altKey) return;
      const key = event.key.toLowerCase();
      const isRedo = key === "y" || (key === "z" && event.shiftKey);
      if (key !== "z" && !isRedo) return;
      event.preventDefault();
      if (isRedo) cursor.store.redo();
      else cursor.store.undo();
      // The word that had the focus may be gone.
      if (event.target instanceof Element && event.target.matches(".word")) cursor.choose(cursor.place);
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [cursor]);
}
