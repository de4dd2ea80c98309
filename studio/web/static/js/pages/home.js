/** The first page: files to drop, uploads, and the songs with what was made of them. */
import { useComputed, useSignal } from "@preact/signals";
import { songs } from "../data/songs.js";
import { upload, uploads } from "../data/uploads.js";
import { DropZone } from "../ui/drop_zone.js";
import { html } from "../ui/html.js";
import { SongCard } from "../ui/song_card.js";
import { UploadCard } from "../ui/upload_card.js";
import { t } from "../words.js";

export function Home() {
  const search = useSignal("");
  const shown = useComputed(() => {
    const wanted = search.value.trim().toLocaleLowerCase();
    return songs.value.filter((song) => song.name.toLocaleLowerCase().includes(wanted));
  });
  return html`<h1 class="hidden-text">Audio Studio</h1>
    <${DropZone} onFiles=${upload} />
    ${uploads.value.length > 0 &&
    html`<ul class="list" aria-live="polite">
      ${uploads.value.map((one) => html`<li><${UploadCard} key=${one} upload=${one} /></li>`)}
    </ul>`}
    <section class="list" aria-labelledby="songs-title">
      <div class="row">
        <h2 id="songs-title" class="wide">${t("songs.title")}</h2>
        ${songs.value.length > 5 &&
        html`<input
          class="wide"
          type="search"
          aria-label=${t("songs.search")}
          placeholder=${t("songs.search")}
          onInput=${(/** @type {any} */ event) => (search.value = event.currentTarget.value)}
        />`}
      </div>
      ${songs.value.length === 0 && html`<p class="muted">${t("songs.none")}</p>`}
      ${songs.value.length > 0 && shown.value.length === 0 && html`<p>${t("songs.nomatch")}</p>`}
      <ul class="list">
        ${shown.value.map((song) => html`<li key=${song.id}><${SongCard} song=${song} /></li>`)}
      </ul>
      ${songs.value.length > 0 && html`<p class="muted">${t("songs.kept")}</p>`}
    </section>`;
}
