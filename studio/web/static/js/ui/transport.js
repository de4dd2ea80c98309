/** Play, position, speed, key and loop. */
import { KEYS, SPEEDS } from "../data/mix.js";
import { t } from "../words.js";
import { clock, number } from "./format.js";
import { html } from "./html.js";
import { Fader } from "./lane.js";

/** @param {{ player: import("../audio/stem_player.js").StemPlayer, children?: any }} properties */
export function Transport({ player, children }) {
  const { mix } = player;
  const label = player.isPlaying.value ? t("mixer.pause") : t("mixer.play");
  return html`<div class="card transport">
    <button class="primary" aria-label=${label} title=${label} onClick=${() => player.toggle()}>
      ${player.isPlaying.value ? "❚❚" : "▶"}
    </button>
    <span class="times"><span data-clock>0:00</span> / ${clock(player.durationS.value)}</span>
    <label class="setting">
      <span>${t("mixer.speed")} <output>${number(mix.speed.value, 2)}×</output></span>
      <${Fader}
        label=${t("mixer.speed")}
        value=${mix.speed}
        least=${SPEEDS.least}
        most=${SPEEDS.most}
        step=${SPEEDS.step}
        text=${(/** @type {number} */ value) => `${number(value, 2)}×`}
      />
    </label>
    <label class="setting">
      <span>${t("mixer.key")} <output>${signed(mix.key.value)}</output></span>
      <${Fader}
        label=${t("mixer.key")}
        value=${mix.key}
        least=${KEYS.least}
        most=${KEYS.most}
        step=${KEYS.step}
        text=${signed}
      />
    </label>
    <${Loop} player=${player} />
    ${children}
    ${player.keyShift.hasFailed.value && html`<p class="bad" role="alert">${t("mixer.key.failed")}</p>`}
  </div>`;
}

/** @param {{ player: import("../audio/stem_player.js").StemPlayer }} properties */
function Loop({ player }) {
  const { mix } = player;
  return html`<div class="row" role="group" aria-label=${t("mixer.loop")}>
    <button aria-label=${t("mixer.loop.from")} title=${t("mixer.loop.from")} onClick=${() => startLoop(player)}>
      A
    </button>
    <button aria-label=${t("mixer.loop.to")} title=${t("mixer.loop.to")} onClick=${() => endLoop(player)}>
      B
    </button>
    <button disabled=${!mix.hasLoop} onClick=${() => clearLoop(player)}>${t("mixer.loop.off")}</button>
  </div>`;
}

/** @typedef {import("../audio/stem_player.js").StemPlayer} StemPlayer */

/** @param {StemPlayer} player */
export function startLoop({ mix, positionS }) {
  mix.loopFrom.value = positionS;
}

/** @param {StemPlayer} player */
export function endLoop({ mix, positionS }) {
  if (Number.isNaN(mix.loopFrom.value)) mix.loopFrom.value = 0;
  mix.loopTo.value = positionS;
}

/** @param {StemPlayer} player */
export function clearLoop({ mix }) {
  mix.loopFrom.value = NaN;
  mix.loopTo.value = NaN;
}

/** @param {number} semitones */
function signed(semitones) {
  return semitones > 0 ? `+${semitones}` : String(semitones).replace("-", "−");
}
