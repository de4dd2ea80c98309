/** The level of a live session, and how far the words are behind. */
import { t } from "../words.js";
import { number } from "./format.js";
import { html } from "./html.js";

/** @param {{ session: import("../data/live_session.js").LiveSession | null }} properties */
export function LiveNumbers({ session }) {
  const level = session?.level.value ?? 0;
  const latencyS = session?.latencyS.value ?? null;
  return html`<div
      class="meter"
      role="meter"
      aria-label=${t("live.level")}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${Math.round(100 * level)}
    >
      <span style=${`transform: scaleX(${level.toFixed(3)})`}></span>
    </div>
    <dl class="numbers">
      <${Figure} name="latency" label=${t("live.latency")} seconds=${latencyS} />
      <${Figure} name="sent" label=${t("live.sent")} seconds=${session?.sentS.value ?? 0} />
      <${Figure} name="pending" label=${t("live.pending")} seconds=${session?.pendingS.value ?? 0} />
      <${Figure} name="lag" label=${t("live.lag")} seconds=${session?.lagS.value ?? 0} />
    </dl>`;
}

/** @param {{ name: string, label: string, seconds: number | null }} properties */
function Figure({ name, label, seconds }) {
  const text = seconds === null ? "–" : t("live.seconds", { seconds: number(seconds, 1) });
  return html`<div>
    <dt>${label}</dt>
    <dd data-figure=${name}>${text}</dd>
  </div>`;
}
