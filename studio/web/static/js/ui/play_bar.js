/** Play, the position in the song, and a slider that seeks. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../words.js";
import { clock } from "./format.js";
import { useFrames } from "./frames.js";
import { html } from "./html.js";

/** Elements that use the keys themselves. */
const OWN_KEYS = "a, button, summary, input, select, textarea, dialog *, [role=slider]";

/** @typedef {import("../audio/media_player.js").MediaPlayer} MediaPlayer */

/** @param {{ player: MediaPlayer }} properties */
export function PlayButton({ player }) {
  const isPlaying = player.isPlaying.value;
  const label = t(isPlaying ? "mixer.pause" : "mixer.play");
  return html`<button class="primary play" aria-label=${label} title=${label} onClick=${() => player.toggle()}>
    ${isPlaying ? "❚❚" : "▶"}
  </button>`;
}

/** @param {{ player: MediaPlayer }} properties */
export function Blocked({ player }) {
  return player.isBlocked.value && html`<p class="bad failed" role="alert">${t("player.blocked")}</p>`;
}

/** @param {{ player: MediaPlayer, children?: any }} properties */
export function PlayBar({ player, children }) {
  const time = useRef(/** @type {HTMLElement | null} */ (null));
  useFrames(() => {
    const text = clock(player.positionS);
    if (time.current && time.current.textContent !== text) time.current.textContent = text;
  }, [player]);

  return html`<div class="play-bar">
    <${PlayButton} player=${player} />
    <span class="times"><span ref=${time}>0:00</span> / ${clock(player.durationS.value)}</span>
    <${SeekSlider} player=${player} />
    ${children}
    <${Blocked} player=${player} />
    ${player.hasFailed.value &&
    html`<p class="bad failed" role="alert">
      ${t("player.failed")} <button onClick=${() => player.retry()}>${t("upload.retry")}</button>
    </p>`}
  </div>`;
}

/** @param {{ player: MediaPlayer }} properties */
export function SeekSlider({ player }) {
  const slider = useRef(/** @type {HTMLInputElement | null} */ (null));
  useFrames(() => {
    if (!slider.current) return;
    slider.current.value = String(player.positionS);
    slider.current.setAttribute("aria-valuetext", clock(player.positionS));
  }, [player]);

  const jump = (/** @type {KeyboardEvent} */ event) => {
    const backwards = event.key === "ArrowLeft" || event.key === "ArrowDown";
    if (!backwards && event.key !== "ArrowRight" && event.key !== "ArrowUp") return;
    event.preventDefault();
    player.jump(backwards ? -1 : 1);
  };
  return html`<input
    ref=${slider}
    class="seek"
    type="range"
    min="0"
    max=${player.durationS.value}
    step="0.05"
    aria-label=${t("player.position")}
    onKeyDown=${jump}
    onInput=${(/** @type {any} */ event) => player.seek(Number(event.currentTarget.value))}
  />`;
}

/** Whether a key is one of the browser or the system. @param {KeyboardEvent} event */
function isShortcut(event) {
  if (event.metaKey) return true;
  // Some keyboards, such as German ones, have brackets only with AltGr or Option.
  const isBracket = event.key === "[" || event.key === "]";
  if (isBracket && (event.getModifierState("AltGraph") || !event.ctrlKey)) return false;
  return event.ctrlKey || event.altKey;
}

/**
 * Space plays and arrows jump, unless the focused element uses them; and the page's own keys.
 * @param {MediaPlayer | null} player
 * @param {Record<string, () => void>} more
 */
export function usePlayerKeys(player, more = {}) {
  // In effect as soon as the player is shown.
  useLayoutEffect(() => {
    if (!player) return undefined;
    /** @type {Record<string, () => void>} */
    const actions = {
      " ": () => player.toggle(),
      ArrowLeft: () => player.jump(-1),
      ArrowRight: () => player.jump(1),
      ...more,
    };
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      if (event.defaultPrevented || isShortcut(event)) return;
      if (event.target instanceof Element && event.target.closest(OWN_KEYS)) return;
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [player]);
}
