/** What can be set while singing: the guide vocals, the key, the speed, and when words are shown. */
import { MAX_GUIDE, OFFSET_STEP_MS } from "../data/karaoke_settings.js";
import { KEYS, SPEEDS } from "../data/mix.js";
import { t } from "../words.js";
import { number } from "./format.js";
import { html } from "./html.js";
import { Fader } from "./lane.js";

/** @param {{ settings: import("../data/karaoke_settings.js").KaraokeSettings, children: any }} properties */
export function KaraokeControls({ settings, children }) {
  const { mix, guide } = settings;
  return html`<div class="karaoke-controls">
    <${Setting}
      label=${t("karaoke.guide")}
      value=${guide}
      range=${{ least: 0, most: MAX_GUIDE, step: 0.05 }}
      text=${(/** @type {number} */ value) => `${number(value * 100)} %`}
    />
    <${Setting} label=${t("mixer.key")} value=${mix.key} range=${KEYS} text=${signed} />
    <${Setting}
      label=${t("mixer.speed")}
      value=${mix.speed}
      range=${SPEEDS}
      text=${(/** @type {number} */ value) => `${number(value, 2)}×`}
    />
    <div class="row offset" role="group" aria-label=${t("karaoke.offset")}>
      <button aria-label=${t("karaoke.sooner")} title=${t("karaoke.sooner")} onClick=${() => settings.shift(-1)}>
        −${OFFSET_STEP_MS}
      </button>
      <output>${offsetText(settings.offsetMs.value)}</output>
      <button aria-label=${t("karaoke.later")} title=${t("karaoke.later")} onClick=${() => settings.shift(1)}>
        +${OFFSET_STEP_MS}
      </button>
    </div>
    ${children}
  </div>`;
}

/**
 * @param {{ label: string, value: import("@preact/signals").Signal<number>,
 *   range: { least: number, most: number, step: number }, text: (value: number) => string }} properties
 */
function Setting({ label, value, range, text }) {
  return html`<label class="setting">
    <span>${label} <output>${text(value.value)}</output></span>
    <${Fader} label=${label} value=${value} ...${range} text=${text} />
  </label>`;
}

/** @param {number} ms */
function offsetText(ms) {
  const words = t("karaoke.offset");
  if (ms === 0) return `${words} ${t("karaoke.offset.on")}`;
  const text = t(ms > 0 ? "karaoke.offset.later" : "karaoke.offset.sooner", { ms: Math.abs(ms) });
  return `${words} ${text}`;
}

/** @param {number} semitones */
function signed(semitones) {
  return semitones > 0 ? `+${semitones}` : String(semitones).replace("-", "−");
}
