/** Whether edits are saved, and what to do if somebody else has edited the same text. */
import { useMemo } from "preact/hooks";
import { t } from "../words.js";
import { clock } from "./format.js";
import { html } from "./html.js";

/** So many lines of each side are shown. */
const MAX_SHOWN = 4;

/** @typedef {import("../data/transcript_store.js").TranscriptStore} TranscriptStore */
/** @typedef {import("../data/transcript.js").Line} Line */

/** @param {{ store: TranscriptStore }} properties */
export function SaveState({ store }) {
  const state = store.state.value;
  const text = store.wasUpdated.value && state === "saved" ? t("save.updated") : stateText(store);
  const canRetry = state === "failed" || state === "unloaded";
  return html`<p class=${canRetry || state === "gone" ? "save bad" : "save muted"} role="status">
    ${text}
    ${canRetry &&
    html` <button onClick=${() => store.retry()}>${t("upload.retry")}</button>`}
  </p>`;
}

/** Whether the lines are loaded and saved, or why not. @param {TranscriptStore} store */
export function stateText({ state, error, isDraftKept }) {
  if (state.value === "gone") return t("song.gone");
  if (state.value === "unloaded") return `${t("save.unloaded")} ${error.value}`;
  if (state.value !== "failed") return t(`save.${state.value}`);
  return `${t(isDraftKept.value ? "save.failed" : "save.lost")} ${error.value}`;
}

/** @param {{ store: TranscriptStore }} properties */
export function Undo({ store }) {
  const { canUndo, canRedo } = store.history;
  const [undo, redo] = [t("edit.undo"), t("edit.redo")];
  return html`<button aria-label=${undo} title=${undo} disabled=${!canUndo.value} onClick=${() => store.undo()}>↶</button>
    <button aria-label=${redo} title=${redo} disabled=${!canRedo.value} onClick=${() => store.redo()}>↷</button>`;
}

/** @param {{ store: TranscriptStore }} properties */
export function Conflict({ store }) {
  const theirs = store.theirs.value.lines;
  // Not with every edit: the buttons must not move away from the pointer that ends one.
  const [onlyMine, onlyTheirs] = useMemo(() => [without(store.lines, theirs), without(theirs, store.lines)], [theirs]);
  if (store.state.value !== "conflict") return null;
  return html`<section class="card conflict" role="alert" aria-labelledby="conflict-title">
    <h2 id="conflict-title">${t("conflict.title")}</h2>
    <div class="sides">
      <${Side} title=${t("conflict.mine")} lines=${onlyMine} />
      <${Side} title=${t("conflict.theirs")} lines=${onlyTheirs} />
    </div>
    <div class="row">
      <button class="primary" onClick=${() => store.keepMine()}>${t("conflict.keep")}</button>
      <button onClick=${() => store.takeTheirs()}>${t("conflict.take")}</button>
      <span class="muted">${t("conflict.hint")}</span>
    </div>
  </section>`;
}

/** @param {{ title: string, lines: Line[] }} properties */
function Side({ title, lines }) {
  return html`<div>
    <h3>${title}</h3>
    <ul>
      ${lines.slice(0, MAX_SHOWN).map((line) => html`<li dir="auto">${clock(line.start_s)} ${line.text}</li>`)}
      ${lines.length > MAX_SHOWN && html`<li>${t("conflict.more", { count: lines.length - MAX_SHOWN })}</li>`}
      ${lines.length === 0 && html`<li class="muted">${t("conflict.times")}</li>`}
    </ul>
  </div>`;
}

/** Lines whose text the others do not have. @param {Line[]} lines @param {Line[]} others */
function without(lines, others) {
  const known = new Set(others.map((line) => line.text.trim()));
  return lines.filter((line) => !known.has(line.text.trim()));
}
