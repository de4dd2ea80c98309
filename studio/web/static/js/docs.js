/** The API reference: the language of the code, and operations that can be tried in place. */

import { store, stored } from "./data/stored.js";
import { translate } from "./docs_words.js";

const LANGUAGE = "studio.docs.language";

/** @param {string} language */
function show(language) {
  document.body.dataset.code = language;
  for (const button of document.querySelectorAll("button.language")) {
    const isChosen = /** @type {HTMLElement} */ (button).dataset.language === language;
    button.setAttribute("aria-pressed", String(isChosen));
  }
  store(LANGUAGE, language);
}

/** Open the operation that the address names. */
function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

/** The request of a form: what is left empty is not sent. @param {HTMLFormElement} form */
function requestOf(form) {
  let path = form.dataset.path ?? "";
  const query = new URLSearchParams();
  const headers = new Headers();
  for (const field of form.querySelectorAll("[data-in]")) {
    const { name, value, dataset } = /** @type {HTMLInputElement} */ (field);
    if (dataset.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value && dataset.in === "query") query.set(name, value);
    else if (value) headers.set(name, value);
  }
  const key = /** @type {HTMLInputElement | null} */ (document.getElementById("key"))?.value.trim();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  /** @type {RequestInit} */
  const init = { method: form.dataset.method ?? "GET", headers };
  const body = /** @type {HTMLTextAreaElement | null} */ (form.querySelector("[name=body]"));
  const file = /** @type {HTMLInputElement | null} */ (form.querySelector("[name=file]"))?.files?.[0];
  if (body) {
    headers.set("Content-Type", "application/json");
    init.body = body.value;
  } else if (file) {
    init.body = new FormData();
    init.body.append("file", file);
  }
  const text = query.toString();
  return { path: text ? `${path}?${text}` : path, init };
}

/** @param {HTMLFormElement} form */
async function attempt(form) {
  const place = /** @type {HTMLElement} */ (form.querySelector(".answer"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  const { path, init } = requestOf(form);
  button.disabled = true;
  const beganMs = performance.now();
  try {
    const answer = await fetch(path, init);
    const body = await answer.blob();
    const took = `${Math.round(performance.now() - beganMs)} ms`;
    const status = line(`${answer.status} ${answer.statusText}, ${took}, ${body.size} bytes`);
    status.className = answer.ok ? "" : "bad";
    place.replaceChildren(line(`${init.method} ${path}`), status, await shown(body, answer));
  } catch (error) {
    const problem = line(error instanceof Error ? error.message : String(error));
    problem.className = "bad";
    place.replaceChildren(problem);
  } finally {
    button.disabled = false;
  }
}

/** @param {string} text */
function line(text) {
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  return paragraph;
}

/** The body of a response: text, sound, or a file to save. @param {Blob} body @param {Response} answer */
async function shown(body, answer) {
  if (/json|^text\//.test(body.type)) {
    const text = document.createElement("pre");
    text.tabIndex = 0;
    text.textContent = readable(await body.text());
    return text;
  }
  if (body.type.startsWith("audio/")) {
    const player = new Audio(URL.createObjectURL(body));
    player.controls = true;
    return player;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(body);
  link.download = decodeURIComponent(new URL(answer.url).pathname.split("/").at(-1) ?? "file");
  link.textContent = link.download;
  return link;
}

/** @param {string} text */
function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

for (const button of document.querySelectorAll("button.language")) {
  button.addEventListener("click", () => show(/** @type {HTMLElement} */ (button).dataset.language ?? "curl"));
}
document.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target instanceof HTMLFormElement) void attempt(event.target);
});
addEventListener("hashchange", reveal);
translate();
show(stored(LANGUAGE) ?? "curl");
reveal();
