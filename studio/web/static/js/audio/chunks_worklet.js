/// <reference path="../../../types/audio-worklet.d.ts" />
/** Passes what a microphone hears to the page, a quarter of a second at a time. */

const CHUNK_S = 0.25;

class Chunks extends AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {Float32Array[]} */
    this._held = [];
    this._count = 0;
    // Asked for when the microphone stops: the rest contains the last syllable.
    this.port.onmessage = () => this.port.postMessage({ samples: this._rest(), isLast: true });
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channel = inputs[0]?.[0];
    if (channel) {
      this._held.push(channel.slice());
      this._count += channel.length;
      if (this._count >= sampleRate * CHUNK_S) this.port.postMessage({ samples: this._rest(), isLast: false });
    }
    return true;
  }

  _rest() {
    const whole = new Float32Array(this._count);
    let at = 0;
    for (const part of this._held) {
      whole.set(part, at);
      at += part.length;
    }
    this._held = [];
    this._count = 0;
    return whole;
  }
}

registerProcessor("chunks", Chunks);
