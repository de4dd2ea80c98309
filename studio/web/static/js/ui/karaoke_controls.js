/** What can be set while singing: the guide vocals, the key, the speed, and when words are shown. */
import { MAX_GUIDE, OFFSET_STEP_MS } from "../data/karaoke_settings.js";
import { t } from "../words.js";
import { number } from "./format.js";
import { html } from "./html.js";
import { Key, Setting, Speed } from "./setting.js";

/** @param {{ settings: import("../data/karaoke_settings.js").KaraokeSettings }} properties */
export function KaraokeControls({ settings }) {
  const { mix, guide } = settings;
  return html`<div class="karaoke-controls">
    <${Setting}
      label=${t("karaoke.guide")}
      value=${guide}
      range=${{ least: 0, most: MAX_GUIDE, step: 0.05 }}
      text=${(/** @type {number} */ value) => `${number(value * 100)} %`}
    />
    <${Key} mix=${mix} />
    <${Speed} mix=${mix} />
    <div class="row offset" role="group" aria-label=${t("karaoke.offset")}>
      <button aria-label=${t("karaoke.sooner")} title=${t("karaoke.sooner")} onClick=${() => settings.shift(-1)}>
        −${OFFSET_STEP_MS}
      </button>
      <output>${offsetText(settings.offsetMs.value)}</output>
      <button aria-label=${t("karaoke.later")} title=${t("karaoke.later")} onClick=${() => settings.shift(1)}>
        +${OFFSET_STEP_MS}
      </button>
    </div>
  </div>`;
}

/** @param {number} ms */
function offsetText(ms) {
  const words = t("karaoke.offset");
  if (ms === 0) return `${words} ${t("karaoke.offset.on")}`;
  const text = t(ms > 0 ? "karaoke.offset.later" : "karaoke.offset.sooner", { ms: Math.abs(ms) });
  return `${words} ${text}`;
}
