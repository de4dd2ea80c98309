/** Chooses a variant of a model, with its purpose, its size and the licence of its weights. */
import { t } from "../words.js";
import { bytes } from "./format.js";
import { html } from "./html.js";

/** @typedef {import("../data/models.js").Variant} Variant */

/**
 * @param {{ variants: Variant[], value: import("@preact/signals").Signal<string>, disabled?: boolean }} properties
 */
export function VariantChoice({ variants, value, disabled = false }) {
  const chosen = variants.find((one) => one.name === value.value);
  return html`<label>
    ${t("music.model")}
    <select
      name="model_variant"
      value=${value.value}
      disabled=${disabled}
      aria-describedby="licence"
      onChange=${(/** @type {any} */ event) => (value.value = event.currentTarget.value)}
    >
      ${variants.map((one) => html`<option key=${one.name} value=${one.name}>${textOf(one)}</option>`)}
    </select>
    <small class="muted" id="licence">${chosen && t("music.licence", { licence: chosen.licence })}</small>
  </label>`;
}

/** @param {Variant} variant */
function textOf({ name, purpose, weights, size_bytes: size }) {
  if (weights !== "available") return t("music.model.here", { name, purpose });
  return t("music.model.fetched", { name, purpose, size: bytes(size ?? 0) });
}
