/** The first page: files to drop, uploads, and the songs with what was made of them. */
import { signal, useComputed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { returns } from "../data/connection.js";
import { isListed, isStored, listError, loadAll, loadMore, nextPage, quota, songs } from "../data/songs.js";
import { upload, uploads } from "../data/uploads.js";
import { DropZone } from "../ui/drop_zone.js";
import { bytes, number } from "../ui/format.js";
import { html } from "../ui/html.js";
import { More, STEP } from "../ui/more.js";
import { SongCard } from "../ui/song_card.js";
import { useTitle } from "../ui/title.js";
import { UploadCard } from "../ui/upload_card.js";
import { t } from "../words.js";

/** Shorter lists need no search. */
const SEARCHED_SONGS = 5;

// Both outlive the page, for those who come back to it.
const search = signal("");
const count = signal(STEP);

export function Home() {
  useTitle();
  const shown = useComputed(() => {
    const wanted = search.value.trim().toLocaleLowerCase();
    return songs.value.filter((song) => song.name.toLocaleLowerCase().includes(wanted));
  });
  const back = returns.value;
  const hasSongs = songs.value.length > 0;
  useEffect(() => {
    if (!hasSongs) void loadMore();
  }, [back, hasSongs]);

  const find = (/** @type {any} */ event) => {
    search.value = event.currentTarget.value;
    void loadAll();
  };
  const isEmpty = songs.value.length === 0 && nextPage.value === null;
  return html`<h1 class="hidden-text">Audio Studio</h1>
    <${DropZone} onFiles=${upload} />
    ${uploads.value.length > 0 &&
    html`<ul class="list" aria-live="polite">
      ${uploads.value.map((one) => html`<li key=${one}><${UploadCard} upload=${one} /></li>`)}
    </ul>`}
    <section class="list" aria-labelledby="songs-title">
      <div class="row">
        <h2 id="songs-title" class="wide">${t("songs.title")}</h2>
        ${(songs.value.length > SEARCHED_SONGS || search.value !== "") &&
        html`<input
          class="wide"
          type="search"
          aria-label=${t("songs.search")}
          placeholder=${t("songs.search")}
          value=${search.value}
          onInput=${find}
        />`}
      </div>
      <${Quota} />
      ${listError.value && html`<p class="notice error" role="alert">${listError.value}</p>`}
      ${isEmpty && html`<p class="muted">${t("songs.none")}</p>`}
      ${songs.value.length > 0 && shown.value.length === 0 && html`<p>${t("songs.nomatch")}</p>`}
      <${More}
        items=${shown.value}
        render=${(/** @type {any} */ song) => html`<li key=${song.id}><${SongCard} song=${song} /></li>`}
        count=${count}
        onMore=${songs.value.length > 0 && nextPage.value !== null ? loadMore : null}
      />
      ${songs.value.length > 0 && !isListed && html`<p class="muted">${t(isStored.value ? "songs.kept" : "songs.lost")}</p>`}
    </section>`;
}

function Quota() {
  const { used_bytes: used, max_bytes: most, worked_min: worked, max_min: limit } = quota.value ?? {};
  const parts = [];
  if (most) parts.push(t("quota.bytes", { used: bytes(used), most: bytes(most) }));
  if (limit) parts.push(t("quota.minutes", { used: number(worked), most: number(limit) }));
  return parts.length > 0 && html`<p class="muted">${t("quota")} ${parts.join(", ")}</p>`;
}
