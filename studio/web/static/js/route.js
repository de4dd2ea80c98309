/** The address: which page is shown, and changes of it without a reload. */
import { effect, signal } from "@preact/signals";

/** Browsers limit how often the address may change. */
const ADDRESS_MS = 200;

/** @typedef {{ page: string, id: string }} Route */

/** @type {import("@preact/signals").Signal<Route>} */
export const route = signal(parse(location));

/**
 * @param {{ pathname: string }} address
 * @returns {Route}
 */
export function parse({ pathname }) {
  const [first = "studio", id = "", rest = ""] = pathname.split("/").filter(Boolean);
  if (first === "live" && id === "") return { page: "live", id };
  if (first !== "studio") return { page: "missing", id: "" };
  if (id === "") return { page: "home", id };
  if (id === "music" && rest === "") return { page: "music", id: "" };
  /** @type {Record<string, string>} */
  const pages = { "": "mixer", karaoke: "karaoke", transcript: "transcript" };
  return { page: pages[rest] ?? "missing", id };
}

/** @param {string} path */
export function go(path) {
  try {
    history.pushState(null, "", path);
  } catch {
    // Safari refuses too many changes in a short time.
    location.assign(path);
    return;
  }
  route.value = parse(location);
  scrollTo(0, 0);
}

/**
 * Keep values in the query of the address, without a new entry in the browser's history.
 * @param {Record<string, string | null>} values
 */
export function keepInAddress(values) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
}

/** Keeps values that change often in the query of the address, until it is closed. */
export class AddressKeeper {
  constructor() {
    this._pending = 0;
    this._isClosed = false;
  }

  /** @param {Record<string, string | null>} values */
  keep(values) {
    clearTimeout(this._pending);
    if (!this._isClosed) this._pending = setTimeout(() => keepInAddress(values), ADDRESS_MS);
  }

  close() {
    this._isClosed = true;
    clearTimeout(this._pending);
  }
}

/**
 * Keep values that change in the query of the address, until the returned function is called.
 * @param {() => Record<string, string | null>} values reads signals
 */
export function followInAddress(values) {
  const keeper = new AddressKeeper();
  const stop = effect(() => keeper.keep(values()));
  return () => {
    stop();
    keeper.close();
  };
}

addEventListener("popstate", () => {
  route.value = parse(location);
});

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  if (!link || !isPlain || link.target || link.hasAttribute("download")) return;
  const isOurs = link.pathname === "/" || /^\/(studio|live)(\/|$)/.test(link.pathname);
  if (link.origin !== location.origin || !isOurs) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
