/** Takes files by drag and drop, or by the browser's own dialog. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { t } from "../words.js";
import { html } from "./html.js";

const ACCEPTED = "audio/*,video/*,.flac,.ogg,.opus,.m4a,.aiff,.amr,.mkv";
/** Nothing can be dropped with a finger. */
const IS_TOUCHED = matchMedia("(hover: none)").matches;

/** @param {{ onFiles: (files: File[]) => void }} properties */
export function DropZone({ onFiles }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [isOver, setOver] = useState(false);

  // Files may be dropped anywhere on the page, as soon as it is shown.
  useLayoutEffect(() => {
    const over = (/** @type {DragEvent} */ event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (/** @type {DragEvent} */ event) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      setOver(false);
      onFiles([...(event.dataTransfer?.files ?? [])]);
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);

  const choose = () => {
    onFiles([...(input.current?.files ?? [])]);
    if (input.current) input.current.value = "";
  };

  return html`<section class=${isOver ? "drop over" : "drop"}>
    <h2>${t(IS_TOUCHED ? "drop.touch" : "drop.title")}</h2>
    <p class="muted">${t(IS_TOUCHED ? "drop.touch.hint" : "drop.hint")}</p>
    <input
      ref=${input}
      type="file"
      id="files"
      class="hidden-text"
      multiple
      accept=${ACCEPTED}
      tabindex="-1"
      aria-hidden="true"
      onChange=${choose}
    />
    <button class="primary" onClick=${() => input.current?.click()}>${t("drop.button")}</button>
  </section>`;
}
