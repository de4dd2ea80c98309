/** The end of the page: what would be lost, which the browser asks about, and what is done before it. */

/** @type {(() => boolean)[]} */
const risks = [];

/** Have the browser ask while something is at risk. @param {() => boolean} isAtRisk */
export function askWhile(isAtRisk) {
  risks.push(isAtRisk);
}

/** Whether something would be lost. */
export const wouldLose = () => risks.some((isAtRisk) => isAtRisk());

addEventListener("beforeunload", (event) => {
  if (wouldLose()) event.preventDefault();
});

/**
 * Do something whenever the page may end: phones end hidden pages without a further event.
 * @param {() => void} act
 * @param {boolean} [isEarly] before others do
 * @returns {() => void} stops that
 */
export function beforeEnd(act, isEarly = false) {
  const hide = () => {
    if (document.hidden) act();
  };
  addEventListener("pagehide", act, isEarly);
  addEventListener("visibilitychange", hide, isEarly);
  return () => {
    removeEventListener("pagehide", act, isEarly);
    removeEventListener("visibilitychange", hide, isEarly);
  };
}
