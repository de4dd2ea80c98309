/** The frame of all pages: the header, the page of the address, and messages. */
import { useEffect, useRef } from "preact/hooks";
import { lazyPage } from "./ui/lazy_page.js";
import { Home } from "./pages/home.js";
import { route } from "./route.js";
import { html } from "./ui/html.js";
import { KeyDialog } from "./ui/key_dialog.js";
import { useTitle } from "./ui/title.js";
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
  const { page, id } = route.value;
  const Page = PAGES[page] ?? Missing;
  const main = useFocusOnChange(page, id);
  return html`<${Header} />
    <main tabindex="-1" ref=${main}><${Page} key=${id} id=${id} /></main>
    <${Toasts} />
    <${KeyDialog} />`;
}

/** Give an element the focus when another page is shown, as browsers do. @param {string} page @param {string} id */
function useFocusOnChange(page, id) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current) element.current?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [page, id]);
  return element;
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
  useTitle(t("missing"));
  return html`<h1>${t("missing")}</h1>
    <p><a class="button" href="/studio">${t("missing.home")}</a></p>`;
}
