/** A picture of a song: its waveform; after a separation, with the voice in another colour. */
import { useEffect, useRef, useState } from "preact/hooks";
import { peaksOf, peaksOfUpload } from "../data/peaks.js";
import { drawPeaks, onRedraw } from "./draw_peaks.js";
import { html } from "./html.js";

/** The voice is drawn last. @param {string} a @param {string} b */
const voiceLast = (a, b) => Number(a === "vocals") - Number(b === "vocals");

/** @param {{ id: string, stems: string[] | null, durationS: number }} properties `stems` is null until it is known */
export function SongPicture({ id, stems, durationS }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [layers, setLayers] = useState(/** @type {any[] | null} */ (null));

  useEffect(() => {
    if (stems === null) return;
    const width = (canvas.current?.clientWidth ?? 0) / 2;
    const ordered = [...stems].sort(voiceLast);
    const parts = ordered.map((name) => peaksOf(id, name, durationS, width));
    Promise.all(parts.length > 0 ? parts : [peaksOfUpload(id, durationS, width)]).then(
      (peaks) => setLayers(peaks.map((one, n) => ({ peaks: one, name: ordered[n] }))),
      () => {},
    );
  }, [id, stems?.join()]);

  useEffect(() => {
    const target = canvas.current;
    if (!target || layers === null) return undefined;
    const top = Math.max(...layers.map(({ peaks }) => peaks.top));
    return onRedraw(target, () => {
      target.width = 0;
      for (const { peaks, name } of layers) {
        drawPeaks(target, peaks, durationS, top, name === "vocals" ? "--accent" : "--wave");
      }
    });
  }, [layers]);

  return html`<canvas ref=${canvas} class="picture" aria-hidden="true"></canvas>`;
}
