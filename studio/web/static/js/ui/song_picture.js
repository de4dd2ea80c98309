/** A picture of a song: its waveform; after a separation, with the voice in another colour. */
import { useEffect, useRef, useState } from "preact/hooks";
import { returns } from "../data/connection.js";
import { peaksOf, peaksOfUpload } from "../data/peaks.js";
import { drawPeaks, onRedraw } from "./draw_peaks.js";
import { html } from "./html.js";

/** The voice is drawn last. @param {string} a @param {string} b */
const voiceLast = (a, b) => Number(a === "vocals") - Number(b === "vocals");

/** @param {{ id: string, stems: string[] | null, durationS: number }} properties `stems` is null until it is known */
export function SongPicture({ id, stems, durationS }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  /** @typedef {{ of: string, layers: any[] }} Picture */
  const [picture, setPicture] = useState(/** @type {Picture | null} */ (null));
  const wanted = stems?.join();

  useEffect(() => {
    if (stems === null || wanted === undefined || picture?.of === wanted) return undefined;
    const leaving = new AbortController();
    const width = (canvas.current?.clientWidth ?? 0) / 2;
    const ordered = [...stems].sort(voiceLast);
    const parts = ordered.map((name) => peaksOf(id, name, durationS, width, leaving.signal));
    Promise.all(parts.length > 0 ? parts : [peaksOfUpload(id, durationS, width, leaving.signal)]).then(
      (peaks) => setPicture({ of: wanted, layers: peaks.map((one, n) => ({ peaks: one, name: ordered[n] })) }),
      () => {},
    );
    return () => leaving.abort();
  }, [id, wanted, returns.value]);

  useEffect(() => {
    const target = canvas.current;
    if (!target || picture === null) return undefined;
    const { layers } = picture;
    const top = Math.max(...layers.map(({ peaks }) => peaks.top));
    return onRedraw(target, () => {
      target.width = 0;
      for (const { peaks, name } of layers) {
        drawPeaks(target, peaks, durationS, top, name === "vocals" ? "--accent" : "--wave");
      }
    });
  }, [picture]);

  return html`<canvas ref=${canvas} class="picture" aria-hidden="true"></canvas>`;
}
