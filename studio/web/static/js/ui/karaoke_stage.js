/** The words of a song: the line that is sung, filled as it is sung, and the next. */
import { useRef } from "preact/hooks";
import { rowAt, sungShare } from "../data/karaoke_rows.js";
import { t } from "../words.js";
import { useFrames } from "./frames.js";
import { html } from "./html.js";

/** A pause of this length is counted down at its end. */
const COUNT_S = 3;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** @typedef {import("../data/karaoke_rows.js").Row} Row */

/**
 * @param {{ rows: Row[], at: import("@preact/signals").Signal<number>, language: string,
 *   timeS: () => number }} properties `at` is set to the row that is shown
 */
export function KaraokeStage({ rows, at, language, timeS }) {
  const stage = useRef(/** @type {HTMLElement | null} */ (null));
  useFrames(() => {
    const nowS = timeS();
    const n = rowAt(rows, nowS);
    if (n !== at.value) at.value = n;
    if (stage.current) sweep(stage.current, rows[n], n === 0 ? -COUNT_S : (rows[n - 1]?.end_s ?? 0), nowS);
  }, [rows]);

  const [row, next] = [rows[at.value], rows[at.value + 1]];
  return html`<div class="stage" ref=${stage} role="region" aria-label=${t("karaoke.stage")} lang=${language}>
    <p class="count" aria-hidden="true"><i></i><i></i><i></i></p>
    <p class="sung" dir="auto" data-row=${at.value}>
      ${row?.words.map(
        (word, w) => html`${w > 0 && /^\s/.test(word.text) ? " " : ""}<span
            class=${word.isRightToLeft ? "sung-word from-right" : "sung-word"}
            >${word.text.trim()}</span
          >`,
      )}
    </p>
    <p class="soon" dir="auto">${next?.words.map((word) => word.text).join("").trim()}</p>
  </div>`;
}

/**
 * Show what has been sung of a row, and how long it is until its start.
 * @param {HTMLElement} stage
 * @param {Row | undefined} row
 * @param {number} beforeS when the row before ends
 * @param {number} nowS
 */
function sweep(stage, row, beforeS, nowS) {
  const spans = stage.querySelectorAll(".sung-word");
  // The row is drawn after this frame.
  if (row && spans.length === row.words.length) {
    row.words.forEach((word, w) => {
      const share = sungShare(word, nowS);
      const shown = String(calm.matches ? Math.ceil(share) : Math.round(share * 1000) / 1000);
      const span = /** @type {HTMLElement} */ (spans[w]);
      if (span.style.getPropertyValue("--sung") !== shown) span.style.setProperty("--sung", shown);
    });
  }
  const waitS = row ? row.start_s - nowS : 0;
  const isCounted = row && row.start_s - beforeS >= COUNT_S && waitS > 0 && waitS <= COUNT_S;
  const count = isCounted ? String(Math.ceil(waitS)) : "0";
  if (stage.dataset.count !== count) stage.dataset.count = count;
}
