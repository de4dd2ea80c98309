/** The words of a live session: final ones, and the ones that may still change. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { partsOf } from "../data/live_text.js";
import { t } from "../words.js";
import { number } from "./format.js";
import { html } from "./html.js";

/** Whoever is this close to the end follows it. */
const END_PX = 8;

/** @typedef {{ text: import("../data/live_text.js").LiveText, follow: () => void }} Part */

/** Shows the newest words, unless somebody has scrolled back. @param {{ text: import("../data/live_text.js").LiveText }} properties */
export function LiveLines({ text }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const isAtEnd = useRef(true);
  const scrolled = (/** @type {any} */ event) => {
    const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight <= END_PX;
  };
  const follow = () => {
    if (isAtEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  };
  return html`<div
    class="live-lines"
    role="log"
    aria-live="polite"
    tabindex="0"
    aria-label=${t("live.text")}
    ref=${box}
    onScroll=${scrolled}
  >
    <${Finals} text=${text} follow=${follow} />
    <${Interim} text=${text} follow=${follow} />
  </div>`;
}

/** @param {Part} properties */
function Finals({ text, follow }) {
  useLayoutEffect(follow);
  const lines = text.finals.value;
  const isEmpty = lines.length === 0 && text.interim.value === null;
  return html`${isEmpty && html`<p class="muted">${t("live.text.empty")}</p>`}
  ${lines.map((line, n) => html`<${Line} key=${n} line=${line} />`)}`;
}

/** Screen readers read final words only. @param {Part} properties */
function Interim({ text, follow }) {
  useLayoutEffect(follow);
  const line = text.interim.value;
  if (!line) return null;
  return html`<p class="interim" dir="auto" aria-hidden="true">
    ${partsOf(line).map((part) => html`<span class=${part.isStable ? "stable" : null}>${part.text}</span>`)}
  </p>`;
}

/** @param {{ line: import("../data/live_text.js").Line }} properties */
function Line({ line }) {
  return html`<p class="final" dir="auto">
    ${partsOf(line).map(({ text, word }) => (word ? html`<span title=${titleOf(word)}>${text}</span>` : text))}
  </p>`;
}

/** @param {import("../data/live_text.js").Line["words"][number]} word */
function titleOf({ start, end, probability }) {
  return `${number(start, 2)} – ${number(end, 2)} s, ${number(100 * probability)} %`;
}
