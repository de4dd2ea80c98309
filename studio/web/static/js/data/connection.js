/** Finds out when a server that could not be reached is back. */
import { effect, signal } from "@preact/signals";
import { isOffline, request } from "./api.js";

const RETRY_MS = 2000;
/** A request on a connection that died with the network may never be answered. */
const LONGEST_MS = 10_000;

/** How often the server came back; pages get their data again when it changes. */
export const returns = signal(0);

effect(() => {
  if (isOffline.value) setTimeout(ask, RETRY_MS);
});

async function ask() {
  if (!isOffline.value) {
    returns.value += 1;
    return;
  }
  await request("/health", { signal: AbortSignal.timeout(LONGEST_MS) }).catch(() => {});
  if (isOffline.value) setTimeout(ask, RETRY_MS);
  else returns.value += 1;
}
