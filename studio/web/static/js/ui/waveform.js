/** A waveform on a canvas, drawn once for each width. */
import { useEffect, useRef } from "preact/hooks";
import { peaksOf } from "../data/peaks.js";
import { html } from "./html.js";

/** @param {{ id: string, track: string, durationS: number }} properties */
export function Waveform({ id, track, durationS }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));

  useEffect(() => {
    const target = canvas.current;
    if (!target || durationS === 0) return undefined;
    /** @type {import("../data/peaks.js").Peaks | null} */
    let peaks = null;
    const redraw = () => peaks && draw(target, peaks, durationS);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const resized = new ResizeObserver(redraw);
    resized.observe(target);
    scheme.addEventListener("change", redraw);
    const width = target.clientWidth * devicePixelRatio;
    void peaksOf(id, track, durationS, width).then((loaded) => {
      peaks = loaded;
      redraw();
    }, () => {});
    return () => {
      resized.disconnect();
      scheme.removeEventListener("change", redraw);
    };
  }, [id, track, durationS]);

  return html`<canvas ref=${canvas} class="wave" aria-hidden="true"></canvas>`;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("../data/peaks.js").Peaks} peaks
 * @param {number} durationS
 */
function draw(canvas, peaks, durationS) {
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(canvas.clientHeight * devicePixelRatio);
  const context = canvas.getContext("2d");
  if (!context || width === 0) return;
  canvas.width = width;
  canvas.height = height;
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--wave");
  const pixels = peaks.values.length / 2;
  const perColumn = durationS / peaks.secondsPerPixel / width;
  for (let x = 0; x < width; x++) {
    const from = Math.floor(x * perColumn);
    const to = Math.min(pixels, Math.max(from + 1, Math.floor((x + 1) * perColumn)));
    let low = 0;
    let high = 0;
    for (let n = from; n < to; n++) {
      low = Math.min(low, peaks.values[2 * n] ?? 0);
      high = Math.max(high, peaks.values[2 * n + 1] ?? 0);
    }
    const top = ((127 - high) / 255) * height;
    const bottom = ((128 - low) / 255) * height;
    context.fillRect(x, top, 1, Math.max(1, bottom - top));
  }
}
