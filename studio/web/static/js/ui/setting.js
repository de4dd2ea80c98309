/** Settings of a mix, as sliders with their values. */
import { KEYS, SPEEDS } from "../data/mix.js";
import { t } from "../words.js";
import { number } from "./format.js";
import { html } from "./html.js";
import { Fader } from "./lane.js";

/**
 * @param {{ label: string, value: import("@preact/signals").Signal<number>,
 *   range: { least: number, most: number, step: number }, text: (value: number) => string }} properties
 */
export function Setting({ label, value, range, text }) {
  return html`<label class="setting">
    <span>${label} <output>${text(value.value)}</output></span>
    <${Fader} label=${label} value=${value} ...${range} text=${text} />
  </label>`;
}

/** @param {{ mix: import("../data/mix.js").Mix }} properties */
export function Key({ mix }) {
  return html`<${Setting} label=${t("mixer.key")} value=${mix.key} range=${KEYS} text=${signed} />`;
}

/** @param {{ mix: import("../data/mix.js").Mix }} properties */
export function Speed({ mix }) {
  const text = (/** @type {number} */ value) => `${number(value, 2)}×`;
  return html`<${Setting} label=${t("mixer.speed")} value=${mix.speed} range=${SPEEDS} text=${text} />`;
}

/** @param {number} semitones */
function signed(semitones) {
  return semitones > 0 ? `+${semitones}` : String(semitones).replace("-", "−");
}
