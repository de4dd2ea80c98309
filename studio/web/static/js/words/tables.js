/** The words of all pages, by language, and the language to show. */
import { stored } from "../data/stored.js";
import { de } from "./de.js";
import { en } from "./en.js";

export const TABLES = { en, de };
/** Where the browser keeps the language that was chosen. */
export const KEY = "studio.language";

/** @typedef {keyof typeof TABLES} Language */
/** @typedef {keyof typeof en} Word */

/** @type {Record<Language, string>} */
export const LANGUAGES = { en: "English", de: "Deutsch" };

/** @returns {Language} */
export function preferred() {
  const wanted = [stored(KEY), ...navigator.languages.map((one) => one.slice(0, 2))];
  const known = wanted.find((one) => one !== null && one in TABLES);
  return /** @type {Language} */ (known ?? "en");
}
