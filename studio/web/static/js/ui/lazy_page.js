/** Pages whose modules are loaded when they are first shown. */
import { useEffect, useState } from "preact/hooks";
import { html } from "./html.js";

/** @param {() => Promise<any>} load */
export function lazyPage(load) {
  /** @type {any} */
  let known = null;
  return function Lazy(/** @type {object} */ properties) {
    const [Page, setPage] = useState(() => known);
    useEffect(() => {
      if (known) return;
      void load().then((loaded) => {
        known = loaded;
        setPage(() => loaded);
      });
    }, []);
    return Page ? html`<${Page} ...${properties} />` : html`<p class="starting">…</p>`;
  };
}
