/** The lane of chords and beats, above the stems. */
import { useEffect, useRef } from "preact/hooks";
import { t } from "../words.js";
import { sized, onRedraw } from "./draw_peaks.js";
import { chord } from "./format.js";
import { html } from "./html.js";
import { TimeBox } from "./timeline.js";

const FONT_PX = 13;
/** Beats that are closer than this are not drawn. */
const MIN_BEAT_PX = 4;

/** @param {{ analysis: import("../data/analysis.js").Analysis, durationS: number }} properties */
export function ChordLane({ analysis, durationS }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));

  useEffect(() => {
    const target = canvas.current;
    if (!target) return undefined;
    return onRedraw(target, () => draw(target, analysis, durationS));
  }, [analysis, durationS]);

  return html`<li class="lane chord-lane">
    <div class="strip">
      <h2 class="ellipsis">${t("mixer.chords")}</h2>
      <span class="chord" data-chord></span>
    </div>
    <${TimeBox}><canvas ref=${canvas} class="wave" aria-hidden="true"></canvas><//>
  </li>`;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("../data/analysis.js").Analysis} analysis
 * @param {number} durationS
 */
function draw(canvas, { beats, chords }, durationS) {
  canvas.width = 0;
  const context = sized(canvas);
  if (!context) return;
  const scale = devicePixelRatio;
  const { width, height } = canvas;
  const x = (/** @type {number} */ seconds) => (seconds / durationS) * width;
  const colour = (/** @type {string} */ name) => getComputedStyle(canvas).getPropertyValue(name);
  const roots = [...new Set(chords.map((one) => one.name))];
  context.font = `600 ${FONT_PX * scale}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const one of chords) {
    if (one.name === "N") continue;
    const [left, right] = [x(one.start_s), x(one.end_s)];
    context.fillStyle = colour(roots.indexOf(one.name) % 2 === 0 ? "--accent-soft" : "--line");
    context.fillRect(left, 0, Math.max(1, right - left - scale), height);
    const text = chord(one.name);
    if (context.measureText(text).width + 6 * scale > right - left) continue;
    context.fillStyle = colour("--text");
    context.fillText(text, left + 4 * scale, height / 2);
  }
  const areClose = beats.length > 1 && width / beats.length < MIN_BEAT_PX * scale;
  context.fillStyle = colour("--muted");
  for (const { time_s: time, beat } of beats) {
    if (areClose && beat !== 1) continue;
    context.fillRect(x(time), height - (beat === 1 ? 10 : 5) * scale, scale, height);
  }
}
