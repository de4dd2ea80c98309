/** What was just done, and can be undone for some seconds. */
import { signal } from "@preact/signals";
import { beforeEnd } from "./leaving.js";

export const UNDO_MS = 6000;

/**
 * @typedef {object} Undoable
 * @property {string} text what was done
 * @property {() => void} undo
 * @property {() => void} [prolong] it can be undone for as long once more
 * @property {() => void} [settle] do what can no longer be undone
 * @property {string} place a selector of the element that has the focus afterwards
 */

/** @type {import("@preact/signals").Signal<Undoable | null>} */
export const undoable = signal(/** @type {Undoable | null} */ (null));

let pending = 0;

/** Offer to undo something; what was offered before is settled. @param {Undoable} done */
export function offer(done) {
  settle();
  undoable.value = done;
  pending = setTimeout(expire, UNDO_MS);
}

export function undo() {
  take()?.undo();
}

/** The message waits for a pointer or a keyboard that is at it. */
function expire() {
  if (!document.querySelector(".toast:hover, .toast :focus-visible")) {
    settle();
    return;
  }
  undoable.value?.prolong?.();
  pending = setTimeout(expire, UNDO_MS);
}

function settle() {
  take()?.settle?.();
}

function take() {
  clearTimeout(pending);
  const done = undoable.value;
  undoable.value = null;
  return done;
}

beforeEnd(() => {
  if (undoable.value?.settle) settle();
});
