/** Whether a live session gets its connection back after the server closed or refused it. */

/** Delay before connecting again where Socket.IO's client does not. */
const AGAIN_MS = 3000;
/** How long a server may still consider a lost connection open, and so keep its place occupied. */
const PLACE_HELD_MS = 60_000;
export const STOPPING = "server_stopping";

export class LiveReconnection {
  /** @param {any} socket */
  constructor(socket) {
    this._socket = socket;
    this._isServerStopping = false;
    /** When the connection was last lost; -Infinity if it never was. */
    this._droppedMs = -Infinity;
    this._timer = 0;
    socket.on("connected", () => (this._isServerStopping = false));
    socket.on("error", (/** @type {any} */ data) => {
      if (data.code === STOPPING) this._isServerStopping = true;
    });
  }

  /** To be called when the connection is lost. Returns false if it stays so. */
  comesAfterDrop() {
    this._droppedMs = performance.now();
    // Another server may replace the one that is stopping.
    return this._socket.active || (this._isServerStopping && this._tryLater());
  }

  /** To be called when the server refuses a connection. @param {string | undefined} code of the refusal */
  comesAfterRefusal(code) {
    // The session's own lost connection may still occupy the place.
    const isForNow = code === STOPPING || code === "too_many_sessions";
    const isRecent = performance.now() < this._droppedMs + PLACE_HELD_MS;
    return this._socket.active || (isForNow && isRecent && this._tryLater());
  }

  stop() {
    clearTimeout(this._timer);
    this._socket.disconnect();
  }

  _tryLater() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._socket.connect(), AGAIN_MS);
    return true;
  }
}
