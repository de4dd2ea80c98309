/** Search, doubtful words, undo and downloads of a transcript. */
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { isDoubtful } from "../data/transcript.js";
import { named, t } from "../words.js";
import { html } from "./html.js";
import { SaveState, Undo, stateText } from "./save_state.js";
import { transcriptOf } from "./use_song.js";

/** @typedef {import("./transcript_cursor.js").TranscriptCursor} TranscriptCursor */

/**
 * @param {{ cursor: TranscriptCursor, search: import("@preact/signals").Signal<string>,
 *   isEdited: boolean }} properties
 */
export function TranscriptTools({ cursor, search, isEdited }) {
  const { store } = cursor;
  const isLoaded = store.state.value !== "loading" && store.state.value !== "unloaded";
  const doubtful = store.lines.flatMap((line) => line.words).filter(isDoubtful).length;
  return html`<div class="tools" role="group" aria-label=${t("edit.tools")}>
    <${Search} cursor=${cursor} search=${search} />
    <button disabled=${doubtful === 0} onClick=${() => chooseDoubtful(cursor)}>
      <span class="doubtful" aria-hidden="true">?</span> ${t("edit.doubtful", { count: doubtful })}
    </button>
    <${Undo} store=${store} />
    <button
      class="quiet"
      disabled=${!isLoaded || (!isEdited && !store.history.canUndo.value)}
      onClick=${() => store.restore()}
    >
      ${t("edit.restore")}
    </button>
    <${SaveState} store=${store} />
  </div>`;
}

/** @param {{ cursor: TranscriptCursor, search: import("@preact/signals").Signal<string> }} properties */
function Search({ cursor, search }) {
  const wanted = search.value;
  const lines = wanted ? cursor.store.lines.filter((line) => contains(line, wanted)).length : 0;
  const timer = useRef(0);
  const typed = (/** @type {any} */ event) => {
    const text = event.currentTarget.value.trim().toLocaleLowerCase();
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      search.value = text;
      const first = cursor.store.lines.findIndex((line) => text !== "" && contains(line, text));
      if (first >= 0) show(cursor, first);
    }, 150);
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || !wanted) return;
    event.preventDefault();
    const all = cursor.store.lines;
    const step = event.shiftKey ? -1 : 1;
    for (let n = 1; n <= all.length; n++) {
      const at = (cursor.place.line + step * n + n * all.length) % all.length;
      const line = all[at];
      if (line && contains(line, wanted)) return show(cursor, at);
    }
  };
  return html`<div class="search">
    <input
      type="search"
      aria-label=${t("edit.search")}
      placeholder=${t("edit.search")}
      onInput=${typed}
      onKeyDown=${pressed}
    />
    <span class="muted" role="status">${wanted && t("edit.found", { count: lines })}</span>
  </div>`;
}

/** @param {import("../data/transcript.js").Line} line @param {string} text */
const contains = (line, text) => line.text.toLocaleLowerCase().includes(text);

/** @param {TranscriptCursor} cursor @param {number} line */
function show(cursor, line) {
  cursor.choose({ line, word: 0 }, false);
  document.querySelector(`[data-line="${line}"]`)?.scrollIntoView({ block: "center" });
}

/** Choose the next doubtful word, or the first one if none follows. @param {TranscriptCursor} cursor */
function chooseDoubtful(cursor) {
  const { line, word } = cursor.place;
  const places = cursor.store.lines.flatMap((one, n) =>
    one.words.flatMap((spoken, w) => (isDoubtful(spoken) ? [{ line: n, word: w }] : [])),
  );
  const next = places.find((place) => place.line > line || (place.line === line && place.word > word));
  const place = next ?? places[0];
  if (!place) return;
  cursor.choose(place);
  document.querySelector(`[data-line="${place.line}"]`)?.scrollIntoView({ block: "nearest" });
}

/**
 * Links to the formats of a transcript, with its words shown `offsetMs` later.
 *
 * @param {{ store: import("../data/transcript_store.js").TranscriptStore, files: any, formats?: string[],
 *   offsetMs?: number }} properties
 */
export function Exports({ store, files, formats, offsetMs = 0 }) {
  /** @type {{ formats: Record<string, { url: string }> }} */
  const track = transcriptOf(files);
  const offered = Object.entries(track.formats).filter(([format]) => !formats || formats.includes(format));
  const isRefused = useSignal(false);
  // The server makes the files from what it has.
  const saveFirst = async (/** @type {any} */ event) => {
    const link = event.currentTarget;
    if (store.isOnServer) return;
    event.preventDefault();
    isRefused.value = !(await store.save());
    if (!isRefused.value) link.click();
  };
  const suffix = offsetMs ? `&offset_ms=${offsetMs}` : "";
  return html`<div class="row" role="group" aria-label=${t("edit.exports")}>
    ${offered.map(
      ([format, { url }]) => html`<a class="button" href=${url + suffix} download title=${format} onClick=${saveFirst}>
        ${named("format", format)}
      </a>`,
    )}
    ${isRefused.value &&
    !store.isOnServer &&
    html`<p class="bad wide" role="alert">${stateText(store)}</p>`}
  </div>`;
}
