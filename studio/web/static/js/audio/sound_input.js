/** Sound as it is spoken: from the microphone, or from a file at the speed of the sound. */

import { lengthOf } from "./file_length.js";
import { watchInterruptions } from "./interruptions.js";

const RATE_HZ = 16000;
const CHUNK_S = 0.25;
const LAST_SAMPLES_MS = 1000;
/** A file is decoded as a whole, and longer ones are too much for the memory of phones. */
export const MAX_FILE_MINUTES = 20;
/** For files whose length the browser does not find. */
const MAX_UNKNOWN_BYTES = 100_000_000;

export class FileTooLong extends Error {}

/** @typedef {(samples: Float32Array, rateHz: number) => void} OnSamples */
/** @typedef {{ stop: () => Promise<void> }} SoundInput */

/**
 * Throws DOMException if the browser or its user refuses.
 * @param {OnSamples} onSamples
 * @param {() => void} onEnd for a microphone that is unplugged or no longer allowed
 * @param {(isInterrupted: boolean) => void} onInterruption
 * @returns {Promise<SoundInput>}
 */
export async function openMicrophone(onSamples, onEnd, onInterruption) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  /** @type {AudioContext | undefined} */
  let context;
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    void context?.close();
  };
  try {
    const source = sourceOf(stream);
    context = /** @type {AudioContext} */ (source.context);
    await context.audioWorklet.addModule(new URL("./chunks_worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "chunks");
    const { sampleRate } = context;
    let ended = () => {};
    node.port.onmessage = ({ data }) => {
      onSamples(data.samples, sampleRate);
      if (data.isLast) ended();
    };
    source.connect(node);
    const [track] = stream.getAudioTracks();
    if (track) track.onended = onEnd;
    const unwatch = track && watchInterruptions(context, track, onInterruption);
    return {
      stop: async () => {
        unwatch?.();
        await new Promise((resolve) => {
          ended = () => resolve(undefined);
          // A context that is interrupted does not answer.
          setTimeout(ended, LAST_SAMPLES_MS);
          node.port.postMessage("stop");
        });
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** The microphone at the rate of the models, or at its own where the browser cannot convert it. @param {MediaStream} stream */
function sourceOf(stream) {
  const context = new AudioContext({ sampleRate: RATE_HZ });
  try {
    return context.createMediaStreamSource(stream);
  } catch {
    void context.close();
    return new AudioContext().createMediaStreamSource(stream);
  }
}

/**
 * Throws FileTooLong, or DOMException if the browser cannot decode the file.
 * @param {File} file
 * @param {OnSamples} onSamples
 * @param {() => void} onEnd
 * @returns {Promise<SoundInput>}
 */
export async function openFile(file, onSamples, onEnd) {
  const lengthS = await lengthOf(file);
  const isLong = Number.isNaN(lengthS) ? file.size > MAX_UNKNOWN_BYTES : lengthS > 60 * MAX_FILE_MINUTES;
  if (isLong) throw new FileTooLong();
  const samples = await decode(await file.arrayBuffer());
  const size = RATE_HZ * CHUNK_S;
  const beganMs = performance.now();
  let at = 0;
  const timer = setInterval(() => {
    // Timers of background pages are slow: pass on everything that is due.
    while (at < samples.length && at / RATE_HZ <= (performance.now() - beganMs) / 1000) {
      onSamples(samples.subarray(at, at + size), RATE_HZ);
      at += size;
    }
    if (at < samples.length) return;
    clearInterval(timer);
    onEnd();
  }, (1000 * CHUNK_S) / 2);
  return { stop: async () => clearInterval(timer) };
}

/** @param {ArrayBuffer} bytes @returns {Promise<Float32Array>} one channel at RATE_HZ */
async function decode(bytes) {
  const buffer = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes);
  const mixing = new OfflineAudioContext(1, Math.max(1, buffer.length), RATE_HZ);
  const player = mixing.createBufferSource();
  player.buffer = buffer;
  player.connect(mixing.destination);
  player.start();
  return (await mixing.startRendering()).getChannelData(0);
}
