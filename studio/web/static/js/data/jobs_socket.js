/** The Socket.IO namespace `/jobs`: the server reports jobs while they run. */
import { signal } from "@preact/signals";
import { request } from "./api.js";

/** As many files as the server accepts in one subscription. */
const MAX_FILES = 100;
/** Before a connection that the server closed or refused is tried again. */
const RETRY_MS = 3000;

/** True while the server reports jobs; otherwise they are polled. */
export const isLive = signal(false);

/** @type {Promise<any> | null} */
let opening = null;
/** @type {string[]} */
let wanted = [];
/** @type {string | null} the files that the server was last asked for on this connection */
let asked = null;
/** Until a refused subscription is tried again; 0 otherwise. */
let refused = 0;

/**
 * Follow the jobs of these files from now on, instead of those of earlier ones.
 * @param {string[]} fileIds
 * @param {{ onJob: (job: any) => void, onRefused: () => void }} handlers of the first call
 */
export async function subscribe(fileIds, handlers) {
  wanted = fileIds.slice(0, MAX_FILES);
  if (wanted.length === 0 && opening === null) return;
  opening ??= open(handlers);
  const socket = await opening.catch(() => {
    // The server went away before the page had the client.
    opening = null;
    lookForServer();
  });
  if (socket?.connected) ask(socket, handlers.onRefused);
}

/** @param {{ onJob: (job: any) => void, onRefused: () => void }} handlers */
async function open({ onJob, onRefused }) {
  const { io } = await import("socket.io-client");
  const transports = ["websocket", "polling"];
  const socket = io("/jobs", { transports, tryAllTransports: true, reconnectionDelayMax: RETRY_MS });
  socket.on("connect", () => {
    asked = null;
    clearTimeout(refused);
    refused = 0;
    ask(socket, onRefused);
  });
  socket.on("job", onJob);
  const again = () => {
    asked = null;
    isLive.value = false;
    lookForServer();
    // It reconnects by itself, unless the server has closed or refused the connection.
    if (!socket.active) setTimeout(() => socket.active || socket.connect(), RETRY_MS);
  };
  socket.on("disconnect", again);
  socket.on("connect_error", again);
  return socket;
}

/** Connect as whoever has signed in: a connection keeps the rights that it began with. */
export function reconnect() {
  void opening?.then(
    (socket) => socket.disconnect().connect(),
    () => {},
  );
}

/** Show whether the server is away. */
function lookForServer() {
  void request("/health").catch(() => {});
}

/** @param {any} socket @param {() => void} onRefused */
function ask(socket, onRefused) {
  // Each subscription is answered with the jobs of its files, and each job leads to `subscribe`.
  const files = [...wanted].sort().join();
  if (files === asked || refused !== 0) return;
  asked = files;
  socket.emit("subscribe", { file_ids: wanted }, (/** @type {any} */ answer) => {
    isLive.value = !answer.error;
    if (!answer.error) return;
    asked = null;
    clearTimeout(refused);
    refused = setTimeout(() => {
      refused = 0;
      onRefused();
    }, RETRY_MS);
  });
}
