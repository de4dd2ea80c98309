/** Shifts the key of what is played, by Signalsmith Stretch, which is loaded when it is needed. */
import { signal } from "@preact/signals";
import { t } from "../words.js";

export class KeyShift {
  /**
   * @param {AudioContext} context
   * @param {AudioNode} input
   */
  constructor(context, input) {
    this.context = context;
    this.input = input;
    this.latencyS = 0;
    /** Why the key cannot be changed; empty if it can. */
    this.problem = signal("");
    this._semitones = 0;
    /** @type {Promise<any> | null} */
    this._node = null;
    input.connect(context.destination);
  }

  /** @param {number} semitones */
  set(semitones) {
    this._semitones = semitones;
    if (semitones === 0 && this._node === null) {
      this.problem.value = "";
      return;
    }
    const loading = (this._node ??= this._load());
    this._apply(loading).catch(() => {
      // The next change tries again.
      if (this._node === loading) this._node = null;
      this.problem.value = t(isSecureContext ? "mixer.key.failed" : "mixer.key.insecure");
    });
  }

  /** @param {Promise<any>} loading */
  async _apply(loading) {
    const node = await loading;
    this.problem.value = "";
    const semitones = this._semitones;
    this.input.disconnect();
    if (semitones === 0) {
      this.input.connect(this.context.destination);
      this.latencyS = 0;
      return;
    }
    node.schedule({ active: true, semitones });
    this.input.connect(node);
    const latencyS = await node.latency();
    if (semitones === this._semitones) this.latencyS = latencyS;
  }

  async _load() {
    const { default: SignalsmithStretch } = await import("signalsmith-stretch");
    // Otherwise the worklet is a blob, which the policy of the page forbids.
    SignalsmithStretch.moduleUrl = import.meta.resolve("signalsmith-stretch");
    const node = await SignalsmithStretch(this.context, {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      outputChannelCount: [2],
    });
    node.connect(this.context.destination);
    return node;
  }
}
