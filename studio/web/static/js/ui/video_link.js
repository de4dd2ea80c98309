/** Has the server make the karaoke video, and downloads it. */
import { useSignal } from "@preact/signals";
import { ApiError, request } from "../data/api.js";
import { t } from "../words.js";
import { html } from "./html.js";
import { stateText } from "./save_state.js";

/** @param {{ path: string, store: import("../data/transcript_store.js").TranscriptStore }} properties */
export function VideoLink({ path, store }) {
  const isBusy = useSignal(false);
  const error = useSignal("");

  const make = async () => {
    isBusy.value = true;
    error.value = "";
    if (await store.save()) await download();
    else error.value = stateText(store);
    isBusy.value = false;
  };
  const download = async () => {
    try {
      // The first byte is there when the video is; an error is shown here, and not saved as a file.
      await request(path, { headers: { Range: "bytes=0-0" }, cache: "no-store" });
      const link = document.createElement("a");
      link.href = path;
      link.download = "";
      link.click();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      error.value = problem.message;
    }
  };
  return html`<button class="primary" disabled=${isBusy.value} onClick=${make}>
      ${isBusy.value ? t("karaoke.video.busy") : t("karaoke.video")}
    </button>
    ${error.value && html`<p class="bad wide" role="alert">${error.value}</p>`}`;
}
