/** Live transcription: the microphone or a file, and the words as they are understood. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { languages } from "../data/languages.js";
import { recording, text } from "../data/live.js";
import { html } from "../ui/html.js";
import { LiveFiles } from "../ui/live_files.js";
import { LiveLines } from "../ui/live_lines.js";
import { LiveNumbers } from "../ui/live_numbers.js";
import { useTitle } from "../ui/title.js";
import { useModel } from "../ui/use_model.js";
import { VariantChoice } from "../ui/variant_choice.js";
import { number } from "../ui/format.js";
import { t } from "../words.js";

export function Live() {
  useTitle(t("live.title"));
  const { model, variant, error: failure } = useModel("whisper");
  const language = useSignal("");

  useEffect(() => {
    // What was said until now is still written down.
    return () => {
      if (recording.isBusy.value) void recording.finish();
    };
  }, []);

  const isBusy = recording.isBusy.value;
  const settings = () => ({ variant: variant.value, language: language.value || null });
  const session = recording.session.value;
  const interruption = recording.isInterrupted.value && t("live.microphone.interrupted");
  const error = failure || recording.problem.value || session?.error.value || interruption;
  return html`<h1>${t("live.title")}</h1>
    <section class="card live-input">
      <div class="fields">
        ${model && html`<${VariantChoice} variants=${model.variants} value=${variant} disabled=${isBusy} />`}
        <label>
          ${t("live.language")}
          <select
            disabled=${isBusy}
            value=${language.value}
            onChange=${(/** @type {any} */ event) => (language.value = event.currentTarget.value)}
          >
            <option value="">${t("live.language.any")}</option>
            ${languages().map(({ code, name }) => html`<option key=${code} value=${code}>${name}</option>`)}
          </select>
        </label>
      </div>
      <div class="row">
        <${StartButton} isReady=${model !== null} onStart=${() => recording.listen(settings())} />
        <${FileButton}
          isOff=${isBusy || !model}
          onFile=${(/** @type {File} */ file) => recording.play(file, settings())}
        />
        <span class="muted" role="status">${stateOf(session)}</span>
      </div>
      <${LiveNumbers} session=${session} />
      ${error && html`<p class="notice error" role="alert" dir="auto">${error}</p>`}
    </section>
    <section class="card live-text" aria-labelledby="text-title">
      <h2 id="text-title">${t("live.text")}</h2>
      <${LiveLines} text=${text} />
      <${LiveFiles} text=${text} />
    </section>`;
}

/** @param {import("../data/live_session.js").LiveSession | null} session */
function stateOf(session) {
  const state = session?.state.value ?? "ended";
  if (state === "ended") {
    const lostS = session?.lostS.value ?? 0;
    return lostS < 1 ? t("live.state.idle") : t("live.lost", { seconds: number(lostS) });
  }
  return t(`live.state.${state}`);
}

/**
 * Starts and stops. It is one button, and never `disabled`, so that the keyboard focus stays.
 * @param {{ isReady: boolean, onStart: () => void }} properties
 */
function StartButton({ isReady, onStart }) {
  const isBusy = recording.isBusy.value;
  const isOff = isBusy ? recording.isEnding.value : !isReady;
  const press = () => {
    if (isOff) return;
    if (isBusy) void recording.finish();
    else onStart();
  };
  // A key that is held down would start and stop in turn.
  const pressKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.repeat && event.key === "Enter") event.preventDefault();
  };
  return html`<button class="primary" aria-disabled=${isOff} onClick=${press} onKeyDown=${pressKey}>
    ${t(isBusy ? "live.stop" : "live.microphone")}
  </button>`;
}

/** @param {{ isOff: boolean, onFile: (file: File) => void }} properties */
function FileButton({ isOff, onFile }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const choose = () => {
    const file = input.current?.files?.[0];
    if (file) onFile(file);
    if (input.current) input.current.value = "";
  };
  return html`<input
      ref=${input}
      id="live-file"
      type="file"
      class="hidden-text"
      accept="audio/*,video/*"
      tabindex="-1"
      aria-hidden="true"
      onChange=${choose}
    />
    <button aria-disabled=${isOff} onClick=${() => isOff || input.current?.click()}>${t("live.file")}</button>`;
}
