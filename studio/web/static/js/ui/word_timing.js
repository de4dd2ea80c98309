/** A small time line on which the words of a line are moved. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { peaksOf } from "../data/peaks.js";
import { rowAt, shownFromS } from "../data/karaoke_rows.js";
import { moved, wordsOf } from "../data/transcript.js";
import { t } from "../words.js";
import { number } from "./format.js";
import { useFrames } from "./frames.js";
import { html } from "./html.js";
import { usePart } from "./play_part.js";
import { Undo } from "./save_state.js";

const AROUND_S = 0.5;
const PIXELS_PER_S = 140;
const MAX_PIXELS_PER_S = 500;
/** The shortest word is as wide as a finger, if that is possible. */
const TOUCH_PX = 44;
const KEY_STEP_S = 0.02;

/** @typedef {import("../data/karaoke_rows.js").Row} Row */
/** @typedef {import("../data/peaks.js").Peaks} Peaks */
/** @typedef {{ word: import("../data/karaoke_rows.js").SungWord, startS: number, endS: number }} Moved */

/**
 * @param {{ id: string, store: import("../data/transcript_store.js").TranscriptStore,
 *   player: import("../audio/media_player.js").MediaPlayer, rows: Row[], at: number, offsetS: number }} properties
 *   `offsetS`: seconds by which the text is shown later than its times
 */
export function WordTiming({ id, store, player, rows, at, offsetS }) {
  const n = Math.min(at, rows.length - 1);
  const row = rows[n];
  const [isOpen, setOpen] = useState(false);
  const playPart = usePart(player);
  if (!row) return null;

  const goTo = (/** @type {number} */ other) => {
    const latencyS = player.timeS - player.positionS;
    player.seek(shownFromS(rows, other) + offsetS + latencyS);
  };
  const goBack = () => {
    // A row that ends before the one in front of it is never shown.
    let to = n - 1;
    while (to > 0 && rowAt(rows, shownFromS(rows, to)) >= n) to -= 1;
    goTo(to);
  };
  const play = () => {
    const fromS = Math.max(0, row.start_s - AROUND_S + offsetS);
    playPart(fromS, row.end_s + AROUND_S / 2 + offsetS);
  };
  return html`<details class="card" onToggle=${(/** @type {any} */ event) => setOpen(event.currentTarget.open)}>
    <summary>${t("karaoke.timing")}</summary>
    <div class="list">
      <p class="muted">${t("karaoke.timing.hint")}</p>
      ${isOpen && html`<${TimeLine} id=${id} store=${store} player=${player} row=${row} n=${n} />`}
      <div class="row">
        <button disabled=${n === 0} onClick=${goBack}>${t("karaoke.timing.before")}</button>
        <button class="primary" onClick=${play}>${t("karaoke.timing.play")}</button>
        <button disabled=${n >= rows.length - 1} onClick=${() => goTo(n + 1)}>
          ${t("karaoke.timing.after")}
        </button>
        <${Undo} store=${store} />
      </div>
    </div>
  </details>`;
}

/**
 * The blocks of a row. The peaks of the voice are those of all rows.
 * @param {{ id: string, store: import("../data/transcript_store.js").TranscriptStore,
 *   player: import("../audio/media_player.js").MediaPlayer, row: Row, n: number }} properties
 */
function TimeLine({ id, store, player, row, n }) {
  const [voice, setVoice] = useState(/** @type {Peaks | null} */ (null));
  useEffect(() => {
    // As fine as the server has it.
    peaksOf(id, "vocals", player.durationS.value, Infinity).then(setVoice, () => {});
  }, [id]);
  return html`<${Blocks} key=${n} store=${store} player=${player} row=${row} voice=${voice} />`;
}

/**
 * @param {{ store: import("../data/transcript_store.js").TranscriptStore,
 *   player: import("../audio/media_player.js").MediaPlayer, row: Row, voice: Peaks | null }} properties
 */
