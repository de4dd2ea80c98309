/** Uploads: two at a time, with progress and speed; each can be paused and tried again. */
import { effect, signal, untracked } from "@preact/signals";
import { ApiError, cleanUp, errorOf, isOffline, needsKey } from "./api.js";
import { returns } from "./connection.js";
import { t } from "../words.js";
import { askWhile } from "./leaving.js";
import { add } from "./songs.js";

const AT_ONCE = 2;
/** A file that was changed on disk looks like a lost connection, so uploads are not retried forever. */
const MAX_ATTEMPTS = 3;
const BUSY_S = 2;
/** A server that is there answers within this time. */
const PROMPT_MS = 3000;
/** The speed is averaged over about so long. */
const AVERAGE_S = 3;

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {import("@preact/signals").Signal<"waiting" | "sending" | "checking" | "paused" | "failed">} state
 * @property {import("@preact/signals").Signal<number>} progress 0 to 1
 * @property {import("@preact/signals").Signal<number>} bytesPerS
 * @property {import("@preact/signals").Signal<ApiError | null>} failure why it failed, or has to wait
 * @property {number} attempts that found no server, or a busy one
 * @property {XMLHttpRequest | null} transfer
 */

/** @type {import("@preact/signals").Signal<Upload[]>} */
export const uploads = signal([]);
askWhile(() => uploads.value.some((one) => one.state.value !== "failed"));

/** @param {Iterable<File>} files */
export function upload(files) {
  /** @type {Upload[]} */
  const added = [...files].map((file) => ({
    file,
    state: signal("waiting"),
    progress: signal(0),
    bytesPerS: signal(0),
    failure: signal(/** @type {ApiError | null} */ (null)),
    attempts: 0,
    transfer: null,
  }));
  uploads.value = [...uploads.value, ...added];
  next();
}

/** An upload that is paused begins again from its start. @param {Upload} one */
export function pause(one) {
  one.state.value = "paused";
  stop(one);
  next();
}

/** @param {Upload} one */
function stop(one) {
  const { transfer } = one;
  one.transfer = null;
  transfer?.abort();
}

/** @param {Upload} one */
export function resume(one) {
  one.failure.value = null;
  one.attempts = 0;
  one.state.value = "waiting";
  next();
}

/** Try again what was refused without a key. */
export function resumeRefused() {
  uploads.value.filter((one) => one.failure.value?.status === 401).forEach(resume);
}

/** @param {Upload} one */
export function discard(one) {
  uploads.value = uploads.value.filter((other) => other !== one);
  // The server has a whole file, and its ID is known with the answer.
  if (one.state.value !== "checking") stop(one);
  next();
}

/** When the server takes uploads again, in milliseconds of `Date.now()`. */
let resumesMs = 0;
let resuming = 0;

function next() {
  clearTimeout(resuming);
  const waitMs = resumesMs - Date.now();
  if (waitMs > 0) {
    resuming = setTimeout(next, waitMs);
    return;
  }
  if (isOffline.value) return;
  const isBusy = (/** @type {Upload} */ one) => one.transfer !== null;
  const free = AT_ONCE - uploads.value.filter(isBusy).length;
  uploads.value
    .filter((one) => one.state.value === "waiting")
    .slice(0, Math.max(0, free))
    .forEach(transfer);
}

effect(() => {
  if (returns.value >= 0 && !isOffline.value) untracked(next);
});

/** @param {Upload} one */
function transfer(one) {
  const sending = new XMLHttpRequest();
  one.transfer = sending;
  one.state.value = "sending";
  one.failure.value = null;
  one.progress.value = 0;
  measure(one, sending);
  sending.onloadend = async () => {
    const isStopped = () => one.transfer !== sending;
    if (isStopped()) return;
    const isReached = sending.status === 0 && (await answers());
    if (isStopped()) return;
    one.transfer = null;
    finish(one, sending, isReached);
    next();
  };
  sending.open("POST", "/upload");
  const form = new FormData();
  form.append("file", one.file);
  sending.send(form);
}

/** @param {Upload} one @param {XMLHttpRequest} sending */
function measure(one, sending) {
  let lastMs = performance.now();
  let lastBytes = 0;
  sending.upload.onprogress = ({ loaded, total }) => {
    const elapsedS = (performance.now() - lastMs) / 1000;
    one.progress.value = total > 0 ? loaded / total : 0;
    if (elapsedS < 0.2) return;
    const speed = (loaded - lastBytes) / elapsedS;
    const share = one.bytesPerS.value === 0 ? 1 : 1 - Math.exp(-elapsedS / AVERAGE_S);
    one.bytesPerS.value += share * (speed - one.bytesPerS.value);
    lastMs += elapsedS * 1000;
    lastBytes = loaded;
  };
  sending.upload.onload = () => {
    one.state.value = "checking";
  };
}

/** Whether the server answers at once: then a lost upload may be one that it refused before the end. */
async function answers() {
  const signal = AbortSignal.timeout(PROMPT_MS);
  return fetch("/health", { signal }).then((answer) => answer.ok, () => false);
}

/** @param {Upload} one @param {XMLHttpRequest} sending @param {boolean} isReached though the upload broke off */
function finish(one, sending, isReached) {
  const isDiscarded = !uploads.value.includes(one);
  if (sending.status === 201) {
    const answer = JSON.parse(sending.responseText);
    uploads.value = uploads.value.filter((other) => other !== one);
    if (isDiscarded) cleanUp(answer.file_id);
    else add(answer);
    return;
  }
  if (isDiscarded) return;
  const error =
    sending.status === 0
      ? new ApiError(0, "offline", t("upload.broken"))
      : errorOf(sending.status, sending.responseText, sending.getResponseHeader("Retry-After"));
  if (error.status === 401) needsKey.value = true;
  one.failure.value = error;
  one.state.value = willRetry(one, error, isReached) ? "waiting" : "failed";
}

/**
 * Whether an upload is tried again, and from when on.
 * @param {Upload} one
 * @param {ApiError} error
 * @param {boolean} isReached
 */
function willRetry(one, { status, retryAfterS }, isReached) {
  const isLost = status === 0 || status === 502 || status === 504;
  if (isLost || status === 503) {
    one.attempts += 1;
    if (!isLost) resumesMs = Date.now() + 1000 * Math.max(BUSY_S, retryAfterS);
    else if (!isReached) isOffline.value = true;
    // The server has all of it, and may store it.
    if (isLost && one.state.value === "checking") return false;
    return one.attempts < (isReached ? 2 : MAX_ATTEMPTS);
  }
  if (status === 429 && retryAfterS > 0) {
    resumesMs = Date.now() + 1000 * retryAfterS;
    return true;
  }
  return false;
}
