/** Mixes that are often wanted, with one press. */
import { t } from "../words.js";
import { trackName } from "./format.js";
import { html } from "./html.js";

const RHYTHM = ["drums", "bass"];

/** @param {{ mix: import("../data/mix.js").Mix }} properties */
export function Presets({ mix }) {
  const names = mix.stems.map((stem) => stem.name);
  const others = names.filter((name) => name !== "vocals");
  /** @type {[string, (name: string) => boolean][]} */
  const presets = [[t("mixer.all"), () => true]];
  if (names.includes("vocals")) {
    presets.push([t("mixer.karaoke"), (name) => name !== "vocals"]);
    presets.push([t("mixer.acappella"), (name) => name === "vocals"]);
  }
  for (const one of others) {
    presets.push([t("mixer.without", { name: trackName(one) }), (name) => name !== one]);
  }
  if (names.includes("bass")) presets.push([t("mixer.only", { name: trackName("bass") }), (name) => name === "bass"]);
  if (RHYTHM.every((name) => names.includes(name))) {
    presets.push([t("mixer.rhythm"), (name) => RHYTHM.includes(name)]);
  }
  return html`<div class="row" role="group" aria-label=${t("mixer.presets")}>
    ${presets.map(
      ([label, isHeard]) => html`<button
        key=${label}
        aria-pressed=${mix.isPreset(isHeard)}
        onClick=${() => mix.preset(isHeard)}
      >
        ${label}
      </button>`,
    )}
  </div>`;
}
