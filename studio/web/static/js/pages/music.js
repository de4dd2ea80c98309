/** Makes music from a description. */
import { signal } from "@preact/signals";
import { Composer } from "../ui/composer.js";
import { html } from "../ui/html.js";
import { More, STEP } from "../ui/more.js";
import { useTitle } from "../ui/title.js";
import { TuneCard } from "../ui/tune_card.js";
import { useKept } from "../ui/use_kept.js";
import { tunes } from "../data/tunes.js";
import { t } from "../words.js";

const count = signal(STEP);

export function Music() {
  useTitle(t("music.title"));
  const draft = useKept("studio.prompt", { prompt: "", seed: "" });
  return html`<h1>${t("music.title")}</h1>
    <${Composer} draft=${draft} />
    <section class="list" aria-labelledby="tunes-title">
      <h2 id="tunes-title">${t("music.made")}</h2>
      ${tunes.value.length === 0 && html`<p class="muted">${t("music.empty")}</p>`}
      <${More}
        items=${tunes.value}
        count=${count}
        render=${(/** @type {import("../data/tunes.js").Tune} */ tune) => html`<li key=${tune.song.id}>
          <${TuneCard}
            tune=${tune}
            onAgain=${(/** @type {any} */ again) => {
              draft.value = again;
              document.getElementById("prompt")?.focus();
            }}
          />
        </li>`}
      />
    </section>`;
}
