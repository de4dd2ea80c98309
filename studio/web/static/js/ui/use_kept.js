/** What somebody is writing: it stays in the tab when the page is loaded again, as after an API key was entered. */
import { signal, useSignalEffect } from "@preact/signals";
import { useState } from "preact/hooks";
import { store, stored } from "../data/stored.js";

/**
 * A signal whose value is kept.
 * @template T
 * @param {string} key
 * @param {T} initial
 * @returns {import("@preact/signals").Signal<T>}
 */
export function useKept(key, initial) {
  const [value] = useState(() => signal(JSON.parse(stored(key, "sessionStorage") ?? "null") ?? initial));
  useSignalEffect(() => {
    store(key, value.value === initial ? null : JSON.stringify(value.value), "sessionStorage");
  });
  return value;
}
