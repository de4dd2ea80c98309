/** Plays a part of a song. */
import { useEffect, useRef } from "preact/hooks";
import { useFrames } from "./frames.js";

/** Its own jump may be reported this late. */
const LATE_S = 0.5;

/**
 * A function that plays a part of the song and stops at its end, unless somebody pauses or seeks before.
 * @param {import("../audio/media_player.js").MediaPlayer} player
 */
export function usePart(player) {
  const part = useRef({ fromS: 0, toS: Infinity });
  useFrames(() => {
    if (player.positionS >= part.current.toS) player.pause();
  }, [player]);
  useEffect(() => {
    const { media } = player;
    const leave = () => {
      part.current.toS = Infinity;
    };
    const sought = () => {
      const byS = player.timeS - part.current.fromS;
      if (byS < 0 || byS > LATE_S) leave();
    };
    media.addEventListener("pause", leave);
    media.addEventListener("seeking", sought);
    return () => {
      media.removeEventListener("pause", leave);
      media.removeEventListener("seeking", sought);
    };
  }, [player]);
  return (/** @type {number} */ fromS, /** @type {number} */ toS) => {
    part.current = { fromS, toS };
    player.seek(fromS);
    void player.play();
  };
}
