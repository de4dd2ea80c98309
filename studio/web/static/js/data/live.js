/** The recording of the live page and its text, which stay while another page is shown. */
import { askWhile } from "./leaving.js";
import { LiveText } from "./live_text.js";
import { Recording } from "./recording.js";

export const text = new LiveText();
export const recording = new Recording(text);

askWhile(() => recording.isBusy.value || !text.isKept);
