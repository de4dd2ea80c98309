/** A long list asks the server only for what is seen. */
import { useEffect, useRef } from "preact/hooks";
import { watch } from "../data/jobs.js";

/** Follow a song while an element is on the screen; the reference to it. @param {import("../data/songs.js").Song} song */
export function useWatchSeen(song) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    /** @type {(() => void) | null} */
    let leave = null;
    const seen = new IntersectionObserver((entries) => {
      const isSeen = entries.at(-1)?.isIntersecting ?? false;
      if (isSeen) leave ??= watch(song);
      else {
        leave?.();
        leave = null;
      }
    });
    if (element.current) seen.observe(element.current);
    return () => {
      seen.disconnect();
      leave?.();
    };
  }, [song]);
  return element;
}
