/** The waveform of a stem. */
import { useEffect, useRef } from "preact/hooks";
import { drawPeaks, onRedraw } from "./draw_peaks.js";
import { html } from "./html.js";

/** @param {{ peaks: import("../data/peaks.js").Peaks | undefined, durationS: number, top: number }} properties */
export function Waveform({ peaks, durationS, top }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));

  useEffect(() => {
    const target = canvas.current;
    if (!target || !peaks) return undefined;
    return onRedraw(target, () => {
      target.width = 0;
      drawPeaks(target, peaks, durationS, top, "--wave");
    });
  }, [peaks, durationS, top]);

  return html`<canvas ref=${canvas} class="wave" aria-hidden="true"></canvas>`;
}
