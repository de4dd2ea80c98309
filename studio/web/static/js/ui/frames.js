/** Work for every frame of the screen. */
import { useEffect } from "preact/hooks";

/** @param {() => void} show @param {unknown[]} inputs */
export function useFrames(show, inputs) {
  useEffect(() => {
    let frame = 0;
    const tick = () => {
      show();
      frame = requestAnimationFrame(tick);
    };
    tick();
    return () => cancelAnimationFrame(frame);
  }, inputs);
}
