/** Messages at the bottom: what can be undone, and that the server is away. */
import { isOffline } from "../data/api.js";
import { deleted, undo } from "../data/deleting.js";
import { t } from "../words.js";
import { html } from "./html.js";

export function Toasts() {
  const song = deleted.value;
  return html`<div class="toasts" role="status" aria-live="polite">
    ${isOffline.value && html`<p class="toast">${t("offline")}</p>`}
    ${song &&
    html`<p class="toast">
      <span>${t("song.deleted", { name: song.name })}</span>
      <button onClick=${undo}>${t("song.undo")}</button>
    </p>`}
  </div>`;
}
