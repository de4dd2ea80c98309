/** What would be lost if the page were closed or loaded again; the browser asks before it does that. */

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
