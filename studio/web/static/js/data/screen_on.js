/** Keeps the screen on. Browsers let it go off again when the page is hidden. */

/** Keep the screen on until the returned function is called. */
export function keepScreenOn() {
  let isWanted = true;
  /** @type {WakeLockSentinel | null} */
  let lock = null;
  const ask = () => {
    if (document.hidden || !navigator.wakeLock) return;
    navigator.wakeLock.request("screen").then(
      (held) => {
        if (isWanted) lock = held;
        else void held.release();
      },
      () => {},
    );
  };
  document.addEventListener("visibilitychange", ask);
  ask();
  return () => {
    isWanted = false;
    document.removeEventListener("visibilitychange", ask);
    void lock?.release();
  };
}
