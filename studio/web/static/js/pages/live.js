/** Live transcription: the microphone or a file, and the words as they are understood. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../data/api.js";
import { languages } from "../data/languages.js";
import { recording, text } from "../data/live.js";
import { modelOf } from "../data/models.js";
import { html } from "../ui/html.js";
import { LiveFiles } from "../ui/live_files.js";
import { LiveLines } from "../ui/live_lines.js";
import { LiveNumbers } from "../ui/live_numbers.js";
import { useTitle } from "../ui/title.js";
import { VariantChoice } from "../ui/variant_choice.js";
import { number } from "../ui/format.js";
import { t } from "../words.js";

export function Live() {
  useTitle(t("live.title"));
  const [model, setModel] = useState(/** @type {import("../data/models.js").Model | null} */ (null));
  const [failure, setFailure] = useState("");
  const variant = useSignal("");
  const language = useSignal("");

  useEffect(() => {
    modelOf("whisper").then(
      (found) => {
        variant.value = found.default;
        setModel(found);
      },
      (problem) => {
        if (!(problem instanceof ApiError)) throw problem;
        setFailure(problem.message);
      },
    );
    // What was said until now is still written down.
    return () => {
      if (recording.isBusy.value) void recording.finish();
    };
  }, []);

  const isBusy = recording.isBusy.value;
  const settings = () => ({ variant: variant.value, language: language.value || null });
  const session = recording.session.value;
  const error = failure || recording.problem.value || session?.error.value;
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
        ${isBusy
          ? html`<button class="primary" disabled=${recording.isEnding.value} onClick=${() => recording.finish()}>
              ${t("live.stop")}
            </button>`
          : html`<button class="primary" disabled=${!model} onClick=${() => recording.listen(settings())}>
                ${t("live.microphone")}
              </button>
              <${FileButton} disabled=${!model} onFile=${(/** @type {File} */ file) => recording.play(file, settings())} />`}
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

/** @param {{ disabled: boolean, onFile: (file: File) => void }} properties */
function FileButton({ disabled, onFile }) {
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
    <button disabled=${disabled} onClick=${() => input.current?.click()}>${t("live.file")}</button>`;
}
