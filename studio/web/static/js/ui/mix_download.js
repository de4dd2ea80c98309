/** Downloads of the mix as it is heard, and of all files. */
import { t } from "../words.js";
import { html } from "./html.js";

const FORMATS = ["mp3", "wav", "flac", "ogg"];

/**
 * @param {{ id: string, mix: import("../data/mix.js").Mix,
 *   format: import("@preact/signals").Signal<string> }} properties
 */
export function MixDownload({ id, mix, format }) {
  const query = mix.query().toString();
  const address = `/download/${id}/mix.${format.value}${query && `?${query}`}`;
  return html`<section class="card list" aria-labelledby="save-title">
    <h2 id="save-title">${t("mixer.save")}</h2>
    <div class="row">
      <select
        aria-label=${t("mixer.format")}
        value=${format.value}
        onChange=${(/** @type {any} */ event) => (format.value = event.currentTarget.value)}
      >
        ${FORMATS.map((one) => html`<option value=${one}>${one.toUpperCase()}</option>`)}
      </select>
      <a class="button primary" href=${address} download>${t("mixer.this")}</a>
      <a class="button" href=${`/download/${id}/all.zip`} download>${t("mixer.zip")}</a>
    </div>
  </section>`;
}
