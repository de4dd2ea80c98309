/** One stem of the mixer: its switches and faders. */
import { t } from "../words.js";
import { number, trackName } from "./format.js";
import { html } from "./html.js";
import { TimeBox } from "./timeline.js";
import { Waveform } from "./waveform.js";

/**
 * @param {{ id: string, stem: import("../data/mix.js").Stem, mix: import("../data/mix.js").Mix,
 *   durationS: number, peaks: import("../data/peaks.js").Peaks | undefined, top: number,
 *   format: string }} properties
 */
export function Lane({ id, stem, mix, durationS, peaks, top, format }) {
  const name = trackName(stem.name);
  const isSilent = mix.gain(stem) === 0;
  return html`<li class=${isSilent ? "lane silent" : "lane"} data-stem=${stem.name}>
    <div class="strip">
      <h2 class="ellipsis">${name}</h2>
      <button
        aria-pressed=${stem.isMuted.value}
        aria-label=${t("mixer.mute", { name })}
        title=${t("mixer.mute", { name })}
        onClick=${() => (stem.isMuted.value = !stem.isMuted.value)}
      >
        M
      </button>
      <button
        aria-pressed=${stem.isSolo.value}
        aria-label=${t("mixer.solo", { name })}
        title=${t("mixer.solo", { name })}
        onClick=${() => (stem.isSolo.value = !stem.isSolo.value)}
      >
        S
      </button>
      <div class="level" aria-hidden="true"><span data-meter=${stem.index}></span></div>
      <span class="hint" aria-hidden="true">${t("mixer.volume.short")}</span>
      <span class="hint" aria-hidden="true">${t("mixer.pan.short")}</span>
      <${Fader}
        label=${t("mixer.volume", { name })}
        value=${stem.volume}
        least=${0}
        most=${2}
        text=${(/** @type {number} */ value) => `${number(value * 100)} %`}
      />
      <${Fader}
        label=${t("mixer.pan", { name })}
        value=${stem.pan}
        least=${-1}
        most=${1}
        text=${(/** @type {number} */ value) => number(value * 100)}
      />
      <a
        class="button quiet"
        href=${`/download/${id}/${stem.name}?format=${format}`}
        download
        aria-label=${t("mixer.download", { name })}
        title=${t("mixer.download", { name })}
        >↓</a
      >
    </div>
    <${TimeBox}><${Waveform} peaks=${peaks} durationS=${durationS} top=${top} /><//>
  </li>`;
}

/**
 * A slider; a double click brings the middle back.
 * @param {{ label: string, value: import("@preact/signals").Signal<number>, least: number,
 *   most: number, step?: number, text: (value: number) => string }} properties
 */
export function Fader({ label, value, least, most, step = 0.05, text }) {
  return html`<input
    type="range"
    min=${least}
    max=${most}
    step=${step}
    value=${value.value}
    aria-label=${label}
    aria-valuetext=${text(value.value)}
    title=${`${label}: ${text(value.value)}`}
    onInput=${(/** @type {any} */ event) => (value.value = Number(event.currentTarget.value))}
    onDblClick=${() => (value.value = (least + most) / 2)}
  />`;
}
