/** Interruptions of a microphone, such as a call: phones report no end then, and no sound comes. */

const PATIENCE_MS = 2000;

/**
 * Ask for the sound again whenever that may help, and tell when it is missing, and when it is back.
 * @param {AudioContext} context
 * @param {MediaStreamTrack} track
 * @param {(isInterrupted: boolean) => void} tell
 * @returns {() => void} ends this
 */
export function watchInterruptions(context, track, tell) {
  let timer = 0;
  let isTold = false;
  const say = (/** @type {boolean} */ isInterrupted) => {
    if (isTold === isInterrupted) return;
    isTold = isInterrupted;
    tell(isInterrupted);
  };
  const look = () => {
    clearTimeout(timer);
    const isRunning = context.state === "running";
    // Refused during a call; its end is an event, too.
    if (!isRunning) context.resume().catch(() => {});
    if (isRunning && !track.muted) say(false);
    else timer = setTimeout(() => say(true), PATIENCE_MS);
  };
  const ended = new AbortController();
  const { signal } = ended;
  context.addEventListener("statechange", look, { signal });
  for (const kind of ["mute", "unmute"]) track.addEventListener(kind, look, { signal });
  document.addEventListener("visibilitychange", look, { signal });
  look();
  return () => {
    clearTimeout(timer);
    ended.abort();
  };
}
