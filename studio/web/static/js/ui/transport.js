/** Play, position, speed, key and loop. */
import { t } from "../words.js";
import { clock } from "./format.js";
import { html } from "./html.js";
import { Blocked, PlayButton, SeekSlider } from "./play_bar.js";
import { Key, Speed } from "./setting.js";

/**
 * @param {{ player: import("../audio/stem_player.js").StemPlayer, durationS: number,
 *   children?: any }} properties
 */
export function Transport({ player, durationS, children }) {
  return html`<div class="card transport">
    <${PlayButton} player=${player} />
    <span class="times"><span data-clock>0:00</span> / ${clock(durationS)}</span>
    <${SeekSlider} player=${player} />
    <${Speed} mix=${player.mix} />
    <${Key} mix=${player.mix} />
    <${Loop} player=${player} />
    ${children}
    <${Blocked} player=${player} />
    ${player.keyShift.problem.value && html`<p class="bad" role="alert">${player.keyShift.problem.value}</p>`}
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
