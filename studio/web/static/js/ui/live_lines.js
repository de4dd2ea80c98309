/** The words of a live session: final ones, and the ones that may still change. */
import { partsOf } from "../data/live_text.js";
import { t } from "../words.js";
import { number } from "./format.js";
import { html } from "./html.js";

/** @param {{ text: import("../data/live_text.js").LiveText }} properties */
export function LiveLines({ text }) {
  return html`<div class="live-lines" role="log" aria-live="polite" tabindex="0" aria-label=${t("live.text")} dir="auto">
    <${Finals} text=${text} />
    <${Interim} text=${text} />
  </div>`;
}

/** @param {{ text: import("../data/live_text.js").LiveText }} properties */
function Finals({ text }) {
  const lines = text.finals.value;
  const isEmpty = lines.length === 0 && text.interim.value === null;
  return html`${isEmpty && html`<p class="muted">${t("live.text.empty")}</p>`}
  ${lines.map((line, n) => html`<${Line} key=${n} line=${line} />`)}`;
}

/** Screen readers read final words only. @param {{ text: import("../data/live_text.js").LiveText }} properties */
function Interim({ text }) {
  const line = text.interim.value;
  if (!line) return null;
  return html`<p class="interim" aria-hidden="true" ref=${(/** @type {Element | null} */ end) => end?.scrollIntoView({ block: "nearest" })}>
    ${partsOf(line).map((part) => html`<span class=${part.isStable ? "stable" : null}>${part.text}</span>`)}
  </p>`;
}

/** @param {{ line: import("../data/live_text.js").Line }} properties */
function Line({ line }) {
  return html`<p class="final">
    ${partsOf(line).map(({ text, word }) => (word ? html`<span title=${titleOf(word)}>${text}</span>` : text))}
  </p>`;
}

/** @param {import("../data/live_text.js").Line["words"][number]} word */
function titleOf({ start, end, probability }) {
  return `${number(start, 2)} – ${number(end, 2)} s, ${number(100 * probability)} %`;
}
