/** The frame of all pages: the header, the page of the address, and messages. */
import { lazyPage } from "./ui/lazy_page.js";
import { Home } from "./pages/home.js";
import { route } from "./route.js";
import { html } from "./ui/html.js";
import { KeyDialog } from "./ui/key_dialog.js";
import { Toasts } from "./ui/toasts.js";
import { language, speak, t } from "./words.js";
import { LANGUAGES } from "./words/tables.js";

/** @type {Record<string, any>} */
const PAGES = {
  home: Home,
  mixer: lazyPage(() => import("./pages/mixer.js").then((module) => module.Mixer)),
  live: lazyPage(() => import("./pages/live.js").then((module) => module.Live)),
  music: lazyPage(() => import("./pages/music.js").then((module) => module.Music)),
  karaoke: lazyPage(() => import("./pages/karaoke.js").then((module) => module.Karaoke)),
  transcript: lazyPage(() => import("./pages/transcript.js").then((module) => module.Transcript)),
};

export function App() {
  const Page = PAGES[route.value.page] ?? Missing;
  return html`<${Header} />
    <main><${Page} key=${route.value.id} id=${route.value.id} /></main>
    <${Toasts} />
    <${KeyDialog} />`;
}

function Header() {
  const current = (/** @type {string} */ page) => (route.value.page === page ? "page" : null);
  return html`<header class="top">
    <a class="name" href="/studio">
      <img src=${new URL("../icon.svg", import.meta.url).pathname} alt="" width="28" height="28" />
      Audio Studio
    </a>
    <nav>
      <a href="/studio" aria-current=${current("home")}>${t("nav.studio")}</a>
      <a href="/studio/music" aria-current=${current("music")}>${t("nav.music")}</a>
      <a href="/live" aria-current=${current("live")}>${t("nav.live")}</a>
      <a href="/docs" target="_self">${t("nav.docs")}</a>
      <select
        aria-label=${t("nav.language")}
        value=${language.value}
        onChange=${(/** @type {any} */ event) => speak(event.currentTarget.value)}
      >
        ${Object.entries(LANGUAGES).map(
          ([code, name]) => html`<option value=${code} lang=${code}>${name}</option>`,
        )}
      </select>
    </nav>
  </header>`;
}

function Missing() {
  return html`<h1>${t("missing")}</h1>
    <p><a class="button" href="/studio">${t("missing.home")}</a></p>`;
}
