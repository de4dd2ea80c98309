/** The lanes' common time: the playhead, clicks that seek, and drags that set a loop. */
import { useRef } from "preact/hooks";
import { chordAt } from "../data/analysis.js";
import { chord, clock } from "./format.js";
import { useFrames } from "./frames.js";
import { html } from "./html.js";

/** Shorter drags are clicks. */
const MIN_DRAG_PX = 6;

/** @typedef {import("../audio/stem_player.js").StemPlayer} StemPlayer */
/** @typedef {import("../data/analysis.js").Analysis} Analysis */

/** What a lane shows over time, with the loop and the playhead over it. @param {{ children?: any }} properties */
export function TimeBox({ children }) {
  return html`<div class="time">
    ${children}
    <i class="loop" aria-hidden="true"></i>
    <i class="head" aria-hidden="true"></i>
  </div>`;
}

/** @param {{ player: StemPlayer, analysis: Analysis | null, children?: any }} properties */
export function Timeline({ player, analysis, children }) {
  const root = useRef(/** @type {HTMLElement | null} */ (null));

  useFrames(() => {
    player.followLoop();
    if (root.current) show(root.current, player, analysis);
  }, [player, analysis]);

  const { mix } = player;
  const share = (/** @type {number} */ seconds) => seconds / player.durationS.value;
  const loop = mix.hasLoop
    ? `--from: ${share(mix.loopFrom.value)}; --to: ${share(mix.loopTo.value)}`
    : "--from: 0; --to: 0";
  return html`<ul
    class="lanes"
    ref=${root}
    onPointerDown=${(/** @type {PointerEvent} */ event) => drag(event, player)}
    style=${loop}
  >
    ${children}
  </ul>`;
}

/** Follow a pointer until it is released: a click seeks, a drag makes a loop. @param {PointerEvent} down @param {StemPlayer} player */
function drag(down, player) {
  const box = down.target instanceof Element ? down.target.closest(".time") : null;
  if (!box || down.button !== 0 || !down.isPrimary) return;
  const { mix } = player;
  const [fromS, toS] = [mix.loopFrom.value, mix.loopTo.value];
  const secondsAt = (/** @type {number} */ x) => {
    const { left, width } = box.getBoundingClientRect();
    return Math.min(1, Math.max(0, (x - left) / width)) * player.durationS.value;
  };
  const anchorS = secondsAt(down.clientX);
  let isDrag = false;
  const listening = new AbortController();
  const { signal } = listening;
  const isOther = (/** @type {PointerEvent} */ event) => event.pointerId !== down.pointerId;
  const move = (/** @type {PointerEvent} */ event) => {
    if (isOther(event)) return;
    isDrag ||= Math.abs(event.clientX - down.clientX) >= MIN_DRAG_PX;
    if (isDrag) mix.setLoop(anchorS, secondsAt(event.clientX));
  };
  const release = (/** @type {PointerEvent} */ up) => {
    if (isOther(up)) return;
    listening.abort();
    move(up);
    player.seek(isDrag ? mix.loopFrom.value : anchorS);
  };
  // The browser scrolls the page with what began as a drag.
  const cancel = (/** @type {PointerEvent} */ event) => {
    if (isOther(event)) return;
    listening.abort();
    if (!isDrag) return;
    mix.loopFrom.value = fromS;
    mix.loopTo.value = toS;
  };
  addEventListener("pointermove", move, { signal });
  addEventListener("pointerup", release, { signal });
  addEventListener("pointercancel", cancel, { signal });
}

/** @param {HTMLElement} root @param {StemPlayer} player @param {Analysis | null} analysis */
function show(root, player, analysis) {
  const position = player.positionS;
  root.style.setProperty("--at", String(position / player.durationS.value));
  for (const meter of root.querySelectorAll("[data-meter]")) {
    const level = player.level(Number(/** @type {HTMLElement} */ (meter).dataset.meter));
    /** @type {HTMLElement} */ (meter).style.transform = `scaleX(${level.toFixed(3)})`;
  }
  write("[data-clock]", clock(position));
  if (analysis) write("[data-chord]", chord(chordAt(analysis, position)));
}

/** @param {string} selector @param {string} text */
function write(selector, text) {
  for (const element of document.querySelectorAll(selector)) {
    if (element.textContent !== text) element.textContent = text;
  }
}