function Blocks({ store, player, row, voice }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const head = useRef(/** @type {HTMLElement | null} */ (null));
  const dragged = useSignal(/** @type {Moved | null} */ (null));
  // The part of the song that is shown stays while its words move.
  const { fromS, toS } = useRef({ fromS: Math.max(0, row.start_s - AROUND_S), toS: row.end_s + AROUND_S }).current;
  const lengthS = toS - fromS;
  const share = (/** @type {number} */ seconds) => `${(100 * seconds) / lengthS}%`;
  useFrames(() => {
    if (head.current) head.current.style.insetInlineStart = share(player.positionS - fromS);
  }, [player]);

  const shortestS = Math.min(...row.words.map((word) => word.end_s - word.start_s));
  const scale = useRef(Math.min(MAX_PIXELS_PER_S, Math.max(PIXELS_PER_S, TOUCH_PX / shortestS))).current;
  const after = (/** @type {Moved} */ { word, startS, endS }) => moved(store.lines, word.line, word.word, startS, endS);
  const lines = dragged.value ? after(dragged.value) : store.lines;
  const words = row.words.map((word) => {
    const line = lines[word.line];
    return { ...word, ...(line && wordsOf(line)[word.word]) };
  });

  const press = (/** @type {any} */ event, /** @type {import("../data/karaoke_rows.js").SungWord} */ word) => {
    if (event.button !== 0 || !box.current) return;
    player.pause();
    const [block, { edge }] = [event.currentTarget, event.target.dataset];
    const secondsPerPixel = lengthS / box.current.clientWidth;
    block.setPointerCapture(event.pointerId);
    block.onpointermove = (/** @type {PointerEvent} */ move) => {
      const byS = (move.clientX - event.clientX) * secondsPerPixel;
      dragged.value = {
        word,
        startS: edge === "end" ? word.start_s : word.start_s + byS,
        endS: edge === "start" ? word.end_s : word.end_s + byS,
      };
    };
    block.onlostpointercapture = () => {
      block.onpointermove = null;
      if (dragged.value) store.change(after(dragged.value));
      dragged.value = null;
    };
  };
  const pressKey = (/** @type {KeyboardEvent} */ event, /** @type {import("../data/karaoke_rows.js").SungWord} */ word) => {
    const byS = { ArrowLeft: -KEY_STEP_S, ArrowRight: KEY_STEP_S }[event.key];
    if (byS === undefined) return;
    event.preventDefault();
    store.change(after({ word, startS: word.start_s + (event.shiftKey ? 0 : byS), endS: word.end_s + byS }));
  };
  return html`<div class="timing-scroll">
    <div class="blocks" dir="ltr" ref=${box} style=${`min-width: ${Math.round(lengthS * scale)}px`}>
      <${Voice} peaks=${voice} fromS=${fromS} toS=${toS} />
      ${words.map(
        (word) => html`<div
          class="block"
          role="slider"
          tabindex="0"
          aria-label=${word.text.trim()}
          aria-valuemin=${0}
          aria-valuemax=${Math.ceil(player.durationS.value)}
          aria-valuenow=${word.start_s}
          aria-valuetext=${t("karaoke.timing.span", { start: number(word.start_s, 2), end: number(word.end_s, 2) })}
          style=${`left: ${share(word.start_s - fromS)}; width: ${share(word.end_s - word.start_s)}`}
          onPointerDown=${(/** @type {PointerEvent} */ event) => press(event, word)}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => pressKey(event, word)}
        >
          <span class="edge" data-edge="start"></span><span class="block-text" dir="auto">${word.text.trim()}</span
          ><span class="edge" data-edge="end"></span>
        </div>`,
      )}
      <span class="timing-head" ref=${head}></span>
    </div>
  </div>`;
}

/** The voice in this part of the song. @param {{ peaks: Peaks | null, fromS: number, toS: number }} properties */
function Voice({ peaks, fromS, toS }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  useEffect(() => {
    if (peaks && canvas.current) draw(canvas.current, peaks, fromS, toS);
  }, [peaks]);
  return html`<canvas ref=${canvas} aria-hidden="true"></canvas>`;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Peaks} peaks
 * @param {number} fromS
 * @param {number} toS
 */
function draw(canvas, peaks, fromS, toS) {
  const from = Math.floor(fromS / peaks.secondsPerPixel);
  const count = Math.ceil((toS - fromS) / peaks.secondsPerPixel);
  const values = peaks.values.subarray(2 * from, 2 * (from + count));
  const top = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const context = canvas.getContext("2d");
  if (!context) return;
  canvas.width = count;
  canvas.height = 2 * top;
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--wave");
  for (let x = 0; x < count; x++) {
    const [low, high] = [values[2 * x] ?? 0, values[2 * x + 1] ?? 0];
    context.fillRect(x, top - high, 1, Math.max(1, high - low));
  }
}
