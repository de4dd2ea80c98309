/** The words of the pages, by language. Server errors are shown as the server wrote them. */
import { signal } from "@preact/signals";
import { store } from "./data/stored.js";
import { KEY, TABLES, preferred } from "./words/tables.js";

/** @typedef {import("./words/tables.js").Language} Language */
/** @typedef {import("./words/tables.js").Word} Word */

/** @type {import("@preact/signals").Signal<Language>} */
export const language = signal(preferred());

/** @param {string} chosen */
export function speak(chosen) {
  language.value = /** @type {Language} */ (chosen);
  store(KEY, chosen);
  document.documentElement.lang = chosen;
}

/**
 * The text for a word, with `{name}` replaced by values.
 * @param {Word} word
 * @param {Record<string, string | number>} [values]
 */
export function t(word, values = {}) {
  const text = TABLES[language.value][word];
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** A word whose key is made at run time, such as that of a stage; the key itself if there is none.
 * @param {string} prefix
 * @param {string} name
 */
export function named(prefix, name) {
  const word = `${prefix}.${name}`;
  return word in TABLES.en ? t(/** @type {Word} */ (word)) : name.replaceAll("_", " ");
}

document.documentElement.lang = language.value;
