/** Pages whose modules are loaded when they are first shown. */
import { useEffect, useState } from "preact/hooks";
import { t } from "../words.js";
import { html } from "./html.js";

/** @param {() => Promise<any>} load */
export function lazyPage(load) {
  /** @type {any} */
  let known = null;
  return function Lazy(/** @type {object} */ properties) {
    const [Page, setPage] = useState(() => known);
    useEffect(() => {
      if (known) return;
      load().then(
        (loaded) => {
          known = loaded;
          setPage(() => loaded);
        },
        () => setPage(() => Failed),
      );
    }, []);
    return Page ? html`<${Page} ...${properties} />` : html`<p class="starting">…</p>`;
  };
}

/** A module could not be loaded: the server is away, or has another version since an update. */
function Failed() {
  return html`<p class="notice error row" role="alert">
    <span class="wide">${t("page.failed")}</span>
    <button onClick=${() => location.reload()}>${t("page.reload")}</button>
  </p>`;
}
