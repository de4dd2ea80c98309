// What modules of the studio page use of a browser, for Node (`--import`). The first argument is
// the server. Tests replace `globalThis.page.answer` to answer requests themselves.
const [, server] = process.argv;
const ask = globalThis.fetch;

class Store {
  #values = new Map();
  getItem(key) {
    return this.#values.get(key) ?? null;
  }
  setItem(key, value) {
    if (globalThis.page.refusesStorage) throw new DOMException("Access is denied.", "SecurityError");
    this.#values.set(key, value);
  }
  removeItem(key) {
    this.#values.delete(key);
  }
}

globalThis.page = {
  refusesStorage: false,
  /** The answer to a request of the page. */
  answer: (path, init) => ask(new URL(path, server), init),
  ask: (path, init) => ask(new URL(path, server), init),
  /** Wait until something is true. */
  async until(isTrue) {
    for (let n = 0; n < 600; n += 1) {
      if (await isTrue()) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`never true: ${isTrue}`);
  },
};
Object.assign(globalThis, {
  window: globalThis,
  location: new URL(server),
  document: { hidden: false, documentElement: {} },
  localStorage: new Store(),
  sessionStorage: new Store(),
  addEventListener() {},
  removeEventListener() {},
  fetch: async (path, init) => globalThis.page.answer(path, init),
});
Object.defineProperty(globalThis, "navigator", { value: { languages: ["en"] } });
