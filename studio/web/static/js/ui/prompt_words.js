/** The vocabulary of a model that knows few words, as switches that write the prompt. */
import { PHRASES, hasPhrase, withPhrase } from "../data/prompts.js";
import { named, t } from "../words.js";
import { html } from "./html.js";

/** @param {{ prompt: string, onChange: (prompt: string) => void }} properties */
export function PromptWords({ prompt, onChange }) {
  const subjects = /** @type {(keyof typeof PHRASES)[]} */ (Object.keys(PHRASES));
  return html`<fieldset class="vocabulary">
    <legend>${t("music.words")}</legend>
    ${subjects.map(
      (subject) => html`<div role="group" aria-label=${named("music.words", subject)}>
        <span class="muted" aria-hidden="true">${named("music.words", subject)}</span>
        <div class="row" lang="en">
          ${PHRASES[subject].map(
            (phrase) => html`<button
              type="button"
              aria-pressed=${hasPhrase(prompt, phrase)}
              onClick=${() => onChange(withPhrase(prompt, subject, phrase))}
            >
              ${phrase}
            </button>`,
          )}
        </div>
      </div>`,
    )}
  </fieldset>`;
}
