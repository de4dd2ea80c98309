/** A file on its way to the server. */
import { discard, pause, resume } from "../data/uploads.js";
import { t } from "../words.js";
import { speed } from "./format.js";
import { html } from "./html.js";

/** @param {{ upload: import("../data/uploads.js").Upload }} properties */
export function UploadCard({ upload }) {
  const state = upload.state.value;
  // The list is read out when it changes, but not every percent.
  return html`<article class="card song">
    <header>
      <h3 class="ellipsis" dir="auto">${upload.file.name}</h3>
      ${(state === "waiting" || state === "sending") &&
      html`<button onClick=${() => pause(upload)}>${t("upload.pause")}</button>`}
      ${state === "paused" && html`<button onClick=${() => resume(upload)}>${t("upload.resume")}</button>`}
      ${state === "failed" && html`<button onClick=${() => resume(upload)}>${t("upload.retry")}</button>`}
      <button class="quiet" onClick=${() => discard(upload)}>${t("upload.remove")}</button>
    </header>
    <div class="state">
      ${state === "sending" &&
      html`<progress aria-label=${upload.file.name} value=${upload.progress.value} max="1"></progress>`}
      ${state === "checking" && html`<progress aria-label=${upload.file.name}></progress>`}
      <p class=${state === "failed" ? "bad" : "muted"} aria-live=${state === "sending" ? "off" : null}>
        ${textOf(upload)}
      </p>
    </div>
  </article>`;
}

/** @param {import("../data/uploads.js").Upload} upload */
function textOf(upload) {
  switch (upload.state.value) {
    case "failed":
      return upload.failure.value?.message;
    case "sending":
      return t("upload.sending", {
        percent: Math.floor(upload.progress.value * 100),
        speed: speed(upload.bytesPerS.value),
      });
    case "checking":
      return t("upload.checking");
    case "paused":
      return t("upload.paused");
    default:
      return [t("upload.waiting"), upload.failure.value?.message].filter(Boolean).join(". ");
  }
}
