/** The form that describes music: prompt, model, duration, and what to begin from. */
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../data/api.js";
import { returns } from "../data/connection.js";
import { EXAMPLES, EXAMPLES_OF_MINI, unknownWords } from "../data/prompts.js";
import { loadMore, songs } from "../data/songs.js";
import { make, tunes } from "../data/tunes.js";
import { t } from "../words.js";
import { html } from "./html.js";
import { PromptWords } from "./prompt_words.js";
import { useModel } from "./use_model.js";
import { VariantChoice } from "./variant_choice.js";

const MAX_CHARACTERS = 2000;

/** @typedef {{ prompt: string, seed: string }} Draft */

/** @param {{ draft: import("@preact/signals").Signal<Draft> }} properties */
export function Composer({ draft }) {
  const { model, variant: chosen, error: failure } = useModel("musicgen");
  const [refusal, setRefusal] = useState("");
  const [isSending, setSending] = useState(false);

  useEffect(() => {
    if (songs.value.length === 0) void loadMore();
  }, [returns.value]);

  const variant = model?.variants.find((one) => one.name === chosen.value);
  const set = (/** @type {Partial<Draft>} */ changed) => (draft.value = { ...draft.value, ...changed });
  const submit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    setRefusal("");
    setSending(true);
    try {
      await make(draft.value.prompt, optionsOf(form));
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      setRefusal(problem.message);
    } finally {
      setSending(false);
    }
  };

  const { prompt, seed } = draft.value;
  const error = refusal || failure;
  return html`<form class="card composer" onSubmit=${submit}>
    <label for="prompt">${t("music.prompt")}</label>
    <textarea
      id="prompt"
      required
      dir="auto"
      maxlength=${MAX_CHARACTERS}
      value=${prompt}
      onInput=${(/** @type {any} */ event) => set({ prompt: event.currentTarget.value })}
    ></textarea>
    <${Unknown} words=${unknownWords(prompt, variant)} />
    ${variant?.words && html`<${PromptWords} prompt=${prompt} onChange=${(/** @type {string} */ text) => set({ prompt: text })} />`}
    <${Examples}
      texts=${variant?.words ? EXAMPLES_OF_MINI : EXAMPLES}
      onChoose=${(/** @type {string} */ text) => set({ prompt: text })}
    />
    ${model && html`<${VariantChoice} variants=${model.variants} value=${chosen} />`}
    <div class="fields">
      <label>${t("music.duration")}<input type="number" name="duration" min="1" max="300" defaultValue="10" required /></label>
      <label>
        ${t("music.variations")}
        <select name="variations">
          ${[1, 2, 3, 4].map((count) => html`<option value=${count}>${count}</option>`)}
        </select>
      </label>
      <label>
        ${t("music.seed")}
        <input
          type="number"
          name="seed"
          min="0"
          max=${2 ** 32 - 1}
          placeholder=${t("music.seed.any")}
          value=${seed}
          onInput=${(/** @type {any} */ event) => set({ seed: event.currentTarget.value })}
        />
      </label>
      <${SoundChoice} name="continue_from" label=${t("music.continue")} />
      ${variant?.takes_melody && html`<${SoundChoice} name="melody_from" label=${t("music.melody")} />`}
    </div>
    ${error && html`<p class="notice error" role="alert">${error}</p>`}
    <div class="row"><button class="primary" disabled=${isSending || !variant}>${t("music.start")}</button></div>
  </form>`;
}

/** The options of a job; what is left empty is the server's choice. @param {FormData} form */
function optionsOf(form) {
  /** @type {Record<string, string | number>} */
  const options = {};
  for (const name of ["model_variant", "continue_from", "melody_from"]) {
    const value = form.get(name);
    if (value) options[name] = String(value);
  }
  for (const name of ["duration", "variations", "seed"]) {
    const value = form.get(name);
    if (value) options[name] = Number(value);
  }
  return options;
}

/** @param {{ words: string[] }} properties */
function Unknown({ words }) {
  return html`<p class="warn" aria-live="polite" dir="auto">
    ${words.length > 0 && t("music.words.unknown", { words: words.join(", ") })}
  </p>`;
}

/** @param {{ texts: string[], onChoose: (text: string) => void }} properties */
function Examples({ texts, onChoose }) {
  return html`<details>
    <summary>${t("music.examples")}</summary>
    <div class="row">
      ${texts.map((text) => html`<button type="button" class="example" lang="en" onClick=${() => onChoose(text)}>${text}</button>`)}
    </div>
  </details>`;
}

/** A song of this browser, or music that was made in it. @param {{ name: string, label: string }} properties */
function SoundChoice({ name, label }) {
  const sounds = [
    ...tunes.value
      .filter(({ song }) => song.status.value?.status === "completed")
      .map(({ song, prompt }) => ({ id: song.id, text: prompt })),
    ...songs.value.map((song) => ({ id: song.id, text: song.name })),
  ];
  if (sounds.length === 0) return null;
  return html`<label>
    ${label}
    <select name=${name}>
      <option value="">${t("music.none")}</option>
      ${sounds.map(({ id, text }) => html`<option key=${id} value=${id}>${text}</option>`)}
    </select>
  </label>`;
}
