/** The keyboard of the mixer. */
import { clearLoop, endLoop, startLoop } from "./transport.js";

/**
 * Handle keys until the returned function is called.
 * @param {import("../audio/stem_player.js").StemPlayer} player
 */
export function listenToKeys(player) {
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isOwnKey(event)) return;
    if (handle(player, event)) event.preventDefault();
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

/**
 * @param {import("../audio/stem_player.js").StemPlayer} player
 * @param {KeyboardEvent} event
 * @returns {boolean} whether the key means something
 */
function handle(player, event) {
  const { mix } = player;
  const digit = /^Digit([1-6])$/.exec(event.code);
  const stem = digit ? mix.stems[Number(digit[1]) - 1] : undefined;
  if (stem) {
    const state = event.shiftKey ? stem.isSolo : stem.isMuted;
    state.value = !state.value;
    return true;
  }
  /** @type {Record<string, () => void>} */
  const actions = {
    " ": () => player.toggle(),
    ArrowLeft: () => player.jump(-1),
    ArrowRight: () => player.jump(1),
    Home: () => player.seek(0),
    a: () => startLoop(player),
    b: () => endLoop(player),
    l: () => clearLoop(player),
    m: () => mix.toggleClick(),
  };
  const action = actions[event.key];
  action?.();
  return action !== undefined;
}

/** Whether a key belongs to the element that has the focus. @param {KeyboardEvent} event */
function isOwnKey({ key, target }) {
  if (!(target instanceof Element)) return false;
  if (target.matches("[type=range]")) return key.startsWith("Arrow") || key === "Home";
  if (target.matches("input, select, textarea, dialog *, [contenteditable]")) return true;
  // After a click, Space is for the song again; whoever moves by keys presses the button.
  return key === " " && target.matches("button:focus-visible");
}
