/**
 * The words of the API reference in languages other than English, in which the page is written.
 * Descriptions from the OpenAPI document stay English; the names of operations and tags are translated.
 */
import { store } from "./data/stored.js";
import { docsDe } from "./words/docs_de.js";
import { KEY, LANGUAGES, TABLES, preferred } from "./words/tables.js";

/** @type {Partial<Record<import("./words/tables.js").Language, Record<string, string>>>} */
const DOCS = { de: docsDe };

/** Show the page in the language of the studio, and let it be chosen. */
export function translate() {
  const language = preferred();
  const choice = /** @type {HTMLSelectElement} */ (document.getElementById("language"));
  for (const [code, name] of Object.entries(LANGUAGES)) choice.add(new Option(name, code));
  choice.value = language;
  choice.hidden = false;
  choice.addEventListener("change", () => {
    store(KEY, choice.value);
    location.reload();
  });
  const own = DOCS[language];
  if (own) write({ ...TABLES[language], ...own }, language);
}

/** @param {Record<string, string>} words @param {string} language */
function write(words, language) {
  for (const element of document.querySelectorAll("[data-word]")) {
    const place = /** @type {HTMLElement} */ (element);
    const text = words[place.dataset.word ?? ""];
    if (text === undefined) continue;
    place.replaceChildren(...text.split("`").map((part, n) => (n % 2 ? code(part) : part)));
    place.lang = language;
    place.hidden = false;
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    const text = words[/** @type {HTMLElement} */ (element).dataset.label ?? ""];
    if (text !== undefined) element.setAttribute("aria-label", text);
  }
}

/** @param {string} text */
function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}
