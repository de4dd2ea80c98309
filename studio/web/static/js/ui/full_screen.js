/** An element that fills the screen; where browsers do not allow that, the window. */
import { useEffect, useRef, useState } from "preact/hooks";
import { keepScreenOn } from "../data/screen_on.js";

/**
 * Whether it does, and a function that changes it.
 * @param {{ current: HTMLElement | null }} element
 * @returns {[boolean, () => void]}
 */
export function useFullScreen(element) {
  const [isFull, setFull] = useState(false);
  // Callers may keep the `toggle` of an earlier render.
  const latest = useRef(isFull);
  latest.current = isFull;
  useEffect(() => {
    const changed = () => setFull(document.fullscreenElement !== null);
    document.addEventListener("fullscreenchange", changed);
    return () => document.removeEventListener("fullscreenchange", changed);
  }, []);
  const toggle = () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (latest.current || !document.fullscreenEnabled) setFull(!latest.current);
    else element.current?.requestFullscreen().catch(() => setFull(true));
  };
  return [isFull, toggle];
}

/** Keep the screen on. @param {boolean} isWanted */
export function useScreenOn(isWanted) {
  useEffect(() => (isWanted ? keepScreenOn() : undefined), [isWanted]);
}
