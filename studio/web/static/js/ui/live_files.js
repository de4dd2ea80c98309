/** What can be done with the words of a live session. */
import { useState } from "preact/hooks";
import { subtitlesOf } from "../data/live_subtitles.js";
import { t } from "../words.js";
import { html } from "./html.js";

/** @type {("txt" | "srt" | "vtt")[]} */
const FORMATS = ["txt", "srt", "vtt"];

/** @param {{ text: import("../data/live_text.js").LiveText }} properties */
export function LiveFiles({ text }) {
  const [isCopied, setCopied] = useState(false);
  const isEmpty = text.finals.value.length === 0;
  const copy = async () => {
    await navigator.clipboard.writeText(text.plain);
    text.isKept = true;
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return html`<div class="row">
    ${navigator.clipboard &&
    html`<button disabled=${isEmpty} onClick=${copy}>${t(isCopied ? "live.copied" : "live.copy")}</button>`}
    ${FORMATS.map(
      (format) => html`<button disabled=${isEmpty} onClick=${() => save(text, format)}>
        ${t("live.save", { format: t(`live.save.${format}`) })}
      </button>`,
    )}
    <button class="quiet" disabled=${isEmpty} onClick=${() => text.clear()}>${t("live.clear")}</button>
    <span class="hidden-text" role="status">${isCopied && t("live.copied")}</span>
  </div>`;
}

/** @param {import("../data/live_text.js").LiveText} text @param {"txt" | "srt" | "vtt"} format */
function save(text, format) {
  const content = format === "txt" ? text.plain : subtitlesOf(text.finals.value, format);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
  link.download = `transcript.${format}`;
  link.click();
  text.isKept = true;
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
