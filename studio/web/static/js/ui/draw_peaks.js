/** Draws waveforms on canvases. */

/**
 * Draw a waveform over what a canvas has, or on an empty canvas if its size has changed.
 * @param {HTMLCanvasElement} canvas
 * @param {import("../data/peaks.js").Peaks} peaks
 * @param {number} durationS of the whole width
 * @param {number} top the sample that reaches the edge, 1 to 128
 * @param {string} colour name of a custom property
 */
export function drawPeaks(canvas, peaks, durationS, top, colour) {
  const context = sized(canvas);
  if (!context) return;
  const { width, height } = canvas;
  context.fillStyle = getComputedStyle(canvas).getPropertyValue(colour);
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
    const upper = (0.5 - high / top / 2) * height;
    const lower = (0.5 - low / top / 2) * height;
    context.fillRect(x, Math.min(upper, height / 2 - 0.5), 1, Math.max(1, lower - upper));
  }
}

/**
 * The context of a canvas that has as many pixels as the screen has for it; null if it has none.
 * @param {HTMLCanvasElement} canvas
 */
export function sized(canvas) {
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(canvas.clientHeight * devicePixelRatio);
  if (width === 0 || height === 0) return null;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return canvas.getContext("2d");
}

/**
 * Draw now, and again when the size or the colours change, until the returned function is called.
 * @param {HTMLCanvasElement} canvas
 * @param {() => void} draw
 */
export function onRedraw(canvas, draw) {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  // It also reports the size at the beginning.
  const resized = new ResizeObserver(draw);
  resized.observe(canvas);
  scheme.addEventListener("change", draw);
  return () => {
    resized.disconnect();
    scheme.removeEventListener("change", draw);
  };
}
