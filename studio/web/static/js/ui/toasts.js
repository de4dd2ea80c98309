/** Messages at the bottom: what can be undone, and that the server is away. */
import { useEffect, useRef } from "preact/hooks";
import { isOffline } from "../data/api.js";
import { undo, undoable } from "../data/undo.js";
import { t } from "../words.js";
import { html } from "./html.js";

export function Toasts() {
  const done = undoable.value;
  return html`<div class="toasts" role="status" aria-live="polite">
    ${isOffline.value && html`<p class="toast">${t("offline")}</p>`}
    ${done && html`<${Undo} done=${done} />`}
  </div>`;
}

/** What was pressed may be gone, so the focus comes here, and goes back. @param {{ done: import("../data/undo.js").Undoable }} properties */
function Undo({ done }) {
  const button = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => button.current?.focus({ preventScroll: true }), [done]);
  const back = () => {
    undo();
    // After the page has been drawn again.
    setTimeout(() => {
      const place = document.querySelector(done.place) ?? document.querySelector("main");
      /** @type {HTMLElement | null} */ (place)?.focus();
    });
  };
  return html`<p class="toast">
    <span>${done.text}</span>
    <button ref=${button} onClick=${back}>${t("song.undo")}</button>
  </p>`;
}
